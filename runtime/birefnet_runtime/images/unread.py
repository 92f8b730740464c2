"""Files that are not read, by what is in them, so that an error can name the kind.

Raw files of cameras are among them: what Pillow would open of one is its preview.
"""

import struct
from typing import Any, BinaryIO

from birefnet_models.base.files import HEAD_BYTES, stand_in
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
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_PHOTOMETRICS = {
    0: "gray", 1: "gray", 2: "RGB", 3: "palette colors", 5: "CMYK", 6: "YCbCr", 8: "CIE Lab",
    9: "ICC Lab", 10: "ITU Lab", 32844: "CIE Log L", 32845: "CIE Log Luv",
}  # fmt: skip
_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34676: "SGI Log", 34712: "JPEG 2000",
    34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_COMMON_COMPRESSIONS = frozenset({None, 1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
"""What every build of libtiff decodes: a failure is damage."""
_PSD_MODES = {
    0: "bitmap", 1: "gray", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone",
    9: "Lab",
}  # fmt: skip
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_MOST_SEGMENTS = 1000


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


def unread_kind(stream: BinaryIO) -> str | None:
    """Name the kind of a file that Pillow doesn't read, and what to do; None if it isn't known.

    Args:
        stream: seekable; left anywhere.
    """
    stream.seek(0)
    start = stream.read(HEAD_BYTES)
    if what := stand_in(start):
        return f"it {what}"
    if start.startswith(b"8BPS"):
        return _describe_psd(start)
    if start.startswith(b"\xff\xd8"):
        return _describe_jpeg(stream)
    return _describe_tiff(stream)


def _describe_psd(start: bytes) -> str | None:
    if len(start) < 26:
        return None
    version, channels, bits, mode = (
        int.from_bytes(start[place : place + 2], "big") for place in (4, 12, 22, 24)
    )
    if version == 2:
        return "a PSB, Photoshop's large document, which isn't read; save it as TIFF or PNG"
    kind = _PSD_MODES.get(mode, f"color mode {mode}")
    return (
        f"a PSD of {bits} bits a channel ({kind}, {channels} channels), which isn't read; save it "
        "with 8 bits a channel, or as TIFF or PNG"
    )


def _describe_jpeg(stream: BinaryIO) -> str | None:
    """Read a JPEG's frame header (ITU-T T.81, B.2.2)."""
    stream.seek(2)
    for _ in range(_MOST_SEGMENTS):
        marker = stream.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return None
        head = stream.read(3)
        if len(head) < 3:
            return None
        kind, length, bits = marker[1], int.from_bytes(head[:2], "big"), head[2]
        if kind == 0xF7:
            return "a JPEG-LS, which isn't read; save it as PNG"
        if kind in _FRAMES:
            if kind in _LOSSLESS_FRAMES:
                return "a lossless or hierarchical JPEG, which isn't read; save it as PNG"
            if bits != 8:
                return (
                    f"a JPEG of {bits} bits a sample, which isn't read; save it with 8, or as PNG"
                )
            return None
        stream.seek(length - 3, 1)
    return None


def undecoded_tiff(image: Any) -> str | None:
    """Name the compression of an opened TIFF that can't be decoded, if it may be the reason."""
    number: Any = image.tag_v2.get(_COMPRESSION)
    if number in _COMMON_COMPRESSIONS:
        return None
    return (
        f"a TIFF compressed by {_COMPRESSIONS.get(number, f'method {number}')}, which can't be "
        "decoded here; save it with Deflate or LZW, or as PNG"
    )


def _describe_tiff(stream: BinaryIO) -> str | None:
    """Describe the pixels of a TIFF that isn't read; None if it isn't one with readable tags."""
    stream.seek(0)
    if stream.read(4) == b"MM\0\x2b":
        return "a big-endian BigTIFF, which isn't read; save it as little-endian, or as PNG"
    for tags in tiff_directories(stream)[:1]:
        if _BITS not in tags:
            break
        bits: Any = tags[_BITS]
        photometric: Any = tags.get(_PHOTOMETRIC)
        kind = _PHOTOMETRICS.get(photometric, f"photometric {photometric}")
        alpha = " with alpha" if tags.get(_EXTRA_SAMPLES) else ""
        format_ = {2: "signed ", 3: "floating-point "}.get(_first_of(tags.get(_SAMPLE_FORMAT)), "")
        number: Any = tags.get(_COMPRESSION)
        how = (
            ""
            if number == 1
            else f", compressed by {_COMPRESSIONS.get(number, f'method {number}')}"
        )
        return (
            f"a TIFF of {kind}{alpha}, {len(bits)} channels of {bits[0]} {format_}bits{how}, which "
            f"isn't read; save it as RGB of 8 or 16 bits a channel, or as PNG"
        )
    return None


def _first_of(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _as_int(value: Any) -> int:
    return value if isinstance(value, int) else 0
