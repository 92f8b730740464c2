"""How much memory a picture takes on its way from file to result, beside the model's.

Counted in bytes for each pixel that live at once: of the picture as it is read, as the network's
input is made of it, and as its result is composed and written. The counts are made to lie above
what was measured, which `benchmarks/results/memory_limits.json` has.
"""

from birefnet_models.text import format_bytes
from PIL import Image

from ..errors import ImageError
from ..images.read import decoded_bytes, picture_bytes
from ..images.write import Encoding, FormatName
from .background import Color
from .compose import Style

WRITER: dict[FormatName, float] = {"png": 2, "tiff": 3, "jpeg": 2, "webp": 31, "avif": 40}
"""For each pixel, of what is held to be written: copies and the encoder's own planes."""
PYMATTING = 150
LAYING_OUT = 32
"""For each pixel, of weighted colors in float32, before and after the subject is scaled."""
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
    depth = style.depth or (8 if style.mask else 8 * width)
    network_input = picture + (4 if opaque else 14) + (3 if width > 1 else 0)
    result = picture + 4 + (0 if opaque else 8) + WRITER[encoding.format.name]
    if width > 1 and not encoding.format.deep:
        result += 4  # in 8 bits
    if style.mask:
        result += depth / 8 if depth == 8 else 10
    else:
        result += 4 * width + (4 * depth / 8 if depth / 8 != width else 0)
        result += PYMATTING if style.foreground == "pymatting" else 0
        result += 8 if style.shadow == "drop" else 0
        if style.layout is not None:
            canvas = style.layout.most_pixels((image.height, image.width)) / pixels
            scaling = LAYING_OUT if style.layout.scale is not None else 0
            result += (
                canvas * (2 * picture + 4 * width + 8 + WRITER[encoding.format.name]) + scaling
            )
        if style.background is not None:
            result += 3 * (width + depth / 8) + (0 if isinstance(style.background, Color) else 3)
    decoding = min(decoded_bytes(image), MOST_DECODING * pixels)
    return max(decoding, pixels * max(network_input, result))


def check_fits(name: str, image: Image.Image, needed: float, left: float) -> None:
    """Check that a picture alone stays below what a limit leaves beside the model.

    Raises:
        ImageError: it doesn't; says how much it takes and how much is left.
    """
    if needed + SLACK_BYTES > left:
        raise ImageError(
            f"{name}: {image.width} x {image.height} pixels take up to "
            f"{format_bytes(needed + SLACK_BYTES)}, "
            f"and beside the model the memory limit leaves {format_bytes(max(0, left))}; a larger "
            "limit or a smaller size of the network leaves more"
        )
