"""Two sets of logits compared: the verdict on a graph. Run first, compare after.

This is the *graph* figure: the same tensor through both sides. What whole pipelines make of the
same image file is in `masks`. Neither needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..errors import ParityError

Array = NDArray[np.float32]
InputShape = tuple[int, int, int]
"""Batch, height, width."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between a graph and its checkpoint, over all input shapes."""

    logits_max_abs: float
    logits_p99_abs: float
    """The 99th percentile: all but one value in a hundred differ by less."""
    logits_mean_abs: float
    mask_max_abs: float
    """Of the sigmoid of the logits, in [0, 1]."""
    mask_p99_abs: float
    mask_mean_abs: float
    cases: tuple[InputShape, ...]
    """Those that were run."""
    reference: str
    """What the graph was compared with, and its version."""
    runtime: str
    """What ran the graph, and its version."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The differences as text: a line for logits, one for masks."""
        return [
            f"logits differ by {self.logits_max_abs:.1e} at most, {self.logits_p99_abs:.1e} at "
            f"p99, {self.logits_mean_abs:.1e} on average",
            f"masks differ by {self.mask_max_abs:.1e} at most, {self.mask_p99_abs:.1e} at p99, "
            f"{self.mask_mean_abs:.1e} on average",
        ]


@dataclass(frozen=True, slots=True)
class LogitsTolerance:
    """The largest differences to a reference that pass, of logits and of masks."""

    logits_max_abs: float = inf
    mask_max_abs: float = inf
    mask_mean_abs: float = inf

    def problem(self, parity: Parity) -> str | None:
        """The first difference that is larger, in words; None if all pass."""
        for name, allowed in asdict(self).items():
            if not (value := getattr(parity, name)) <= allowed:  # NaN on either side is no pass
                what, how, _ = name.split("_")
                return (
                    f"the graph's {what.rstrip('s')}s differ from the reference's by {value:.1e} "
                    f"({how}), more than the {allowed:.0e} allowed"
                )
        return None

    def describe(self) -> str:
        """What passes, as text."""
        return ", ".join(
            f"{name.replace('_', ' ')} {allowed:.0e}"
            for name, allowed in asdict(self).items()
            if allowed < inf
        )

    def check(self, parity: Parity) -> None:
        """Raises `ParityError` if a difference is larger."""
        if problem := self.problem(parity):
            raise ParityError(problem)


LOGITS_TOLERANCES = {
    "fp32": LogitsTolerance(logits_max_abs=1e-4),
    "fp16": LogitsTolerance(mask_max_abs=5e-2, mask_mean_abs=5e-3),
    "bf16": LogitsTolerance(mask_max_abs=0.3, mask_mean_abs=5e-2),
    "int8": LogitsTolerance(mask_mean_abs=5e-2),
}
"""What passes against a reference in float64, by the precision that the graph computes in.

No file is in bf16, but providers can compute so. PyTorch's own autocast to it moved the masks of
`nano` by 0.13 at most and 0.02 on average at 1x512x512.

int8 is judged here on whether it is the same network at all: calibrated on photographs, it is at
its worst on drawn pictures. How good its masks are is measured on the photographs (`precision`).
"""


FLOAT32_TOLERANCES = LOGITS_TOLERANCES | {
    "fp32": LogitsTolerance(logits_max_abs=1e-3, mask_max_abs=2.5e-4),
}
"""The same against PyTorch in float32, where both sides round.

The logits of `nano` were then up to 3.5e-4 apart (at 1x512x512, where PyTorch's float32 was 3.9e-4
from its float64), those of Swin T with generated weights up to 2.4e-5. The bound is three times the
worst; that of masks a quarter of it, which is the sigmoid's steepest slope.
"""


def compare_logits(
    pairs: Sequence[tuple[Array, NDArray[np.floating[Any]]]],
    cases: Sequence[InputShape],
    reference: str,
    runtime: str,
) -> Parity:
    """Compute the differences between a graph's logits and those of its checkpoint.

    Args:
        pairs: for each case the graph's logits and the expected ones, (batch, 1, height, width).
        cases: the shapes that were run.
        reference: what gave the expected logits, and its version.
        runtime: what ran the graph, and its version.

    Raises:
        ParityError: no pair, no element, a shape that differs, or a value that is not finite.
    """
    if not pairs:
        raise ParityError("nothing was compared: there are no cases")
    for (logits, expected), case in zip(pairs, cases, strict=True):
        where = format_size(case)
        if logits.shape != expected.shape:
            raise ParityError(f"at {where} the graph gives {logits.shape}, not {expected.shape}")
        if not expected.size:
            raise ParityError(f"at {where} nothing was compared: the output is empty")
        for side, values in (("graph", logits), ("checkpoint", expected)):
            if not np.isfinite(values).all():
                raise ParityError(f"at {where} the {side} gives NaN or infinite logits")
    differences = np.concatenate([np.abs(a - b).ravel() for a, b in pairs])
    masks = np.concatenate(
        [np.abs(mask_of_logits(a) - mask_of_logits(b)).ravel() for a, b in pairs]
    )
    return Parity(
        logits_max_abs=float(differences.max()),
        logits_p99_abs=float(np.percentile(differences, 99)),
        logits_mean_abs=float(differences.mean()),
        mask_max_abs=float(masks.max()),
        mask_p99_abs=float(np.percentile(masks, 99)),
        mask_mean_abs=float(masks.mean()),
        cases=tuple(cases),
        reference=reference,
        runtime=runtime,
    )


def mask_of_logits(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The mask of logits."""
    return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))


INPUT_SHAPES: tuple[InputShape, ...] = ((1, 32, 32), (2, 96, 160), (1, 352, 96))
"""The smallest size; a batch, wide; one that is tall, with several windows to a column.

All are odd multiples of 32, so that windows, patch merging and pooled maps pad at both scales. They
notice every fault in a graph that sizes up to 256 x 256 and 192 x 352 notice
(`tests/export/reference/test_faults.py`), at a third of the pixels.
"""


def sample_image(shape: InputShape) -> Array:
    """Smooth shapes under noise, like a normalized image; the shape is the seed of both.

    Returns:
        float32 (batch, 3, height, width).
    """
    batch, height, width = shape
    rng = np.random.default_rng(shape)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    center = rng.uniform(-0.5, 0.5, (2, batch, 3, 1, 1))
    blob = np.exp(-4 * ((y - center[0]) ** 2 + (x - center[1]) ** 2))
    noise = rng.standard_normal((batch, 3, height, width))
    return np.asarray(4 * blob - 1.5 + 0.1 * noise, np.float32)


def sample_pixels(shape: InputShape) -> NDArray[np.uint8]:
    """The same as pixels of an image: uint8 (batch, height, width, 3) RGB, 0-255."""
    levels = 112 + 56 * sample_image(shape).transpose(0, 2, 3, 1)
    return np.asarray(levels.clip(0, 255), np.uint8)
