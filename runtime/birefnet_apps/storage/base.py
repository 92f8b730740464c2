"""What every file can, here and in object stores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from birefnet_models.base.text import format_bytes
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import MOST_PIPE_BYTES


class CredentialsError(ImageError):
    """An object store refuses the credentials themselves: every further request will fail, too."""


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

    def check_writable(self) -> None:
        """Write a small file into this folder, and remove it again.

        Raises:
            OutputError: the folder can't be written to.
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
