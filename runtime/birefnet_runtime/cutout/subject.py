"""The subject in an alpha: whether there is one, where it is, how much of the picture it takes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SURE = 0.5
"""Alpha from which a pixel is more subject than background. A picture with none has no subject."""
FAINT = 0.1
"""Alpha from which a pixel counts for the box: hair is faint, and so are ghosts of the background
below that."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of an alpha.

    Attributes:
        found: whether any pixel is more subject than background.
        box: (top, left, bottom, right) in pixels, the last two beyond the subject; None if none was
            found.
        share: the mean of alpha, in [0, 1].
    """

    found: bool
    box: tuple[int, int, int, int] | None
    share: float


def find_subject(alpha: NDArray[np.float32]) -> Subject:
    """Find the subject in an alpha, float32 (H, W) in [0, 1]."""
    share = float(cv2.mean(alpha)[0])
    if cv2.minMaxLoc(alpha)[1] < SURE:
        return Subject(found=False, box=None, share=share)
    faint = alpha >= np.float32(FAINT)
    rows, columns = np.flatnonzero(faint.any(axis=1)), np.flatnonzero(faint.any(axis=0))
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return Subject(found=True, box=box, share=share)


def widen(
    box: tuple[int, int, int, int], margin: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A box with a margin on all sides, within a picture.

    Args:
        box: (top, left, bottom, right).
        margin: as a share of the box's longer side.
        size: (height, width) of the picture.
    """
    top, left, bottom, right = box
    pixels = round(margin * max(bottom - top, right - left))
    return (
        max(0, top - pixels),
        max(0, left - pixels),
        min(size[0], bottom + pixels),
        min(size[1], right + pixels),
    )
