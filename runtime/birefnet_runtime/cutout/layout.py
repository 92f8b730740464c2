"""Where the subject goes: cut down to it with margins, scaled, moved on a canvas.

The ways of remove.bg's API (`crop_margin`, `scale`, `position`), which its clients know.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.picture import Pixels

Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, the last two beyond."""


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels, or as a share of the subject's side."""

    amount: float
    relative: bool = False

    def pixels(self, side: int) -> int:
        """How many pixels it has beside a subject whose side has so many."""
        return round(self.amount * side) if self.relative else round(self.amount)


Margins: TypeAlias = tuple[Length, Length, Length, Length]
"""Above, right of, below and left of the subject."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the subject is laid out on the result's canvas.

    Attributes:
        margins: cut the canvas down to the subject and these; beyond the image they are empty.
            None: the canvas is the image.
        scale: the share of the canvas that the subject fills at most, in (0, 1]; None: it keeps its
            size.
        position: how the space left over is shared out, (vertical, horizontal): 0 puts the subject
            at the top or the left, 1 at the bottom or the right; None: where it was.
    """

    margins: Margins | None = None
    scale: float | None = None
    position: tuple[float, float] | None = None

    def most_pixels(self, size: tuple[int, int]) -> int:
        """The most pixels that the canvas of an image of (height, width) may have."""
        if self.margins is None:
            return size[0] * size[1]
        above, right, below, left = self.margins
        height = size[0] + above.pixels(size[0]) + below.pixels(size[0])
        return height * (size[1] + left.pixels(size[1]) + right.pixels(size[1]))

    def place(
        self, colors: Pixels, alpha: NDArray[np.float32], box: Box
    ) -> tuple[Pixels, NDArray[np.float32]]:
        """Lay a subject out.

        Args:
            colors: uint8 or uint16 (H, W, 3) RGB, the subject's own, not premultiplied.
            alpha: float32 (H, W) in [0, 1].
            box: around the subject.

        Returns:
            colors and alpha of the canvas, of the same types; alpha is 0 where nothing lies.
        """
        if self.margins is not None:
            colors, alpha, box = _cut_down(colors, alpha, box, self.margins)
        if self.scale is None and self.position is None:
            return colors, alpha
        top, left, bottom, right = box
        size = alpha.shape[0], alpha.shape[1]
        factor = 1.0
        if self.scale is not None:
            factor = self.scale * min(size[0] / (bottom - top), size[1] / (right - left))
        height, width = (
            min(most, max(1, round(factor * side)))
            for most, side in zip(size, (bottom - top, right - left), strict=True)
        )
        shares = self.position or (
            _share(top + bottom, height, size[0]),
            _share(left + right, width, size[1]),
        )
        place = round(shares[0] * (size[0] - height)), round(shares[1] * (size[1] - width))
        inside = slice(top, bottom), slice(left, right)
        placed_colors, placed_alpha = np.zeros_like(colors), np.zeros_like(alpha)
        there = slice(place[0], place[0] + height), slice(place[1], place[1] + width)
        placed_colors[there], placed_alpha[there] = _resized(
            colors[inside], alpha[inside], (height, width)
        )
        return placed_colors, placed_alpha


def _share(twice_center: int, side: int, canvas: int) -> float:
    """The share of the space left over before a subject whose center stays."""
    left_over = canvas - side
    return min(1.0, max(0.0, (twice_center - side) / 2 / left_over)) if left_over else 0.0


def _cut_down(
    colors: Pixels, alpha: NDArray[np.float32], box: Box, margins: Margins
) -> tuple[Pixels, NDArray[np.float32], Box]:
    """The canvas of a subject and its margins, and the subject's box in it."""
    top, left, bottom, right = box
    tall, wide = bottom - top, right - left
    above, beside_right, below, beside_left = (
        margin.pixels(side) for margin, side in zip(margins, (tall, wide, tall, wide), strict=True)
    )
    first, last = (top - above, left - beside_left), (bottom + below, right + beside_right)
    seen_top, seen_left = max(0, first[0]), max(0, first[1])
    seen = alpha[seen_top : last[0], seen_left : last[1]]
    down, along = seen_top - first[0], seen_left - first[1]
    there = slice(down, down + seen.shape[0]), slice(along, along + seen.shape[1])
    size = last[0] - first[0], last[1] - first[1]
    cut_colors, cut_alpha = np.zeros((*size, 3), colors.dtype), np.zeros(size, np.float32)
    cut_colors[there] = colors[seen_top : last[0], seen_left : last[1]]
    cut_alpha[there] = seen
    return cut_colors, cut_alpha, (above, beside_left, above + tall, beside_left + wide)


def _resized(
    colors: Pixels, alpha: NDArray[np.float32], size: tuple[int, int]
) -> tuple[Pixels, NDArray[np.float32]]:
    """Scale colors and alpha; the colors are weighted, so that those of nothing don't bleed in."""
    smaller = size[0] * size[1] < alpha.size
    filter_ = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    wanted = size[::-1]
    scaled_alpha = np.asarray(cv2.resize(alpha, wanted, interpolation=filter_), np.float32)
    weighted = colors.astype(np.float32) * alpha[..., None]
    scaled = cv2.resize(weighted, wanted, interpolation=filter_)
    scaled = scaled / np.maximum(scaled_alpha, 1e-6)[..., None]
    limit = np.iinfo(colors.dtype).max
    rounded = np.rint(np.clip(scaled, 0, limit)).astype(colors.dtype)
    return rounded, np.clip(scaled_alpha, 0, 1)
