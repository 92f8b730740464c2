"""16-bit color, which Pillow would cut to 8 bits.

Its decoders give one byte of each sample, by the name of the packing the upper or the lower; so a
file is decoded twice. That costs twice OpenCV's time (benchmarks/results/image_readers.json), and
what is said of a file, how it is turned and what is printed is the same as for 8 bits.
"""

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .metadata import turn_upright
from .picture import row_strips, strips

_BITS_PER_SAMPLE, _PLANAR, _EXTRA = 258, 284, 338
_SEPARATE, _PREMULTIPLIED = 2, 1
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Of a packing's byte order: that which gives the lower byte. `N` is the machine's own."""


def sixteen_bit_packing(image: Image.Image) -> str | None:
    """Name of the packing, such as `RGB;16B`, of an opened file with 16-bit color, not yet decoded.

    None for all others; for 16-bit gray, too, which Pillow reads whole.
    """
    tags: Any = getattr(image, "tag_v2", {})
    for tile in getattr(image, "tile", ())[:1]:
        packing = str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])
        if tags.get(_PLANAR) == _SEPARATE and set(tags.get(_BITS_PER_SAMPLE, ())) == {16}:
            if tile.codec_name != "raw" or image.mode not in {"RGB", "RGBA"}:
                return None  # libtiff gives the upper bytes, whatever it is asked for
            color = "RGBa" if _PREMULTIPLIED in tags.get(_EXTRA, ()) else image.mode
            return f"{color};16{'L' if tags.prefix == b'II' else 'B'}"
        color, _, depth = packing.partition(";")
        if depth in {"16B", "16L", "16N"} and color in {"LA", "RGB", "RGBX", "RGBA", "RGBa"}:
            return packing
    return None


def read_sixteen_bit_color(
    image: Any, packing: str
) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Decode an opened PIL image that has such a packing, and turn it by its EXIF orientation.

    Returns:
        uint16 (H, W, 3) RGB, and the alpha, not premultiplied: uint16 (H, W), or None.
    """
    color, order = packing[:-4], packing[-1]
    if color == "LA":  # four bytes a pixel: as RGBA of 8 bits they come through whole
        image._mode = "RGBA"
        _decode(image, "RGBA")
        pixels = np.empty((image.height, image.width, 3), np.uint16)
        opacity = np.empty(pixels.shape[:2], np.uint16)
        for rows, strip in strips(image):
            samples = np.asarray(strip).view(">u2")  # (rows, W, 2)
            pixels[rows], opacity[rows] = samples[..., :1], samples[..., 1]
        return pixels, opacity
    packing = packing.replace("a", "A")  # of premultiplied ones Pillow would divide, in 8 bits
    key = image.info.get("transparency") if color == "RGB" else None
    with Image.open(image.fp, formats=[image.format]) as again:
        _decode(again, packing[:-1] + _OTHER_BYTE[order])
        pixels = np.zeros((again.height, again.width, 3), np.uint16)
        alpha = np.zeros(pixels.shape[:2], np.uint16) if again.mode == "RGBA" else None
        _add(again, 0, pixels, alpha)
    del again  # its pixels, before there are others
    _decode(image, packing)
    _add(image, 8, pixels, alpha)
    if color == "RGBa" and alpha is not None:
        _divide(pixels, alpha)
    if key is not None:
        transparent = cv2.inRange(pixels, np.array(key), np.array(key))  # 0 or 255
        alpha = np.where(transparent, 0, 65535).astype(np.uint16)
    return pixels, alpha


def _decode(image: Any, packing: str) -> None:
    """Decode with another packing, and turn upright."""
    tiles = []
    for tile in image.tile:
        args = tile.args
        if isinstance(args, str):
            args = packing
        elif len(args[0]) == 1:  # a plane: R, G, B, and A or a, or another that means nothing
            args = (args[0].upper() + packing[-4:], *args[1:])
        else:
            args = (packing, *args[1:])
        if args[0][0] in "RGBA":
            tiles.append(tile._replace(args=args))
    image.tile = tiles
    image.load()
    turn_upright(image)


def _add(
    image: Image.Image,
    shift: int,
    pixels: NDArray[np.uint16],
    opacity: NDArray[np.uint16] | None,
) -> None:
    """Put the bytes of a decoded image into those samples, shifted to their place."""
    for rows, strip in strips(image):
        samples = np.asarray(strip, dtype=np.uint16) << shift
        pixels[rows] |= samples[..., :3]
        if opacity is not None:
            opacity[rows] |= samples[..., 3]


def _divide(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> None:
    """Divide premultiplied colors by alpha, in place, some rows at a time."""
    for strip in row_strips(opacity.shape):
        share = np.maximum(opacity[strip], 1)[..., None] / np.float32(65535)
        pixels[strip] = np.rint(np.minimum(pixels[strip] / share, 65535))
