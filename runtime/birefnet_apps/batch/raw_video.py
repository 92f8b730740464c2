"""Video through standard input and output: bare frames, or a file's content."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from birefnet_models.text import format_size
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.model.facts import as_side

from .footage import Footage

STANDARD_INPUT = "standard input"


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
            f"{text[:40]!r} is no format of frames; give WxH@FPS, width first, as 1280x720@25 or "
            "1920x1080@30000/1001"
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
            sound=False,
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
def spooled(stream: IO[bytes]) -> Iterator[Path]:
    """Copy a file's content to one that exists for the block.

    Much of what cameras write has its index at its end, so that it can't be read from a pipe; and
    the sound is read apart from the picture.

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
            raise OutputError(f"{STANDARD_INPUT}: can't be copied to {path}: {reason}") from error
        if not path.stat().st_size:
            raise ImageError(f"{STANDARD_INPUT}: there is no video in it")
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
