"""An image in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""8 or 16 bits a channel; the full range of the type is black to white."""
STRIP_PIXELS = 1 << 18
"""Of the strips that pictures are worked on in: whole, each step would take a copy of them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as its file has it, turned upright.

    Attributes:
        pixels: uint8 or uint16 (H, W, 3) RGB, in the color space of `profile`.
        opacity: the file's own alpha, (H, W) of the same type, not premultiplied; None: opaque.
        profile: the ICC profile of `pixels`; None: sRGB, or unknown.
        exif: what the file says of itself that is true of a cutout, too: a TIFF structure.
        dpi: pixels an inch, across and down.
        xmp: as `exif`, what XMP says of maker and rights: a packet.
    """

    pixels: Pixels
    opacity: Pixels | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None

    def __repr__(self) -> str:
        kind = "RGB" if self.opacity is None else "RGBA"
        profile = "" if self.profile is None else ", with a profile"
        height, width = self.size
        return f"<Picture: {width} x {height} {kind}, {self.pixels.dtype}{profile}>"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width, _ = self.pixels.shape
        return height, width


def full_scale(pixels: Pixels) -> int:
    """Value of white: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def to_eight_bits(pixels: Pixels) -> NDArray[np.uint8]:
    """Scale and round uint16 to uint8; uint8 is returned unchanged."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=1 / 257), dtype=np.uint8)


def to_depth(pixels: Pixels, depth: int) -> Pixels:
    """Scale pixels to 8 or 16 bits a channel; unchanged where they have them already."""
    if depth == 8:
        return to_eight_bits(pixels)
    if pixels.dtype == np.uint16:
        return pixels
    wide: NDArray[np.uint16] = np.multiply(pixels, 257, dtype=np.uint16)
    return wide


def quantize(share: NDArray[np.float32], depth: int) -> Pixels:
    """Scale float32 (H, W) in [0, 1] to integers of 8 or 16 bits, rounded."""
    if depth == 8:
        return np.asarray(cv2.convertScaleAbs(share, alpha=255.0), dtype=np.uint8)
    return np.asarray(np.rint(share * np.float32(65535)), dtype=np.uint16)


def as_share(pixels: Pixels) -> NDArray[np.float32]:
    """Scale uint8 or uint16 of any shape to float32 in [0, 1]."""
    return pixels.astype(np.float32) * np.float32(1 / full_scale(pixels))


def row_strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an array of shape (H, W, ...), at most `STRIP_PIXELS` pixels of them at a time."""
    step = max(1, STRIP_PIXELS // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def image_strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Cut a PIL image into strips of whole rows, each with the rows that it has in the image."""
    for rows in row_strips((image.height, image.width)):
        yield rows, image.crop((0, rows.start, image.width, rows.stop))
