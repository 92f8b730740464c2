"""Files of this machine, standard streams, and bytes in memory."""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES

from .base import Sink, bounded
from .location import InMemory


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
