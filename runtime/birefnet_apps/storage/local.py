"""Files of this machine, standard streams, and bytes in memory."""

import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from birefnet_models.base.text import format_bytes
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES
from birefnet_runtime.images.write import open_output

from .location import InMemory

_ORIGIN = "user.birefnet.origin"
"""Extended attribute of a result."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a location.

    Attributes:
        origin: the mark that was written with it; empty if there is none.
        version: what changes when it is replaced: an object's ETag; empty where there is none.
    """

    origin: str = ""
    version: str = ""


class File(Protocol):
    """What the folder run needs of a file."""

    def found(self) -> Found | None:
        """What is there; None if nothing is.

        Raises:
            ImageError: an object store doesn't answer, or not to this user.
        """

    def is_folder(self) -> bool:
        """Whether it is a folder rather than a file."""

    def read(self) -> Path | bytes:
        """The file as `images.read.open_image` takes it: its path, or all its bytes.

        Raises:
            ImageError: it can't be read, is empty, or larger than `MOST_PIPE_BYTES`.
        """

    def write(self, content: bytes, origin: str = "") -> None:
        """Make the file, whole or not at all.

        Args:
            content: all of it.
            origin: a mark to be kept with it, where that can be.

        Raises:
            OutputError: it can't be written.
        """


def bounded(name: str, content: bytes, origin: str = "a pipe") -> bytes:
    """The content of a file that was read up to one byte beyond `MOST_PIPE_BYTES`.

    Raises:
        ImageError: there is none, or more than may be.
    """
    if not content:
        raise ImageError(f"{name}: the file is empty")
    if len(content) > MOST_PIPE_BYTES:
        most = format_bytes(MOST_PIPE_BYTES)
        raise ImageError(f"{name}: more than {most} from {origin}; save it as a file")
    return content


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A path of this machine.

    Asked through `os.path`, which answers no where it can't be asked: `Path.is_dir` raises on long
    names and in folders that may not be searched.
    """

    path: Path

    def found(self) -> Found | None:
        if not os.path.exists(self.path):
            return None
        try:
            return Found(os.getxattr(self.path, _ORIGIN).decode("ascii"))
        except (OSError, AttributeError, ValueError):  # none, or not on this system
            return Found()

    def mark(self, origin: str) -> None:
        """Keep a mark with the file; does nothing where none can be kept."""
        with suppress(OSError, AttributeError):
            os.setxattr(self.path, _ORIGIN, origin.encode("ascii"))

    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    def read(self) -> Path | bytes:
        """Its path; the content of a pipe, which can be read but once."""
        try:
            mode = os.stat(self.path).st_mode
        except (OSError, ValueError):
            return self.path  # opening it will say what is wrong
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return self.path
        try:
            with open(self.path, "rb") as pipe:
                return bounded(str(self.path), pipe.read(MOST_PIPE_BYTES + 1))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ImageError(f"{self.path}: {reason}") from error

    def write(self, content: bytes, origin: str = "") -> None:
        with open_output(self.path) as stream:
            stream.write(content)
        if origin:
            self.mark(origin)


@dataclass(frozen=True, slots=True)
class _Stream:
    """A file without a place: always done anew."""

    def found(self) -> Found | None:
        return None

    def is_folder(self) -> bool:
        return False


class StandardStream(_Stream):
    """Standard input as a source, standard output as a target."""

    def read(self) -> Path | bytes:
        return bounded("standard input", sys.stdin.buffer.read(MOST_PIPE_BYTES + 1))

    def write(self, content: bytes, origin: str = "") -> None:
        with open_output(sys.stdout.buffer) as stream:
            stream.write(content)


@dataclass(frozen=True, slots=True)
class MemoryFile(_Stream):
    """Bytes that were handed in, or will be taken out."""

    held: InMemory

    def read(self) -> Path | bytes:
        return bounded(self.held.name, self.held.content or b"")

    def write(self, content: bytes, origin: str = "") -> None:
        self.held.content = content
