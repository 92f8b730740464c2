"""Photoshop files: which of their channels are colors and which is transparency.

Pillow takes a fourth channel for transparency, which may be a saved selection, and reads past the
channels of pictures that have more. Source: Adobe Photoshop File Formats Specification (2019).
"""

import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from PIL import ImageFile

from .metadata import XMP
from .picture import Picture, row_strips

ON_WHITE = "birefnet_on_white"
"""Set in an opened image's `info` if its colors were blended with white by its transparency."""
_COLORS = {"RGB": "RGB", "RGBA": "RGB", "L": "L", "P": "P", "LAB": "LAB", "CMYK": "CMYK", "1": "1"}
_RAW, _PACKBITS, _XMP_RESOURCE = 0, 1, 1060


def prepare_psd(image: Any, file: BinaryIO) -> None:
    """Lay out which channels Pillow decodes, and as what.

    The first channel behind the colors is transparency if the number of layers is negative; then
    the colors are blended with white. Else it is a saved selection, which is left out.

    Args:
        image: opened by Pillow, not decoded.
        file: the same, seekable.
    """
    colors = _COLORS.get(image.mode)
    if colors is None or colors == "1":
        return
    for number, _, content in image.resources:
        if number == _XMP_RESOURCE:
            image.info[XMP] = content
    file.seek(12)
    (stored,) = struct.unpack(">H", file.read(2))
    place = 26
    for _ in range(2):  # color table and resources
        place += 4 + _length_at(file, place)
    layers_length = _length_at(file, place)
    transparent = _layer_count(file, place + 4, layers_length) < 0 and stored > len(colors)
    numbers: tuple[int, ...]
    if transparent and colors == "L":
        bands, numbers = "RGBA", (0, 0, 0, 1)
    elif transparent and colors == "RGB":
        bands, numbers = "RGBA", (0, 1, 2, 3)
    else:
        bands, numbers = colors, tuple(range(len(colors)))
    offsets, codec = _channel_offsets(file, place + 4 + layers_length, stored, image.size)
    box = (0, 0, *image.size)
    inverted = ";I" if bands == "CMYK" else ""
    image.tile = [
        ImageFile._Tile(codec, box, offsets[number], band + inverted)
        for band, number in zip(bands, numbers, strict=True)
    ]
    image._mode = bands
    image.info[ON_WHITE] = bands == "RGBA"


def _length_at(file: BinaryIO, place: int) -> int:
    file.seek(place)
    (length,) = struct.unpack(">I", file.read(4))
    return int(length)


def _layer_count(file: BinaryIO, place: int, length: int) -> int:
    """The number of layers, negative if the first channel behind the colors is transparency."""
    if length < 6 or _length_at(file, place) < 2:
        return 0
    (count,) = struct.unpack(">h", file.read(2))
    return int(count)


def _channel_offsets(
    file: BinaryIO, place: int, channels: int, size: tuple[int, int]
) -> tuple[list[int], str]:
    """Where each channel of the merged picture begins, and the name of Pillow's decoder."""
    width, height = size
    file.seek(place)
    (compression,) = struct.unpack(">H", file.read(2))
    if compression == _RAW:
        return [place + 2 + number * width * height for number in range(channels)], "raw"
    if compression != _PACKBITS:
        raise OSError(f"compression {compression} of PSD is not supported")
    rows = channels * height
    lengths = np.frombuffer(file.read(2 * rows), ">u2")
    if len(lengths) < rows:
        raise OSError("the table of rows is cut off")
    of_channels = lengths.reshape(channels, height).sum(axis=1, dtype=np.int64)
    starts = place + 2 + 2 * rows + np.cumsum([0, *of_channels[:-1]])
    return [int(start) for start in starts], "packbits"


def without_white(picture: Picture) -> Picture:
    """Take the white out that a picture's colors were blended with by its opacity."""
    if picture.opacity is None:
        return picture
    pixels = np.empty_like(picture.pixels)
    for rows in row_strips(pixels.shape):
        share = np.maximum(picture.opacity[rows], 1)[..., None] / np.float32(255)
        colors = 255 - (255 - picture.pixels[rows].astype(np.float32)) / share
        pixels[rows] = np.rint(colors).clip(0, 255)
    return replace(picture, pixels=pixels)
