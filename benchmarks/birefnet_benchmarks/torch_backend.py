"""What PyTorch does on the same machine: the only file here that imports torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from birefnet_export.birefnet import BiRefNet
from birefnet_export.checkpoint import read_checkpoint
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from .measure import time_calls

PEAK_SIDE = 2048
PEAK_REPEATS = 10


def matmul_flops_per_s(threads: int) -> float:
    """The machine's fp32 peak as PyTorch reaches it: a product of 2048 x 2048 matrices, the best of
    ten, in floating-point operations per second."""
    torch.set_num_threads(threads)
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE)
    torch.mm(left, right)
    return 2 * PEAK_SIDE**3 / min(time_calls(lambda: torch.mm(left, right), PEAK_REPEATS))


def eager(checkpoint: Path, threads: int) -> Callable[[NDArray[np.float32]], object]:
    """Our PyTorch module, eager, as a function of float32 (batch, 3, height, width)."""
    torch.set_num_threads(threads)
    net = read_checkpoint(checkpoint).module()

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
