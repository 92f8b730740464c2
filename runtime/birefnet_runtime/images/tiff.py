"""TIFF files: 8 or 16 bits, with an ICC profile, and honest about premultiplied alpha.

Pillow writes neither 16-bit color nor the tag that says how alpha is meant (TIFF 6.0, section 18).
Deflate with horizontal differences (Adobe's supplement 2 and section 14).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..errors import OutputError
from .picture import Pixels

STRIP_BYTES = 1 << 20
_SHORT, _LONG, _UNDEFINED = 3, 4, 7
_DEFLATE = 8
_DIFFERENCES = 2
_GRAY, _RGB = 1, 2
_PREMULTIPLIED, _STRAIGHT = 1, 2
_LARGEST = 2**32 - 1


def write_tiff(
    stream: BinaryIO,
    pixels: Pixels,
    profile: bytes | None = None,
    *,
    premultiplied: bool = False,
) -> None:
    """Write a TIFF; the stream need not be seekable.

    Args:
        stream: where to.
        pixels: uint8 or uint16 (H, W) gray or (H, W, 3 or 4) RGB or RGBA.
        profile: an ICC profile to go with it.
        premultiplied: whether the colors have been multiplied by alpha.

    Raises:
        OutputError: more than the 4 GB that the format can hold.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = max(1, STRIP_BYTES // pixels[:1].nbytes)
    strips = list(_strips(pixels.reshape(height, width, channels), rows))
    starts, place = [], 8
    for strip in strips:
        starts.append(place)
        place += len(strip) + len(strip) % 2
    fields: list[tuple[int, int, list[int] | bytes]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [8 * pixels.dtype.itemsize] * channels),
        (259, _SHORT, [_DEFLATE]),
        (262, _SHORT, [_GRAY if channels == 1 else _RGB]),
        (273, _LONG, starts),
        (277, _SHORT, [channels]),
        (278, _LONG, [rows]),
        (279, _LONG, [len(strip) for strip in strips]),
        (284, _SHORT, [1]),
        (317, _SHORT, [_DIFFERENCES]),
    ]
    if channels == 4:
        fields.append((338, _SHORT, [_PREMULTIPLIED if premultiplied else _STRAIGHT]))
    if profile is not None:
        fields.append((34675, _UNDEFINED, profile))
    directory = _directory(fields, place)
    if place + len(directory) > _LARGEST:
        raise OutputError("a TIFF holds no more than 4 GB; write a PNG")
    stream.write(struct.pack("<2sHI", b"II", 42, place))
    for strip in strips:
        stream.write(strip + b"\0" * (len(strip) % 2))
    stream.write(directory)


def _strips(pixels: Pixels, rows: int) -> Iterator[bytes]:
    for top in range(0, pixels.shape[0], rows):
        strip = pixels[top : top + rows]
        differences = strip.astype(strip.dtype.newbyteorder("<"))
        np.subtract(strip[:, 1:], strip[:, :-1], out=differences[:, 1:])
        yield zlib.compress(differences.data, 1)


def _directory(fields: list[tuple[int, int, list[int] | bytes]], place: int) -> bytes:
    """The image file directory that begins at `place`, and after it what its entries point to."""
    entries, beyond = [], b""
    after = place + 2 + 12 * len(fields) + 4
    for tag, kind, values in fields:
        if isinstance(values, bytes):
            content = values
        else:
            content = struct.pack(f"<{len(values)}{'H' if kind == _SHORT else 'I'}", *values)
        count = len(values)
        if len(content) > 4:
            pointer = struct.pack("<I", after + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
            content = pointer
        entries.append(struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0"))
    return struct.pack("<H", len(fields)) + b"".join(entries) + b"\0\0\0\0" + beyond
