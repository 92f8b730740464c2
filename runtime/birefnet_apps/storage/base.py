"""What every file can, and what readers and writers of whole files share."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from birefnet_models.text import format_bytes
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES


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
