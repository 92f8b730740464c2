"""A canvas of a size or an aspect of its own, with the subject on it and padding around it."""

import math
import re
from dataclasses import dataclass

from ..errors import OutputError
from .layout import CENTER, Length, Margins, parse_margins, parse_position
from .placing import Box

LARGEST_SIDE = 65_535
"""The longest that a JPEG can be."""
MOST_ASPECT = 100
ROUNDING = 1e-6
"""Of floats, in pixels."""
PADDING = Length(0.05, relative=True)
_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"


@dataclass(frozen=True, slots=True)
class Canvas:
    """A canvas that the subject is put on.

    Attributes:
        shape: (height, width) in pixels, into which the subject is scaled; or the ratio of width to
            height: the canvas then is as small as subject and padding allow, and the subject keeps
            the picture's resolution.
        padding: what stays free above, right of, below and left of the subject; shares are of the
            canvas's sides.
        position: how the space left over is shared out, (vertical, horizontal), as in `Layout`.

    Raises:
        OutputError: the padding leaves no room for a subject.
    """

    shape: tuple[int, int] | float
    padding: Margins = (PADDING,) * 4
    position: tuple[float, float] = CENTER

    def __post_init__(self) -> None:
        sides = self.shape if isinstance(self.shape, tuple) else (math.inf, math.inf)
        for side, (share, pixels) in zip(sides, self._taken(), strict=True):
            if share >= 1 or side * (1 - share) - pixels < 2:
                raise OutputError(
                    "the padding leaves no room for a subject on the canvas; give less, as 5%"
                )

    @property
    def scales(self) -> bool:
        """As `Arrangement` has it."""
        return isinstance(self.shape, tuple)

    def arrange(self, box: Box, size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
        """As `Arrangement` has it."""
        tall, wide = box[2] - box[0], box[3] - box[1]
        shape = self.shape
        canvas = shape if isinstance(shape, tuple) else self._around(shape, tall, wide)
        sides = (*canvas, *canvas)
        above, right, below, left = (
            length.pixels(side) for length, side in zip(self.padding, sides, strict=True)
        )
        room = canvas[0] - above - below, canvas[1] - left - right
        if isinstance(shape, tuple):
            factor = min(room[0] / tall, room[1] / wide)
            tall, wide = (
                min(most, max(1, round(factor * side)))
                for most, side in zip(room, (tall, wide), strict=True)
            )
        down = above + round(self.position[0] * (room[0] - tall))
        along = left + round(self.position[1] * (room[1] - wide))
        return canvas, (down, along, down + tall, along + wide)

    def _taken(self) -> list[tuple[float, float]]:
        """The share and the pixels that padding takes of the height, and of the width."""
        above, right, below, left = self.padding
        return [
            (
                sum(length.amount for length in pair if length.relative),
                sum(length.amount for length in pair if not length.relative),
            )
            for pair in ((above, below), (left, right))
        ]

    def _around(self, aspect: float, tall: int, wide: int) -> tuple[int, int]:
        """(height, width) of the smallest canvas of an aspect that has room for a subject."""
        least = [
            (side + pixels) / (1 - share)
            for side, (share, pixels) in zip((tall, wide), self._taken(), strict=True)
        ]
        height = math.ceil(max(least[0], least[1] / aspect) - ROUNDING)
        return height, math.ceil(height * aspect - ROUNDING)


def parse_shape(text: str) -> tuple[int, int] | float:
    """Read `WxH`, width first, or an aspect as `4:5`, as `Canvas.shape` has it.

    Raises:
        OutputError: it is neither.
    """
    size = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    aspect = re.fullmatch(rf"({_NUMBER}):({_NUMBER})", text)
    if size and all(1 <= int(side) <= LARGEST_SIDE for side in size.groups()):
        return int(size[2]), int(size[1])
    if aspect and all(float(side) >= 0.01 for side in aspect.groups()):
        ratio = float(aspect[1]) / float(aspect[2])
        if 1 / MOST_ASPECT <= ratio <= MOST_ASPECT:
            return ratio
    raise OutputError(
        f"{text[:40]!r} is no canvas; give WxH in pixels (width first, up to {LARGEST_SIDE:,}) or "
        "an aspect, as 1:1 or 4:5"
    )


def parse_padding(text: str) -> Margins:
    """Read `5%`, `40px`, or two or four of them, as `parse_margins` has it; each with its unit.

    Raises:
        OutputError: it is something else.
    """
    try:
        if any(part.isdecimal() and int(part) for part in text.split()):
            raise ValueError("has no unit")
        return parse_margins(text)
    except ValueError as error:
        raise OutputError(
            f"{text[:40]!r} {error}; give 5% of the canvas or 40px, two (above and below, beside) "
            "or four (above, right, below, left)"
        ) from error


def parse_place(text: str) -> tuple[float, float]:
    """Read a position, as `parse_position` does.

    Raises:
        OutputError: it is none.
    """
    try:
        return parse_position(text)
    except ValueError as error:
        raise OutputError(
            f"{text[:40]!r} {error}; give center, or shares of what is left, as '50% 100%'"
        ) from error
