"""Files of this machine, standard streams, and bytes in memory."""

import os
import secrets
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES
from birefnet_runtime.images.write import open_output

from .base import File, Found, bounded
from .location import STANDARD_STREAM, InMemory, Location, RemotePath

_ORIGIN = "user.birefnet.origin"
"""Extended attribute of a result."""


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

    def check_writable(self) -> None:
        probe = self.path / f".birefnet-{secrets.token_hex(8)}"
        with open_output(probe) as stream:
            stream.write(b"x")
        with suppress(OSError):
            probe.unlink()

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

    def check_writable(self) -> None:
        """Nothing is known before it is written to."""


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


def file_at(location: Location) -> File:
    """The file at a location; nothing is opened."""
    if isinstance(location, RemotePath):
        from .remote import RemoteFile  # fsspec and the drivers, for URLs only

        return RemoteFile(location)
    if isinstance(location, InMemory):
        return MemoryFile(location)
    return StandardStream() if location == STANDARD_STREAM else LocalFile(location)
