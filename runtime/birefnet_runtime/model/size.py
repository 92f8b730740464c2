"""At which size the network runs. Sizes are (height, width) in pixels."""

import math
from typing import Literal, TypeAlias

from birefnet_models.base.text import format_size

from ..errors import SizeError
from .validate import LARGEST_INPUT_SIDE, as_side

Size: TypeAlias = int | tuple[int, int] | Literal["auto"] | None
"""None: the trained size; N: N x N; (height, width); "auto": the image's aspect ratio is kept."""

FAR = 1.5
"""Side ratio to the trained size beyond which quality is known to fall.

At half the trained side the S-measure drops from .911 to .860, and for the checkpoint trained at
2048 to .634 (model card of BiRefNet_512x512). Between 1 and 2 nobody published figures.
"""


def parse_size(text: str) -> Size:
    """Read `N`, `HxW` or `auto`, as typed.

    Raises:
        SizeError: it is none of them.
    """
    if text == "auto":
        return "auto"
    if text.isdecimal():
        return parse_height_width(f"{text}x{text}")[0]
    return parse_height_width(text)


def parse_height_width(text: str) -> tuple[int, int]:
    """Read `HxW`.

    Raises:
        SizeError: it is something else.
    """
    height, times, width = text.lower().partition("x")
    try:
        if not (times and height.isdecimal() and width.isdecimal()):
            raise ValueError("not two numbers with an x between them")
        return as_side(int(height)), as_side(int(width))
    except ValueError as error:
        raise SizeError(
            f"{text[:40]!r} is not a size; give N, HxW (height first) or auto, "
            f"with sides from 1 to {LARGEST_INPUT_SIDE:,}"
        ) from error


def check_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return the size if the network can run at it.

    Raises:
        SizeError: a side is not a positive multiple, or too large; the message names what is
            possible.
    """
    if max(size) > LARGEST_INPUT_SIDE:
        raise SizeError(f"{format_size(size)} is too large: sides go up to {LARGEST_INPUT_SIDE:,}")
    if all(side > 0 and side % multiple == 0 for side in size):
        return size
    nearest = tuple(_nearest_multiple(side, multiple) * multiple for side in size)
    raise SizeError(
        f"height and width must be multiples of {multiple}, not {format_size(size)}; "
        f"the nearest is {format_size(nearest)}"
    )


def check_fixed(size: tuple[int, int], only: tuple[int, int]) -> tuple[int, int]:
    """Return the size if it is the only one that the graph takes.

    Raises:
        SizeError: it is another one.
    """
    if size != only:
        raise SizeError(
            f"this model was exported for {format_size(only)} alone, not for {format_size(size)}; "
            "`birefnet export` makes one for every size"
        )
    return size


def auto_size(
    image_size: tuple[int, int], budget: tuple[int, int], multiple: int
) -> tuple[int, int]:
    """The size with the image's aspect ratio and at most as many pixels as `budget` has.

    Sides are multiples of `multiple`, each at least one of it, so a very long image loses some of
    its aspect ratio. Small images are enlarged: the network knows subjects at its own scale.
    """
    cells = (budget[0] // multiple) * (budget[1] // multiple)
    scale = math.sqrt(budget[0] * budget[1] / (image_size[0] * image_size[1]))
    short, long = sorted(image_size)
    short_cells = min(_nearest_multiple(short * scale, multiple), math.isqrt(cells))
    long_cells = min(_nearest_multiple(long * scale, multiple), cells // short_cells)
    sides = (short_cells * multiple, long_cells * multiple)
    return sides if image_size[0] <= image_size[1] else sides[::-1]


def quality_note(
    size: tuple[int, int],
    trained_size: tuple[int, int],
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None,
) -> str | None:
    """What to expect of a size far from those trained at; None for one that is near."""
    smallest, largest = trained_range or (trained_size, trained_size)
    slack = 1.0 if trained_range else FAR
    side = math.sqrt(size[0] * size[1])
    if side * slack < math.sqrt(smallest[0] * smallest[1]):
        expect = "fine structures and whole parts of the subject may be lost"
    elif side > slack * math.sqrt(largest[0] * largest[1]):
        expect = "large subjects may come out with holes or only in part"
    else:
        return None
    trained = f"from {format_size(smallest)} to {format_size(largest)}"
    if smallest == largest:
        trained = f"at {format_size(smallest)}"
    return f"the model was trained {trained}; at {format_size(size)} {expect}"


def _nearest_multiple(side: float, multiple: int) -> int:
    """How many times `multiple` comes nearest to `side`; at least once."""
    return max(1, math.floor(side / multiple + 0.5))
