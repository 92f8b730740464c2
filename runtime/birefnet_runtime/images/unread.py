"""Raw files of cameras, told by their content: what Pillow would open is their preview."""

import struct
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_SIGNATURES = (
    (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (0, b"IIU\0", "Panasonic RW2"),
    (0, b"IIRO", "Olympus ORF"),
    (0, b"IIRS", "Olympus ORF"),
    (0, b"MMOR", "Olympus ORF"),
    (0, b"FOVb", "Sigma X3F"),
    (0, b"\0MRM", "Minolta MRW"),
    (4, b"ftypcrx ", "Canon CR3"),
    (6, b"HEAPCCDR", "Canon CRW"),
    (8, b"CR\2\0", "Canon CR2"),
    (8, b"IIII", "Phase One IIQ"),
    (8, b"MMMM", "Phase One IIQ"),
)
_NEW_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SUB_IFDS = 254, 258, 259, 262, 330
_DNG_VERSION = 50706
_SENSOR_PHOTOMETRICS = frozenset({32803, 34892})
"""Color filter array and LinearRaw (DNG 1.7.1, PhotometricInterpretation)."""
_MOST_SUB_IFDS = 8


def raw_kind(stream: BinaryIO) -> str | None:
    """Tell a raw file by its first bytes or, of a TIFF, by its first directories.

    Args:
        stream: seekable; left anywhere.

    Returns:
        its kind, such as `Canon CR2`; None for every other file.
    """
    stream.seek(0)
    start = stream.read(32)
    for place, signature, kind in _SIGNATURES:
        if start[place : place + len(signature)] == signature:
            return kind
    if start[:2] not in {b"II", b"MM"}:
        return None
    first, *others = tiff_directories(stream) or [{}]
    if _DNG_VERSION in first:
        return "DNG"
    sensor = any(tags.get(_PHOTOMETRIC) in _SENSOR_PHOTOMETRICS for tags in (first, *others))
    preview = _SUB_IFDS in first and _as_int(first.get(_NEW_SUBFILE_TYPE)) & 1
    return "a TIFF with a preview and the sensor's values" if sensor or preview else None


def tiff_directories(stream: BinaryIO) -> list[dict[int, Any]]:
    """Tags of a TIFF's first directory and of its sub-directories; none of any other file."""
    stream.seek(0)
    header = stream.read(16)
    big = header[:4] in {b"II\x2b\0", b"MM\0\x2b"}
    if not big and header[:4] not in {b"II\x2a\0", b"MM\0\x2a"}:
        return []
    directories: list[dict[int, Any]] = []
    places: list[Any] = [None]
    try:
        for place in places:
            directory = ImageFileDirectory_v2(header if big else header[:8])
            stream.seek(directory.next if place is None else place)
            directory.load(stream)
            directories.append(dict(directory))
            if place is None:
                places += directory.get(_SUB_IFDS, ())[:_MOST_SUB_IFDS]
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error):
        pass  # what could be read of a damaged one; decoding says the rest
    return directories


def describe_tiff(stream: BinaryIO) -> str | None:
    """Describe the pixels of a TIFF that isn't read; None if it is no TIFF with readable tags."""
    for tags in tiff_directories(stream)[:1]:
        if _BITS not in tags:
            break
        bits = tags[_BITS]
        return (
            f"a TIFF of {len(bits)} x {bits[0]} bits, photometric {tags.get(_PHOTOMETRIC)}, "
            f"compression {tags.get(_COMPRESSION)}, which isn't read; save it as 8 or 16 bits a "
            "channel, uncompressed, or as PNG"
        )
    return None


def _as_int(value: Any) -> int:
    return value if isinstance(value, int) else 0
