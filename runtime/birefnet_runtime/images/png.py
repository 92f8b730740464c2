"""PNG files without the chunks that Pillow refuses a whole picture for."""

import io
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import MAX_TEXT_CHUNK

from .picture import Pixels

_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PLAIN_XMP = b"XML:com.adobe.xmp\0\0"
MOST_PROFILE_BYTES = 16 << 20


def without_texts(stream: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Leave the texts of a PNG out, and a large ICC profile; Pillow refuses files with large ones.

    XMP that isn't compressed stays: it may hold the orientation.

    Args:
        stream: of a PNG, seekable.

    Returns:
        the stream itself where there is nothing to leave out, else one of what remains; the
        profile that was taken out, None if none was or if it is beyond `MOST_PROFILE_BYTES`.
    """
    pieces, profile, kept_from, place = [], None, 0, 8
    stream.seek(place)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        end = place + 12 + length
        large = None
        if kind == b"iCCP":
            large = _large_profile(stream.read(min(length, MOST_PROFILE_BYTES)))
        texts = kind in _TEXTS and stream.read(len(_PLAIN_XMP)) != _PLAIN_XMP
        if texts or large is not None:
            pieces.append((kept_from, place))
            kept_from, profile = end, large or profile
        if kind == b"IEND":
            break
        place = end
        stream.seek(place)
    if not pieces:
        stream.seek(0)
        return stream, None
    rest = io.BytesIO()
    for start, end in pieces:
        stream.seek(start)
        rest.write(stream.read(end - start))
    stream.seek(kept_from)
    rest.write(stream.read())
    rest.seek(0)
    return rest, profile


def _large_profile(content: bytes) -> bytes | None:
    """The profile of an iCCP chunk if Pillow would refuse it; empty if it is larger still."""
    compressed = content.partition(b"\0")[2][1:]
    try:
        profile = zlib.decompressobj().decompress(compressed, MOST_PROFILE_BYTES + 1)
    except zlib.error:
        return None  # damaged: Pillow goes without
    if len(profile) <= MAX_TEXT_CHUNK:
        return None
    return profile if len(profile) <= MOST_PROFILE_BYTES else b""


STRIP_BYTES = 1 << 20
ENCODERS = 2
"""Threads that compress a PNG. The picture before it or behind it has the other cores."""
_WINDOW = 1 << 15
"""How far back deflate looks (RFC 1951)."""
_PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""By channels: gray, gray with alpha, RGB, RGBA."""
_PNG_FILTER_UP = 2
_INCH = 0.0254
"""In meters."""


def write_png(
    stream: BinaryIO,
    pixels: Pixels,
    profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write a PNG in strips: no second copy of the picture is in memory.

    Every row is filtered as the difference to the row above and deflated by zlib at its lowest
    level, strips side by side.

    Args:
        stream: where to.
        pixels: uint8 or uint16 (H, W) gray or (H, W, 3 or 4) RGB or RGBA.
        profile: an ICC profile to go with it.
        exif: a TIFF structure to go with it.
        dpi: pixels an inch, across and down.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = 8 * pixels.dtype.itemsize
    stream.write(b"\x89PNG\r\n\x1a\n")
    header = (width, height, bits, _PNG_COLOR_TYPES[channels], 0, 0, 0)
    _write_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", *header))
    if profile is not None:
        _write_chunk(stream, b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if dpi is not None:
        across, down = (round(each / _INCH) for each in dpi)
        _write_chunk(stream, b"pHYs", struct.pack(">IIB", across, down, 1))  # pixels a meter
    if exif is not None:
        _write_chunk(stream, b"eXIf", exif)
    for piece in _deflated(_filtered(pixels)):
        _write_chunk(stream, b"IDAT", piece)
    _write_chunk(stream, b"IEND", b"")


def _deflated(strips: Iterator[NDArray[np.uint8]]) -> Iterator[bytes]:
    """The pieces of one zlib stream (RFC 1950), compressed by `ENCODERS` threads.

    Each strip begins with the end of the one before as its dictionary and ends on a byte, so the
    file is as large as in one go, and the same whatever the threads do.
    """

    def compressed(strip: NDArray[np.uint8], before: NDArray[np.uint8]) -> bytes:
        deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, memLevel=9, zdict=before.data)
        return deflate.compress(strip.data) + deflate.flush(zlib.Z_SYNC_FLUSH)

    yield b"\x78\x01"
    check, before = 1, np.empty(0, np.uint8)
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(ENCODERS) as pool:
        for rows in strips:
            strip = rows.ravel()
            check = zlib.adler32(strip.data, check)
            waiting.append(pool.submit(compressed, strip, before))
            before = strip[-_WINDOW:]
            if len(waiting) > ENCODERS:
                yield waiting.popleft().result()
        for piece in waiting:
            yield piece.result()
    yield b"\x03\x00" + struct.pack(">I", check)  # an empty last block, then the checksum


def _filtered(pixels: Pixels) -> Iterator[NDArray[np.uint8]]:
    """Strips of rows, uint8 (rows, 1 + bytes a row): each row's filter, then its differences."""
    height = pixels.shape[0]
    stride = pixels[:1].nbytes
    step = max(1, STRIP_BYTES // stride)
    above: NDArray[np.uint8] = np.zeros((1, stride), np.uint8)
    for top in range(0, height, step):
        strip = pixels[top : top + step]
        big_endian = np.ascontiguousarray(strip, dtype=strip.dtype.newbyteorder(">"))
        rows = big_endian.view(np.uint8).reshape(len(strip), stride)
        filtered = np.empty((len(strip), 1 + stride), np.uint8)
        filtered[:, 0] = _PNG_FILTER_UP
        np.subtract(rows[:1], above, out=filtered[:1, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        above = rows[-1:]
        yield filtered


def _write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind)
    stream.write(content)
    stream.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
