"""A finished `.onnx` held against a reference: a checkpoint, or the official code itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from birefnet_models.onnx_file import read_onnx
from birefnet_runtime import Segmenter
from birefnet_runtime.locate import find_model
from torch import nn

from .checkpoint import read_fetched
from .errors import ParityError
from .fetch import PLAINLY, Fetching, fetch
from .parity import TOLERANCES, Array, Case, Parity, Tolerance, compare
from .remote_code import PREFIX, load_remote
from .samples import CASES, sample_image


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a model is from its reference."""

    model: Path
    reference: str
    parity: Parity
    tolerance: Tolerance
    problem: str | None
    """What is beyond the tolerance; None if nothing is."""

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        allowed = {key: value for key, value in asdict(self.tolerance).items() if value < inf}
        content = asdict(self) | {"model": str(self.model), "tolerance": allowed}
        return {**content, "passed": self.passed}


def verify_against(
    model: str | Path,
    reference: str,
    *,
    trust_remote_code: bool = False,
    tolerance: float | None = None,
    fetching: Fetching = PLAINLY,
) -> Agreement:
    """Run a model and its reference on the same tensors; the reference in float64.

    Args:
        model: as `Segmenter` takes it.
        reference: a checkpoint as `export_onnx` takes it, or `transformers:REPO@REVISION`.
        trust_remote_code: the reference's own Python code may be run; only for `transformers:`.
        tolerance: largest difference of logits that passes (of masks, where the graph gives
            masks); by default what an export of that precision must keep.
        fetching: how a checkpoint from elsewhere is fetched and pinned.

    Raises:
        ModelError: no such model.
        RemoteCodeError: code would be run without consent.
        CheckpointError, FetchError, PinError: no such reference.
        ParityError: nothing can be compared: NaN, another shape.
    """
    file = find_model(model)
    segmenter = Segmenter(file, providers="cpu")
    net, name = _reference(reference, trust_remote_code, fetching)
    metadata = segmenter.metadata
    cases = CASES if not metadata.fixed else ((1, *metadata.trained_size),)
    pairs = [_both(segmenter, net.double(), case) for case in cases]
    parity = compare(
        pairs,
        cases,
        reference=f"{name}, pytorch {torch.__version__} in float64",
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )
    allowed = _tolerance(file, segmenter, tolerance)
    return Agreement(file, name, parity, allowed, allowed.problem(parity))


def _tolerance(file: Path, segmenter: Segmenter, largest: float | None) -> Tolerance:
    """What passes: as in an export of this precision; masks alone where the graph gives masks."""
    precision = read_onnx(file).properties.get("birefnet.precision")
    precision = precision or ("fp16" if segmenter.is_half else "fp32")
    known = TOLERANCES.get(precision, TOLERANCES["fp32"])
    if largest is None and segmenter.metadata.output == "mask":
        largest = known.logits_max_abs if precision == "fp32" else None
    if largest is None:
        return known
    if segmenter.metadata.output == "mask":
        return Tolerance(mask_max_abs=largest)
    return Tolerance(logits_max_abs=largest)


def _reference(text: str, trust: bool, fetching: Fetching) -> tuple[nn.Module, str]:
    if text.startswith(PREFIX):
        remote = load_remote(text.removeprefix(PREFIX), trust, fetching.say or (lambda _: None))
        return remote, f"remote code of {remote.origin}"
    checkpoint = read_fetched(fetch(text, fetching))
    return checkpoint.module(), checkpoint.origin or str(checkpoint.path)


def _both(segmenter: Segmenter, net: nn.Module, case: Case) -> tuple[Array, Array]:
    image = sample_image(case)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image).double()).numpy()
    if expected.ndim != 4:
        raise ParityError(f"the reference answers {expected.shape} to {image.shape}")
    return segmenter.logits(image), np.asarray(expected)
