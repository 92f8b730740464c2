"""Files of this machine, standard streams, and bytes in memory."""

import io
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from birefnet_models.base.text import format_bytes
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES

from .location import InMemory

# What every file can, and what readers and writers of whole files share.


class File(Protocol):
    """What the folder run needs of a file."""

    def exists(self) -> bool:
        """Whether it is there; false where that can't be asked."""

    def is_folder(self) -> bool:
        """Whether it is a folder rather than a file."""

    def read(self) -> Path | bytes:
        """The file as `images.read.open_image` takes it: its path, or all its bytes.

        Raises:
            ImageError: it can't be read, is empty, or larger than `MOST_PIPE_BYTES`.
        """

    def sink(self) -> Path | BinaryIO:
        """The target as `Result.save` takes it: a path, or a stream.

        What is written to the stream at once becomes the file, whole or not at all.
        """

    def came_ns(self) -> int | None:
        """When it came to its place, since the epoch; None if that is not known."""

    def written_ns(self) -> int | None:
        """When its content was written, since the epoch; None if that is not known."""


class Sink(io.BytesIO):
    """A stream for whose first piece, which is all there is, something is done.

    Args:
        name: what messages call it.
        keep: takes the bytes.
    """

    def __init__(self, name: str, keep: Callable[[bytes], None]) -> None:
        super().__init__()
        self.name = name
        self._keep = keep

    def write(self, content: Any) -> int:
        data = bytes(content)
        self._keep(data)
        return len(data)


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

    def exists(self) -> bool:
        return os.path.exists(self.path)

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

    def sink(self) -> Path | BinaryIO:
        return self.path

    def came_ns(self) -> int | None:
        status = self._status()
        return status.st_ctime_ns if status else None

    def written_ns(self) -> int | None:
        status = self._status()
        return status.st_mtime_ns if status else None

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)
        except (OSError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class _Stream:
    """A file without a place: always done anew."""

    def exists(self) -> bool:
        return False

    def is_folder(self) -> bool:
        return False

    def came_ns(self) -> int | None:
        return None

    def written_ns(self) -> int | None:
        return None


class StandardStream(_Stream):
    """Standard input as a source, standard output as a target."""

    def read(self) -> Path | bytes:
        return bounded("standard input", sys.stdin.buffer.read(MOST_PIPE_BYTES + 1))

    def sink(self) -> Path | BinaryIO:
        return sys.stdout.buffer


@dataclass(frozen=True, slots=True)
class MemoryFile(_Stream):
    """Bytes that were handed in, or will be taken out."""

    held: InMemory

    def read(self) -> Path | bytes:
        return bounded(self.held.name, self.held.content or b"")

    def sink(self) -> Path | BinaryIO:
        return Sink(self.held.name, self._keep)

    def _keep(self, content: bytes) -> None:
        self.held.content = content
