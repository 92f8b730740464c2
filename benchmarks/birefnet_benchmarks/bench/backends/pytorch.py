"""PyTorch as a backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import torch
from birefnet_export.checkpoint.read import read_checkpoint
from birefnet_export.verify.upstream_pipeline import reference_alpha
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...errors import BenchmarkError
from ...pytorch.birefnet import BiRefNet, load
from ...pytorch.remote_code import load_remote
from ..configuration import Configuration
from ..measure.timing import PRODUCT_REPEATS, PRODUCT_SIDE, time_calls
from .base import Tensor


class PyTorchBackend:
    """The plain module, eager or compiled, or the official code behind `transformers:`.

    The variants: `eager`, `compile` (`torch.compile` for this one shape), `transformers`. With the
    precision bf16, products run in bfloat16 by autocast; weights stay float32.
    """

    def __init__(self, configuration: Configuration) -> None:
        torch.set_num_threads(configuration.threads)
        if configuration.provider.startswith("cuda") and not torch.cuda.is_available():
            raise BenchmarkError(f"this PyTorch ({torch.__version__}) can't use CUDA here")
        # float32 is float32, as in our CUDA provider: cuDNN's convolutions would round to TF32.
        torch.backends.cudnn.allow_tf32 = False
        self._device = torch.device(configuration.provider)
        net = _network(configuration).eval().to(self._device)
        # Static shapes: what a user would compile for one size.
        compiled = torch.compile(net, dynamic=False) if configuration.variant == "compile" else net
        self._net = cast(nn.Module, compiled)
        self._half = configuration.precision == "bf16"
        self._size = configuration.size

    def logits(self, image: Tensor) -> Tensor:
        with torch.inference_mode(), self._precision():
            logits = self._net(torch.from_numpy(image).to(self._device))
        return np.asarray(logits.float().cpu().numpy(), np.float32)  # waits for the device

    def alpha(self, image: Path) -> Tensor:
        return reference_alpha(self.logits, image, self._size, eight_bits=False)

    def facts(self) -> dict[str, str]:
        facts = {"torch": str(torch.__version__)}
        if self._device.type == "cuda":
            facts["device"] = torch.cuda.get_device_name(self._device)
        return facts

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._half else nullcontext()


def _network(configuration: Configuration) -> nn.Module:
    if configuration.variant != "transformers":
        return load(read_checkpoint(Path(configuration.source)))
    warnings.simplefilter("ignore")  # the repository's code warns about itself
    # Consent was given before the configurations were made.
    return load_remote(configuration.source, consent=True, say=lambda _: None)


def matmul_flops_per_s(threads: int) -> float:
    """The machine's fp32 peak as PyTorch reaches it: a product of 2048 x 2048 matrices, the best of
    ten, in floating-point operations per second."""
    torch.set_num_threads(threads)
    left, right = torch.randn(2, PRODUCT_SIDE, PRODUCT_SIDE)
    torch.mm(left, right)
    return 2 * PRODUCT_SIDE**3 / min(time_calls(lambda: torch.mm(left, right), PRODUCT_REPEATS))


def eager(checkpoint: Path, threads: int) -> Callable[[NDArray[np.float32]], object]:
    """Our PyTorch module, eager, as a function of float32 (batch, 3, height, width)."""
    torch.set_num_threads(threads)
    net = load(read_checkpoint(checkpoint))

    def run(image: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return net(torch.from_numpy(image))

    return run


def multiply_adds(checkpoint: Path, batch: int, size: tuple[int, int]) -> float:
    """Multiply-adds of the plain module at (height, width), counted on tensors without values."""
    with torch.device("meta"):
        net = BiRefNet(read_checkpoint(checkpoint).arch).eval()
        image = torch.empty(batch, 3, *size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(image)
    return float(counter.get_total_flops()) / 2
