"""The boxes of HEIF and AVIF files, as far as Pillow and its plugin don't tell what is in them.

ISO/IEC 14496-12 has the boxes, ISO/IEC 23008-12 items and their properties.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from .color import CodePoints

_MOST_HEADER_BYTES = 1 << 20
_SEQUENCE_BRANDS = frozenset(
    {b"msf1", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"avis"}
)
"""Of files that hold images in the order of time; others are collections."""


def is_sequence(stream: BinaryIO) -> bool:
    """Whether a HEIF or AVIF file holds images that follow each other in time.

    Args:
        stream: seekable; left where it was.
    """
    place = stream.tell()
    stream.seek(0)
    (length,) = struct.unpack(">I", stream.read(4))
    content = stream.read(min(length, 1024) - 4)
    stream.seek(place)
    brands = {content[4:8], *(content[first : first + 4] for first in range(12, len(content), 4))}
    return not brands.isdisjoint(_SEQUENCE_BRANDS)


def avif_code_points(stream: BinaryIO) -> CodePoints | None:
    """Find the code points of an AVIF's primary image, which Pillow doesn't tell.

    Args:
        stream: seekable; left anywhere.
    """
    stream.seek(0)
    try:
        return _nclx_of(_box(stream.read(_MOST_HEADER_BYTES), b"meta")[4:])
    except (LookupError, struct.error):
        return None


def _nclx_of(meta: bytes) -> CodePoints | None:
    """The `nclx` among the properties of the primary item (ISO/IEC 14496-12 and 23008-12)."""
    pitm = _box(meta, b"pitm")
    (primary,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)
    properties = _box(meta, b"iprp")
    boxes = list(_boxes(_box(properties, b"ipco")))
    ipma = _box(properties, b"ipma")
    wide = ipma[3] & 1  # property numbers of two bytes
    (count,), place = struct.unpack_from(">I", ipma, 4), 8
    for _ in range(count):
        (item,) = struct.unpack_from(">I" if ipma[0] else ">H", ipma, place)
        place += 4 if ipma[0] else 2
        numbers = ipma[place + 1 : place + 1 + ipma[place] * (1 + wide)]
        place += 1 + len(numbers)
        if item == primary:
            for first in range(0, len(numbers), 1 + wide):
                number = int.from_bytes(numbers[first : first + 1 + wide], "big")
                kind, content = boxes[(number & (0x7FFF if wide else 0x7F)) - 1]
                if kind == b"colr" and content[:4] == b"nclx":
                    return CodePoints(*struct.unpack_from(">HH", content, 4))
    return None


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes that lie in `content`, one behind another."""
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", content, place + 8), 16
        end = place + length if length else len(content)
        if length and length < head:
            return
        yield kind, content[place + head : end]
        place = end


def _box(content: bytes, kind: bytes) -> bytes:
    """The content of the first box of a kind.

    Raises:
        LookupError: there is none.
    """
    for name, inside in _boxes(content):
        if name == kind:
            return inside
    raise LookupError(kind)
