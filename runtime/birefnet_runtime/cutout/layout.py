"""Where the subject goes: cut down to it with margins, scaled, moved on a canvas.

The ways of remove.bg's API (`crop_margin`, `scale`, `position`), which its clients know.
"""

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..images.picture import Pixels, full_scale

Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels, the last two beyond."""
CENTER = (0.5, 0.5)
LARGEST_CANVAS_SIDE = 65_535
"""The longest that a JPEG can be."""
MOST_ASPECT = 100
ROUNDING = 1e-6
"""Of floats, in pixels."""
_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"


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
PADDING = Length(0.05, relative=True)


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
        """Whether the subject may come out at another size."""
        return self.scale is not None

    def arrange(self, box: Box, size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
        """Arrange a subject.

        Args:
            box: around it, in the picture.
            size: (height, width) of the picture.

        Returns:
            (height, width) of the canvas, and the subject's box on it.
        """
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


@dataclass(frozen=True, slots=True)
class Canvas:
    """A canvas that the subject is put on.

    Attributes:
        shape: (height, width) in pixels, into which the subject is scaled; or the ratio of width to
            height: the canvas then is as small as subject and padding allow, and the subject keeps
            the picture's resolution.
        padding: what stays free above, right of, below and left of the subject; shares are of the
            canvas's sides.
        position: how the space left over is shared out, (vertical, horizontal): 0 puts the
            subject at the top or the left, 1 at the bottom or the right.

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
        """Whether the subject may come out at another size."""
        return isinstance(self.shape, tuple)

    def arrange(self, box: Box, size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
        """Arrange a subject.

        Args:
            box: around it, in the picture.
            size: (height, width) of the picture.

        Returns:
            (height, width) of the canvas, and the subject's box on it.
        """
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


AnyLayout: TypeAlias = Layout | Canvas
"""How large a canvas is, and where on it the subject goes."""


@dataclass(frozen=True, slots=True)
class Placement:
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


def place(layout: AnyLayout, box: Box | None, size: tuple[int, int]) -> Placement:
    """Place a subject.

    Args:
        layout: where it goes.
        box: around it; None: there is none, and the whole picture goes in its place.
        size: (height, width) of the picture.
    """
    box = box or (0, 0, *size)
    canvas, there = layout.arrange(box, size)
    rows = _reaching((box[0], box[2]), (there[0], there[2]), size[0], canvas[0])
    columns = _reaching((box[1], box[3]), (there[1], there[3]), size[1], canvas[1])
    return Placement(canvas, (rows[0], columns[0]), (rows[1], columns[1]))


def most_pixels(layout: AnyLayout, size: tuple[int, int]) -> int:
    """The most pixels that the canvas of a picture of (height, width) may have."""
    (height, width), _ = layout.arrange((0, 0, *size), size)
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


def _share(twice_center: int, side: int, canvas: int) -> float:
    """The share of the space left over before a subject whose center stays."""
    left_over = canvas - side
    return min(1.0, max(0.0, (twice_center - side) / 2 / left_over)) if left_over else 0.0


def parse_length(text: str) -> Length:
    """Read `10%`, up to 100%, `30px` or `30`.

    Raises:
        ValueError: it is not such a length; says why.
    """
    if text.endswith("%"):
        share = _number(text.removesuffix("%")) / 100
        if share > 1:
            raise ValueError("is more than 100%")
        return Length(share, relative=True)
    return Length(_number(text.removesuffix("px")))


def parse_margins(text: str) -> Margins:
    """Read one length for all sides, two (above and below, beside), or four, from above clockwise.

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
    """Read `center`, `x% y%`, or one share for both, into (vertical, horizontal) in [0, 1].

    Raises:
        ValueError: it is something else.
    """
    if text == "center":
        return CENTER
    shares = [parse_length(part) for part in text.split()]
    if not 1 <= len(shares) <= 2 or not all(share.relative for share in shares):
        raise ValueError("is neither center nor one or two of 0% to 100%")
    return shares[-1].amount, shares[0].amount


def parse_shape(text: str) -> tuple[int, int] | float:
    """Read `WxH`, width first, or an aspect as `4:5`: (height, width), or width by height.

    Raises:
        OutputError: it is neither.
    """
    size = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    aspect = re.fullmatch(rf"({_NUMBER}):({_NUMBER})", text)
    if size and all(1 <= int(side) <= LARGEST_CANVAS_SIDE for side in size.groups()):
        return int(size[2]), int(size[1])
    if aspect and all(float(side) >= 0.01 for side in aspect.groups()):
        ratio = float(aspect[1]) / float(aspect[2])
        if 1 / MOST_ASPECT <= ratio <= MOST_ASPECT:
            return ratio
    raise OutputError(
        f"{text[:40]!r} is not a canvas; give WxH in pixels (width first, "
        f"up to {LARGEST_CANVAS_SIDE:,}) or an aspect, as 1:1 or 4:5"
    )


def parse_padding(text: str) -> Margins:
    """Read `5%`, `40px`, or two (above and below, beside) or four of them, each with its unit.

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


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("is not a number")
    return float(text)
