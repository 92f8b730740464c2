"""A file of which parts are read when they are needed, not mapped: a mapping's pages would count as
memory of the process for as long as it is open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError


class FileParts:
    """A file that is opened for each part, as long as it is the one that it was at first.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = path.stat()
        self.size = found.st_size
        """In bytes."""
        self._stamp = _stamp(found)

    def read(self, start: int, size: int) -> NDArray[np.uint8]:
        """Read `size` bytes from `start` on.

        Raises:
            EOFError: the file ends before.
            OSError: it can't be read.
            CheckpointError: it was replaced or written to since it was first opened.
        """
        if not 0 <= start <= start + size <= self.size:
            raise EOFError("the file ends within its tensors")
        content = np.empty(size, np.uint8)
        with self.path.open("rb") as stream:
            if _stamp(os.fstat(stream.fileno())) != self._stamp:
                raise CheckpointError("was changed while it was read; try again")
            stream.seek(start)
            if stream.readinto(content.data) != size:
                raise EOFError("the file ends within its tensors")
        return content


def _stamp(found: os.stat_result) -> tuple[Any, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
