"""16-bit color, which Pillow would cut to 8 bits.

Its decoders give one byte of each sample, by the name of the packing the upper or the lower; so a
file is decoded twice. That costs twice OpenCV's time (benchmarks/results/image_readers.json), and
what is said of a file, how it is turned and what is printed is the same as for 8 bits.
"""

import io
import struct
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffTags

from .metadata import turn_upright
from .picture import image_strips, row_strips

_BITS_PER_SAMPLE, _PLANAR, _EXTRA = 258, 284, 338
_SEPARATE, _PREMULTIPLIED = 2, 1
_PHOTOMETRIC, _SAMPLES = 262, 277
_OF_ALL_PLANES = (256, 257, 259, 266, 274, 278, 317, 322, 323)
"""Tags of a picture in planes that are each plane's, too: sides, compression, order, orientation,
rows a strip, predictor, sides of tiles."""
_OF_EACH_PLANE = (273, 279, 324, 325)
"""Tags whose values follow each other plane by plane: places and lengths of strips and tiles."""
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
            if image.mode not in {"RGB", "RGBA"}:
                return None
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
        for rows, strip in image_strips(image):
            samples = np.asarray(strip).view(">u2")  # (rows, W, 2)
            pixels[rows], opacity[rows] = samples[..., :1], samples[..., 1]
        return pixels, opacity
    if _is_planar(image) and image.tile[0].codec_name != "raw":
        pixels, alpha = _read_planes(image, len(color))
        if color == "RGBa" and alpha is not None:
            _divide(pixels, alpha)
        return pixels, alpha
    packing = packing.replace("a", "A")  # of premultiplied ones Pillow would divide, in 8 bits
    key = image.info.get("transparency") if color == "RGB" else None
    with Image.open(image.fp, formats=[image.format]) as again:
        again.seek(image.tell())
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


def _is_planar(image: Any) -> bool:
    tags: Any = getattr(image, "tag_v2", {})
    return bool(tags.get(_PLANAR) == _SEPARATE)


def _read_planes(image: Any, channels: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Decode a TIFF whose planes are compressed: of these libtiff gives Pillow the upper bytes.

    So each plane is decoded as a gray picture of its own, which Pillow reads whole: the same file
    with another directory, behind the old content.
    """
    image.fp.seek(0)
    content = image.fp.read()
    pixels: NDArray[np.uint16] = np.empty((0, 0, 3), np.uint16)
    opacity: NDArray[np.uint16] | None = None
    for channel in range(channels):
        stream = io.BytesIO(_with_gray_directory(content, image.tag_v2, channel))
        with Image.open(stream, formats=["TIFF"]) as plane:
            plane.load()
            turn_upright(plane)
            if channel == 0:
                pixels = np.empty((plane.height, plane.width, 3), np.uint16)
            if channel == 3:
                opacity = np.empty(pixels.shape[:2], np.uint16)
            target = pixels[..., channel] if opacity is None else opacity
            for rows, strip in image_strips(plane):
                target[rows] = np.asarray(strip)
    return pixels, opacity


def _with_gray_directory(content: bytes, tags: Any, channel: int) -> bytes:
    """A TIFF's content with a directory behind it that has one plane as its picture."""
    entries: dict[int, tuple[int, ...]] = {
        tag: (int(tags[tag]),) for tag in _OF_ALL_PLANES if tag in tags
    }
    entries |= {_BITS_PER_SAMPLE: (16,), _PHOTOMETRIC: (1,), _SAMPLES: (1,)}
    for tag in _OF_EACH_PLANE:
        if tag in tags:
            count = len(tags[tag]) // tags[_SAMPLES]
            entries[tag] = tags[tag][channel * count : (channel + 1) * count]
    order = "<" if content[:2] == b"II" else ">"
    place = len(content) + len(content) % 2
    behind = place + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        stored = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(stored) > 4:
            stored, values = struct.pack(order + "I", behind + len(values)), values + stored
        directory += struct.pack(order + "HHI", tag, TiffTags.LONG, len(numbers)) + stored
    head = content[:2] + struct.pack(order + "HI", 42, place)
    return head + content[8:].ljust(place - 8, b"\0") + directory + bytes(4) + values


def _add(
    image: Image.Image,
    shift: int,
    pixels: NDArray[np.uint16],
    opacity: NDArray[np.uint16] | None,
) -> None:
    """Put the bytes of a decoded image into those samples, shifted to their place."""
    for rows, strip in image_strips(image):
        samples = np.asarray(strip, dtype=np.uint16) << shift
        pixels[rows] |= samples[..., :3]
        if opacity is not None:
            opacity[rows] |= samples[..., 3]


def _divide(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> None:
    """Divide premultiplied colors by alpha, in place, some rows at a time."""
    for strip in row_strips(opacity.shape):
        share = np.maximum(opacity[strip], 1)[..., None] / np.float32(65535)
        pixels[strip] = np.rint(np.minimum(pixels[strip] / share, 65535))
