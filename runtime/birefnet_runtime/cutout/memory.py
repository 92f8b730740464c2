"""How much memory a picture takes on its way from file to result, beside the model's.

Counted in bytes for each pixel that live at once: of the picture as it is read, as the network's
input is made of it, and as its result is composed and written. The counts are made to lie above
what was measured, which `benchmarks/results/memory_limits.json` has.
"""

from collections.abc import Callable

from birefnet_models.base.text import format_bytes
from PIL import Image

from ..errors import ImageError
from ..images.read import decoded_bytes, picture_bytes
from ..images.write import Encoding, FormatName
from .background import Color
from .compose import Style
from .layout import most_pixels

WRITER: dict[FormatName, float] = {"png": 2, "tiff": 3, "jpeg": 2, "webp": 31, "avif": 40}
"""For each pixel, of what is held to be written: copies and the encoder's own planes."""
PYMATTING = 150
AFTER_SIXTEEN_BITS = 6
"""For each pixel, of what reading 16 bits a channel took and the allocator hasn't given back."""
CLEANING = 12
"""For each pixel, beside the clean alpha: numbers of pieces or holes, and masks of them."""
SCALING = 8
"""For each pixel of picture and canvas: one channel's weighted colors in float32."""
SLACK_BYTES = 48e6
"""Of all pictures together: strips and tiles, the encoded files, what the allocator keeps."""
MOST_DECODING = 40
"""For each pixel, what decoding takes at most; `decoded_bytes` counts strips that small pictures
don't have."""


def peak_bytes(image: Image.Image, style: Style, encoding: Encoding) -> float:
    """Estimate what an opened file will take at its peak beside `SLACK_BYTES`, from above.

    Args:
        image: opened, not decoded; one that is animated is worked on frame by frame.
        style: what is made of it.
        encoding: how the result is written.
    """
    pixels = max(1, image.width * image.height)
    picture = picture_bytes(image) / pixels
    opaque = not image.has_transparency_data
    width = picture / (3 if opaque else 4)  # bytes of a channel
    held = picture + 4 + (0 if opaque else 8)  # with its alpha
    held += (AFTER_SIXTEEN_BITS if width > 1 else 0) + (4 if style.clean else 0)
    network_input = picture + (4 if opaque else 14) + (3 if width > 1 else 0)
    cleaning = held + CLEANING if style.clean else 0
    result = _result_bytes(style, encoding, width)
    if style.layout is None:
        composing = held + result
    else:
        colors = 0 if style.mask else 4 * width
        scaling = SCALING if style.layout.scales else 0
        canvas = canvas_pixels(style, (image.height, image.width)) / pixels
        composing = held + colors + scaling + canvas * (4 + result + scaling)
    if style.foreground == "pymatting" and not style.mask:
        composing += PYMATTING
    decoding = min(decoded_bytes(image), MOST_DECODING * pixels)
    return max(decoding, pixels * max(network_input, cleaning, composing))


def canvas_pixels(style: Style, size: tuple[int, int]) -> int:
    """The most pixels that the result of a picture of (height, width) may have, or (width, height):
    the file may say that it is turned."""
    if style.layout is None:
        return size[0] * size[1]
    return max(most_pixels(style.layout, size), most_pixels(style.layout, size[::-1]))


def _result_bytes(style: Style, encoding: Encoding, width: float) -> float:
    """For each pixel of a result, beside its alpha; the picture's channels have `width` bytes."""
    depth = style.depth or (8 if style.mask else 8 * width)
    taken = WRITER[encoding.format.name]
    if width > 1 and not encoding.format.deep:
        taken += 4  # in 8 bits
    if style.mask:
        return taken + (1 if depth == 8 else 10)
    taken += 4 * width + (4 * depth / 8 if depth / 8 != width else 0)
    taken += 8 if style.shadow == "drop" else 0
    if style.background is not None:
        taken += 3 * (width + depth / 8) + (0 if isinstance(style.background, Color) else 3)
    return taken


def check_canvas(name: str, size: tuple[int, int], style: Style, limit: int | None) -> None:
    """Check that the canvas of a picture of (height, width) has no more pixels than may be read.

    Raises:
        ImageError: it may have more.
    """
    pixels = canvas_pixels(style, size)
    if style.layout is not None and limit is not None and pixels > limit:
        raise ImageError(
            f"{name}: its canvas may have {pixels / 1e6:.6g} megapixels, more than "
            f"{limit / 1e6:.6g}; give a smaller one or less padding, or raise the limit "
            "(--max-pixels)"
        )


def fits(needed: float, left: float) -> bool:
    """Whether a picture that takes so many bytes stays below what a limit leaves for pictures."""
    return needed + SLACK_BYTES <= left


def check_fits(
    name: str,
    size: tuple[int, int],
    needed: float,
    left: float,
    what_fits: Callable[[float], str] | None = None,
) -> None:
    """Check that a picture of (height, width) alone stays below what a limit leaves.

    Args:
        name: what it is called.
        size: (height, width).
        needed: bytes that it takes beside `SLACK_BYTES`.
        left: bytes that the limit leaves beside the model.
        what_fits: told how many bytes it takes in all, says what to do, as the end of a sentence.

    Raises:
        ImageError: it doesn't; says how much it takes and how much is left.
    """
    if not fits(needed, left):
        total = needed + SLACK_BYTES
        advice = what_fits(total) if what_fits else "a larger limit leaves more"
        raise ImageError(
            f"{name}: {size[1]} x {size[0]} pixels take up to "
            f"{format_bytes(total)}, and beside the model the memory limit leaves "
            f"{format_bytes(max(0, left))}; {advice}"
        )
