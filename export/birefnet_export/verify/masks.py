"""Two masks of one image compared: the verdict on a whole pipeline, and on edges above all.

This is the *pipeline* figure: the same image file through both sides. It needs no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import hypot, inf
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ParityError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MaskParity:
    """Differences between two masks of one image."""

    mae: float
    """Mean absolute difference, in [0, 1]."""
    max_levels: float
    """The largest difference, in levels of 255, not rounded."""
    iou: float
    """Of the masks cut at one half; 1 where both are empty."""
    band_share: float
    """How much of the image the band is, in [0, 1]: pixels within `band_width` of the edge at one
    half of the expected mask, on both sides of it. 0 where that has no edge."""
    band_mae: float | None
    """Mean absolute difference in the band; None where there is no edge."""
    band_max_levels: float | None
    """The largest difference in the band, in levels of 255; None where there is no edge."""
    boundary_iou: float
    """As `boundary_iou` has it; 1 where both are empty."""
    size: tuple[int, int]
    """(H, W) of the image."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The differences as text: a line for the image, one for the edge."""
        whole = f"masks differ by {self.max_levels:.3g} levels at most, MAE {self.mae:.1e}"
        edge = "no edge"
        if self.band_mae is not None and self.band_max_levels is not None:
            edge = (
                f"at the edge ({self.band_share:.1%} of the image) by {self.band_max_levels:.3g} "
                f"levels at most, MAE {self.band_mae:.1e}"
            )
        return [
            f"{whole}, IoU {self.iou:.4f}",
            f"{edge}, boundary IoU {self.boundary_iou:.4f}",
        ]


@dataclass(frozen=True, slots=True)
class MaskTolerance:
    """The largest differences that pass, and the smallest agreements."""

    mae: float = inf
    max_levels: float = inf
    iou: float = 0.0
    boundary_iou: float = 0.0

    def problem(self, parity: MaskParity) -> str | None:
        """The first figure that does not pass, in words; None if all do."""
        # Each comparison is written so that NaN on either side does not pass.
        if not parity.mae <= self.mae:
            return f"a mean difference of {parity.mae:.1e}, more than the {self.mae:.0e} allowed"
        if not parity.max_levels <= self.max_levels:
            largest, allowed = f"{parity.max_levels:.3g}", f"{self.max_levels:g}"
            return f"a difference of {largest} levels, more than the {allowed} allowed"
        for name, what in (("iou", "an IoU"), ("boundary_iou", "a boundary IoU")):
            if not (value := getattr(parity, name)) >= (least := getattr(self, name)):
                return f"{what} of {value:.4f}, less than the {least:g} asked for"
        return None

    def describe(self) -> str:
        """What passes, as text."""
        return (
            f"MAE {self.mae:.0e}, {self.max_levels:g} levels, IoU {self.iou:g}, "
            f"boundary IoU {self.boundary_iou:g}"
        )

    def check(self, parity: MaskParity) -> None:
        """Raises `ParityError` if a figure does not pass."""
        if problem := self.problem(parity):
            raise ParityError(f"the masks have {problem}")


MASK_TOLERANCES = {
    "fp32": MaskTolerance(mae=1e-4, max_levels=0.5, iou=0.999, boundary_iou=0.995),
    "fp16": MaskTolerance(mae=1e-3, max_levels=8, iou=0.995, boundary_iou=0.98),
    "bf16": MaskTolerance(mae=1e-2, max_levels=128, iou=0.98, boundary_iou=0.9),
    "int8": MaskTolerance(mae=2e-2, max_levels=128, iou=0.97, boundary_iou=0.85),
}
"""What passes against PyTorch's pipeline in float32, by the precision that the graph computes in.

In fp32 no pixel of an 8-bit mask is off by more than one level. The others leave room for several
times what was measured with `nano` and Swin T (generated weights) on two photographs, worst first:
fp16 0.8 levels, MAE 1.6e-4, boundary IoU .999; autocast to bf16 31 levels, 4.2e-3, .93; int8 35
levels, 5.1e-3, .91. With fp32 it was 0.004 levels.
"""


def mask_tolerance(precision: str, eight_bits: bool = False) -> MaskTolerance:
    """What passes in a precision; where masks have 8 bits, with their rounding on top."""
    known = MASK_TOLERANCES[precision]
    if not eight_bits:
        return known
    return replace(known, mae=known.mae + 0.5 / 255, max_levels=known.max_levels + 0.5)


def compare_masks(mask: NDArray[np.float32], expected: NDArray[np.float32]) -> MaskParity:
    """Compare two masks of one image: float32 (H, W) each, in [0, 1].

    Raises:
        ParityError: shapes that differ, no pixel, values that are not finite or not in [0, 1].
    """
    _check_shapes(mask, expected)
    for side, values in (("mask", mask), ("expected mask", expected)):
        if not np.isfinite(values).all():
            raise ParityError(f"the {side} holds NaN or infinity")
        if values.min() < 0 or values.max() > 1:
            raise ParityError(f"the {side} holds values outside of 0 to 1")
    difference = np.abs(mask.astype(np.float64) - expected)
    ours, theirs = mask >= 0.5, expected >= 0.5
    width = band_width(expected.shape)
    in_band = difference[_rim(theirs, width) | _rim(~theirs, width)]
    return MaskParity(
        mae=float(difference.mean()),
        max_levels=255 * float(difference.max()),
        iou=intersection_over_union(ours, theirs),
        band_share=in_band.size / difference.size,
        band_mae=float(in_band.mean()) if in_band.size else None,
        band_max_levels=255 * float(in_band.max()) if in_band.size else None,
        boundary_iou=boundary_iou(ours, theirs),
        size=(expected.shape[0], expected.shape[1]),
    )


def intersection_over_union(a: Mask, b: Mask) -> float:
    """Of two sets of pixels; 1 where both are empty."""
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 1.0


def boundary_iou(mask: Mask, expected: Mask) -> float:
    """Intersection over union of two masks' inner boundaries (arXiv 2103.16562).

    A mask's inner boundary is what of it lies within `band_width` of its outside. As in the
    paper's own implementation a diagonal step counts as one, and so the distance is what repeated
    erosion by 3 x 3 measures; beyond the image all is outside.

    Args:
        mask: bool (H, W).
        expected: bool (H, W).

    Returns:
        In [0, 1]; 1 where both are empty.

    Raises:
        ParityError: shapes that differ, or no pixel.
    """
    _check_shapes(mask, expected)
    width = band_width(expected.shape)
    inner = [_rim(np.pad(side, 1), width)[1:-1, 1:-1] for side in (mask, expected)]
    return intersection_over_union(*inner)


def band_width(size: tuple[int, ...]) -> int:
    """Pixels to each side of an edge, at least one, for an image of this (H, W).

    They are 2 % of the diagonal, as in Boundary IoU (arXiv 2103.16562).
    """
    return max(1, round(0.02 * hypot(*size)))


def _rim(mask: Mask, width: int) -> Mask:
    """Those pixels of a mask that are at most `width` from one that is not in it."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)
    return np.asarray(mask & (distance <= width))


def _check_shapes(mask: NDArray[Any], expected: NDArray[Any]) -> None:
    if mask.shape != expected.shape:
        raise ParityError(f"the mask is {mask.shape}, not {expected.shape}")
    if expected.ndim != 2:
        raise ParityError(f"expected a mask as (H, W), got {expected.shape}")
    if not expected.size:
        raise ParityError("nothing was compared: the masks are empty")
