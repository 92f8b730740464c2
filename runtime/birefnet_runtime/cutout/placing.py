"""A subject in its place on a canvas: scaled, moved, and what surrounds it as far as it reaches."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.picture import Pixels, full_scale

Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, the last two beyond."""


class Arrangement(Protocol):
    """Says how large a canvas is and where on it the subject goes."""

    @property
    def scales(self) -> bool:
        """Whether the subject may come out at another size."""

    def arrange(self, box: Box, size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
        """Arrange a subject.

        Args:
            box: around it, in the picture.
            size: (height, width) of the picture.

        Returns:
            (height, width) of the canvas, and the subject's box on it.
        """


@dataclass(frozen=True, slots=True)
class Placing:
    """Which part of a picture goes where on a canvas; the rest of the canvas is empty.

    Attributes:
        canvas: its (height, width).
        source: rows and columns of the picture.
        target: rows and columns of the canvas.
    """

    canvas: tuple[int, int]
    source: tuple[slice, slice]
    target: tuple[slice, slice]

    def alpha(self, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place an alpha, float32 (H, W) in [0, 1]; 0 where the canvas is empty."""
        placed = np.zeros(self.canvas, np.float32)
        placed[self.target] = np.clip(self._scaled(alpha[self.source]), 0, 1)
        return placed

    def colors(
        self, colors: Pixels, alpha: NDArray[np.float32], placed_alpha: NDArray[np.float32]
    ) -> Pixels:
        """Place a subject's colors; they are weighted, so that those of nothing don't bleed in.

        Args:
            colors: uint8 or uint16, (H, W, 3) RGB, not premultiplied; a fourth channel is left out.
            alpha: float32 (H, W) in [0, 1].
            placed_alpha: the same on the canvas, as `alpha` returns it.

        Returns:
            (height, width, 4) of the same type, black where the canvas is empty, and in the fourth
            channel.
        """
        placed = np.zeros((*self.canvas, 4), colors.dtype)
        if self._keeps_size:
            placed[*self.target, :3] = colors[*self.source, :3]
            return placed
        weight = alpha[self.source]
        divisor = np.maximum(placed_alpha[self.target], np.float32(1e-6))
        for channel in range(3):  # one by one, for they are float32
            scaled = self._scaled(colors[*self.source, channel] * weight)
            scaled /= divisor
            np.rint(scaled, out=scaled)
            placed[*self.target, channel] = np.clip(scaled, 0, full_scale(placed), out=scaled)
        return placed

    @property
    def _keeps_size(self) -> bool:
        return _sides(self.source) == _sides(self.target)

    def _scaled(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._keeps_size:
            return plane
        height, width = _sides(self.target)
        smaller = height * width < plane.size
        filter_ = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(plane, (width, height), interpolation=filter_), np.float32)


def place(arrangement: Arrangement, box: Box | None, size: tuple[int, int]) -> Placing:
    """Place a subject.

    Args:
        arrangement: where it goes.
        box: around it; None: there is none, and the whole picture goes in its place.
        size: (height, width) of the picture.
    """
    box = box or (0, 0, *size)
    canvas, there = arrangement.arrange(box, size)
    rows = _reaching((box[0], box[2]), (there[0], there[2]), size[0], canvas[0])
    columns = _reaching((box[1], box[3]), (there[1], there[3]), size[1], canvas[1])
    return Placing(canvas, (rows[0], columns[0]), (rows[1], columns[1]))


def most_pixels(arrangement: Arrangement, size: tuple[int, int]) -> int:
    """The most pixels that the canvas of a picture of (height, width) may have."""
    (height, width), _ = arrangement.arrange((0, 0, *size), size)
    return height * width


def _reaching(
    subject: tuple[int, int], there: tuple[int, int], side: int, canvas: int
) -> tuple[slice, slice]:
    """What is seen along one side: the subject, and around it as far as picture and canvas go."""
    (first, last), (start, stop) = subject, there
    factor = (stop - start) / (last - first)
    before = min(first, int(start / factor))
    after = min(side - last, int((canvas - stop) / factor))
    target = slice(start - round(before * factor), stop + round(after * factor))
    return slice(first - before, last + after), target


def _sides(part: tuple[slice, slice]) -> tuple[int, int]:
    rows, columns = part
    return rows.stop - rows.start, columns.stop - columns.start
