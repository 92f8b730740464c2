"""Raw frames and their times through a pipe: the little of Matroska that this takes.

Elements have an ID, a size and a content (RFC 8794); IDs and track type are those of RFC 9559.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import IO

import numpy as np
from numpy.typing import NDArray


class _Id(IntEnum):
    EBML = 0x1A45DFA3
    DOC_TYPE = 0x4282
    SEGMENT = 0x18538067
    INFO = 0x1549A966
    TIMESTAMP_SCALE = 0x2AD7B1
    TRACKS = 0x1654AE6B
    TRACK_ENTRY = 0xAE
    TRACK_NUMBER = 0xD7
    TRACK_UID = 0x73C5
    TRACK_TYPE = 0x83
    CODEC_ID = 0x86
    VIDEO = 0xE0
    PIXEL_WIDTH = 0xB0
    PIXEL_HEIGHT = 0xBA
    COLOR_SPACE = 0x2EB524
    CLUSTER = 0x1F43B675
    TIMESTAMP = 0xE7
    SIMPLE_BLOCK = 0xA3
    BLOCK_GROUP = 0xA0
    BLOCK = 0xA1


_DESCENDED = frozenset({_Id.SEGMENT, _Id.CLUSTER, _Id.BLOCK_GROUP})
"""Elements whose content is read element by element; others are taken or left as a whole."""
_NANOSECONDS = 1_000_000
"""The time unit of both directions, and ffmpeg's own: a millisecond."""
_KEYFRAME = 0x80


def read_frames(
    stream: IO[bytes], size: tuple[int, int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Read frames that ffmpeg wrote as Matroska, until the pipe ends.

    Args:
        stream: of one track, `-c:v rawvideo -pix_fmt rgba`.
        size: (height, width) of the frames.

    Yields:
        Time in milliseconds, and uint8 (H, W, 4) RGBA, 0–255.
    """
    height, width = size
    cluster = 0
    while (element := _number(stream, marked=True)) is not None:
        length = _number(stream, marked=False)
        if length is None or element in _DESCENDED:
            continue
        content = stream.read(length)
        if element == _Id.TIMESTAMP:
            cluster = int.from_bytes(content, "big")
        elif element in {_Id.SIMPLE_BLOCK, _Id.BLOCK} and len(content) == length:
            # A track's number in one byte, the time since the cluster's, flags.
            (offset,) = struct.unpack_from(">h", content, 1)
            pixels = np.frombuffer(content, np.uint8, offset=4)
            if pixels.size == height * width * 4:
                yield cluster + offset, pixels.reshape(height, width, 4)


def header(size: tuple[int, int], *, gray: bool = False) -> bytes:
    """The beginning of a stream of RGBA frames of (height, width), or of gray ones."""
    height, width = size
    video = _element(_Id.PIXEL_WIDTH, width) + _element(_Id.PIXEL_HEIGHT, height)
    video += _element(_Id.COLOR_SPACE, b"Y800" if gray else b"RGBA")
    track = _element(_Id.TRACK_NUMBER, 1) + _element(_Id.TRACK_UID, 1) + _element(_Id.TRACK_TYPE, 1)
    track += _element(_Id.CODEC_ID, b"V_UNCOMPRESSED") + _element(_Id.VIDEO, video)
    return (
        _element(_Id.EBML, _element(_Id.DOC_TYPE, b"matroska"))
        + _id(_Id.SEGMENT) + b"\xff"  # of unknown length
        + _element(_Id.INFO, _element(_Id.TIMESTAMP_SCALE, _NANOSECONDS))
        + _element(_Id.TRACKS, _element(_Id.TRACK_ENTRY, track))
    )  # fmt: skip


def frame_header(time_ms: int, length: int) -> bytes:
    """All of a frame's cluster but its `length` bytes of pixels, which follow."""
    time = _element(_Id.TIMESTAMP, time_ms)
    block = struct.pack(">BhB", 0x80 | 1, 0, _KEYFRAME)
    simple = _id(_Id.SIMPLE_BLOCK) + _length(len(block) + length) + block
    return _id(_Id.CLUSTER) + _length(len(time) + len(simple) + length) + time + simple


def _number(stream: IO[bytes], *, marked: bool) -> int | None:
    """An ID, with the mark of its length, or a size; None at the end, or if it is unknown."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(count), "big")
    if marked:
        return value
    value &= (1 << 7 * (count + 1)) - 1
    return None if value == (1 << 7 * (count + 1)) - 1 else value


def _element(element: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        content = content.to_bytes(8, "big")
    return _id(element) + _length(len(content)) + content


def _id(element: int) -> bytes:
    return element.to_bytes((element.bit_length() + 7) // 8, "big")


def _length(length: int) -> bytes:
    return (1 << 56 | length).to_bytes(8, "big")
