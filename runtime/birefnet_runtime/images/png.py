"""PNG files without the chunks that Pillow refuses a whole picture for."""

import io
import struct
import zlib
from typing import BinaryIO

from PIL.PngImagePlugin import MAX_TEXT_CHUNK

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
