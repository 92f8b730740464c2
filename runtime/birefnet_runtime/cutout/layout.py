"""Where the subject goes: cut down to it with margins, scaled, moved on a canvas.

The ways of remove.bg's API (`crop_margin`, `scale`, `position`), which its clients know.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from .placing import Box

CENTER = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels, or as a share of a side."""

    amount: float
    relative: bool = False

    def pixels(self, side: int) -> int:
        """How many pixels it has beside a side of so many."""
        return round(self.amount * side) if self.relative else round(self.amount)


Margins: TypeAlias = tuple[Length, Length, Length, Length]
"""Above, right of, below and left of the subject."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the subject is laid out on the result's canvas.

    Attributes:
        margins: cut the canvas down to the subject and these, shares being of the subject's sides;
            beyond the image they are empty. None: the canvas is the image.
        scale: the share of the canvas that the subject fills at most, in (0, 1]; None: it keeps its
            size.
        position: how the space left over is shared out, (vertical, horizontal): 0 puts the subject
            at the top or the left, 1 at the bottom or the right; None: where it was.
    """

    margins: Margins | None = None
    scale: float | None = None
    position: tuple[float, float] | None = None

    @property
    def scales(self) -> bool:
        """As `Arrangement` has it."""
        return self.scale is not None

    def arrange(self, box: Box, size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
        """As `Arrangement` has it."""
        top, left, bottom, right = box
        tall, wide = bottom - top, right - left
        canvas, there = size, box
        if self.margins is not None:
            above, beside_right, below, beside_left = (
                margin.pixels(side)
                for margin, side in zip(self.margins, (tall, wide, tall, wide), strict=True)
            )
            canvas = above + tall + below, beside_left + wide + beside_right
            there = above, beside_left, above + tall, beside_left + wide
        if self.scale is None and self.position is None:
            return canvas, there
        factor = 1.0
        if self.scale is not None:
            factor = self.scale * min(canvas[0] / tall, canvas[1] / wide)
        height, width = (
            min(most, max(1, round(factor * side)))
            for most, side in zip(canvas, (tall, wide), strict=True)
        )
        shares = self.position or (
            _share(there[0] + there[2], height, canvas[0]),
            _share(there[1] + there[3], width, canvas[1]),
        )
        down, along = (
            round(shares[0] * (canvas[0] - height)),
            round(shares[1] * (canvas[1] - width)),
        )
        return canvas, (down, along, down + height, along + width)


def parse_length(text: str) -> Length:
    """Read `10%`, up to 100%, `30px` or `30`.

    Raises:
        ValueError: it is no such length; says why.
    """
    if text.endswith("%"):
        share = _number(text.removesuffix("%")) / 100
        if share > 1:
            raise ValueError("is more than 100%")
        return Length(share, relative=True)
    return Length(_number(text.removesuffix("px")))


def parse_margins(text: str) -> Margins:
    """Read one length for all sides; two: above and below, beside; or four, as `Margins` has them.

    Raises:
        ValueError: it is something else; says why.
    """
    match [parse_length(part) for part in text.split()]:
        case [every]:
            return every, every, every, every
        case [above, beside]:
            return above, beside, above, beside
        case [above, right, below, left]:
            return above, right, below, left
    raise ValueError("is not one, two or four lengths")


def parse_position(text: str) -> tuple[float, float]:
    """Read `center`, `x% y%`, or one share for both, as `Layout.position` has it.

    Raises:
        ValueError: it is something else.
    """
    if text == "center":
        return CENTER
    shares = [parse_length(part) for part in text.split()]
    if not 1 <= len(shares) <= 2 or not all(share.relative for share in shares):
        raise ValueError("is neither center nor one or two of 0% to 100%")
    return shares[-1].amount, shares[0].amount


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("is no number")
    return float(text)


def _share(twice_center: int, side: int, canvas: int) -> float:
    """The share of the space left over before a subject whose center stays."""
    left_over = canvas - side
    return min(1.0, max(0.0, (twice_center - side) / 2 / left_over)) if left_over else 0.0
