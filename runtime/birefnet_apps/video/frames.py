"""Raw frames and their times through a pipe: the little of Matroska that this takes.

Elements have an ID, a size and a content (RFC 8794); IDs and track type are those of RFC 9559.
"""

import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from birefnet_models.base.text import format_size
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.model.validate import as_side
from numpy.typing import NDArray

from .ffmpeg import Footage


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


STANDARD_INPUT = "standard input"
_OF_THE_PROCESS = (("/", "dev"), ("/", "proc"))
"""Folders whose files mean something else to each process."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What bare frames don't say of themselves.

    Attributes:
        size: (height, width) in pixels.
        rate: frames a second.
    """

    size: tuple[int, int]
    rate: Fraction


def parse_raw(text: str) -> RawFormat:
    """Read `WxH@FPS`, width first, as ffmpeg's `-video_size` has it.

    Raises:
        ImageError: it is something else.
    """
    sides, _, rate_text = text.partition("@")
    width, _, height = sides.partition("x")
    try:
        rate = Fraction(rate_text)
        if not (width.isdecimal() and height.isdecimal() and rate > 0):
            raise ValueError("a part is missing")
        return RawFormat((as_side(int(height)), as_side(int(width))), rate)
    except (ValueError, ZeroDivisionError) as error:
        raise ImageError(
            f"{text[:40]!r} is not a format of frames; give WxH@FPS, width first, as 1280x720@25 "
            "or 1920x1080@30000/1001"
        ) from error


@dataclass(frozen=True, slots=True)
class RawFrames:
    """Frames of 8-bit RGB, one after another, until the stream ends: ffmpeg's `rgb24`.

    Attributes:
        stream: where they come from.
        format: theirs.
    """

    stream: IO[bytes]
    format: RawFormat

    def __str__(self) -> str:
        return STANDARD_INPUT

    @property
    def footage(self) -> Footage:
        """The same facts that a file has."""
        return Footage(
            stream=0,
            size=self.format.size,
            pixel_aspect=Fraction(1),
            rate=self.format.rate,
            even=True,
            frames=None,
            duration_s=None,
            sounds=(),
            matrix="bt709",
            transfer=None,
            wide=False,
            alpha=False,
            decoder=None,
        )

    def pictures(self, times: list[int]) -> Iterator[Picture]:
        """The frames; their times, in milliseconds, are added to `times`.

        Raises:
            ImageError: the last one isn't whole.
        """
        height, width = self.format.size
        length = height * width * 3
        while content := self.stream.read(length):
            if len(content) < length:
                raise ImageError(
                    f"{self}: ends within frame {len(times) + 1}, after {len(content):,} of the "
                    f"{length:,} bytes that {format_size((width, height))} pixels of rgb24 take"
                )
            times.append(round(1000 * len(times) / self.format.rate))
            yield Picture(np.frombuffer(content, np.uint8).reshape(height, width, 3))


@contextmanager
def as_file(source: Path, name: str) -> Iterator[Path]:
    """A regular file with the content of a path, for the block: the path itself if it is one.

    Pipes, `<(...)` and /dev/stdin are copied: ffmpeg doesn't inherit them, and opens a file thrice.

    Raises:
        ImageError, OutputError: as `spooled`; or the path can't be opened.
    """
    if not source.exists() or (source.is_file() and source.parts[:2] not in _OF_THE_PROCESS):
        yield source
        return
    if source.is_dir():
        raise ImageError(f"{name}: a folder, not a video")
    try:
        stream = source.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{name}: can't be opened: {reason}") from error
    with stream, spooled(stream, name) as path:
        yield path


@contextmanager
def spooled(stream: IO[bytes], name: str = STANDARD_INPUT) -> Iterator[Path]:
    """Copy a file's content to one that exists for the block.

    Much of what cameras write has its index at its end, so that it can't be read from a pipe; and
    the sound is read apart from the picture.

    Args:
        stream: where the content comes from.
        name: what messages call it.

    Raises:
        ImageError: there is nothing in it.
        OutputError: there is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="birefnet-") as folder:
        path = Path(folder, "video")
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(f"{name}: can't be copied to {path}: {reason}") from error
        if not path.stat().st_size:
            raise ImageError(f"{name}: there is no video in it")
        yield path


def raw_writer(stream: IO[bytes]) -> Callable[[int, memoryview], None]:
    """A function that writes frames without their times, each as soon as it is there.

    It raises:
        BrokenPipeError: the stream's reader has left.
        OutputError: the stream can't be written.
    """

    def write(_: int, frame: memoryview) -> None:
        try:
            stream.write(frame)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(f"standard output: can't be written: {reason}") from error

    return write
