"""Masks of fp16 and int8 compared with those of float32: IoU and mean absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import PrecisionError
from .logits import Array, mask_of_logits
from .masks import intersection_over_union


@dataclass(frozen=True, slots=True)
class Quality:
    """Masks of a graph in fp16 or int8 against those of the float32 graph, on the same images."""

    iou_mean: float
    """Of the masks cut at one half; 1 where both are empty."""
    iou_min: float
    """The worst image's."""
    mae_mean: float
    """Mean absolute difference of the masks, in [0, 1]."""
    mae_max: float
    """The worst image's."""
    images: int
    size: tuple[int, int]
    """Height and width at which the network ran."""
    excluded: tuple[str, ...] = ()
    """Groups of layers that were left in float32 because they are sensitive."""
    max_abs: float = 0.0
    """The largest difference of a pixel of the masks."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def quality(
    quantized: Sequence[Array], expected: Sequence[Array], excluded: tuple[str, ...] = ()
) -> Quality:
    """Compare logits, (1, 1, height, width) each, image by image.

    Raises:
        PrecisionError: nothing to compare, or values that are not finite.
    """
    if not expected:
        raise PrecisionError("nothing was compared: there are no images")
    if not all(np.isfinite(logits).all() for logits in [*quantized, *expected]):
        raise PrecisionError("the graph gives NaN or infinite logits")
    ious, errors, largest = [], [], 0.0
    for pair in zip(quantized, expected, strict=True):
        mask, exact = map(mask_of_logits, pair)
        ious.append(intersection_over_union(mask >= 0.5, exact >= 0.5))
        off = np.abs(mask - exact)
        errors.append(float(off.mean()))
        largest = max(largest, float(off.max()))
    return Quality(
        iou_mean=float(np.mean(ious)),
        iou_min=min(ious),
        mae_mean=float(np.mean(errors)),
        mae_max=max(errors),
        images=len(ious),
        size=(expected[0].shape[2], expected[0].shape[3]),
        excluded=excluded,
        max_abs=largest,
    )
