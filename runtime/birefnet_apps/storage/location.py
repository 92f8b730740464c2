"""Where a file lies: a path of this machine, or the URL of an object store."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeAlias
from urllib.parse import unquote

from birefnet_models.base.text import printable, shown_url
from birefnet_runtime.errors import ImageError

STANDARD_STREAM = Path("-")
"""Standard input as a source, standard output as a target."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""A scheme of two letters at least: one alone is a drive of Windows."""
_LOCAL = ("file", "local")
VERSION = "?versionId="
"""Of a name of S3's: what stands behind it says which version is meant, as in its own URLs."""
_ALIASES = {"s3a": "s3", "gcs": "gs"}


@dataclass(frozen=True, slots=True)
class RemotePath:
    """A URL that fsspec knows: `s3://bucket/folder/photo.jpg`.

    As text it is what may be printed: without a user's name and password, and without the query of
    an http URL, which may be a signature.

    Attributes:
        url: with both, as it was typed.
    """

    url: str

    def __str__(self) -> str:
        path, mark, _ = self.url.partition("?")
        if mark and self.protocol in {"http", "https"}:
            return f"{shown_url(path)}?..."
        return shown_url(self.url)

    @property
    def text(self) -> str:
        """As text for programs: without what may not be printed, and without escapes."""
        scheme, mark, rest = self.url.partition("://")
        if self.protocol in {"http", "https"}:
            rest = rest.partition("?")[0]
        host, slash, path = rest.partition("/")
        return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"

    def __truediv__(self, below: PurePath) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{below.as_posix()}")

    @property
    def protocol(self) -> str:
        """Its scheme, in lower case and by its usual name."""
        scheme = self.url.partition("://")[0].lower()
        return _ALIASES.get(scheme, scheme)

    @property
    def path(self) -> str:
        """What is behind the scheme, without slashes at the end: `bucket/folder/photo.jpg`."""
        path = self.url.partition("://")[2].rstrip("/")
        return path.removesuffix(f"{VERSION}{self.version}") if self.version else path

    @property
    def version(self) -> str:
        """Which version of an object of S3 is meant; empty: the newest."""
        return self.url.partition(VERSION)[2] if self.protocol == "s3" else ""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Of its name, with the dot; empty for a bucket or for what ends in a slash."""
        is_folder = self.url.endswith("/") or "/" not in self.path
        return "" if is_folder else PurePath(self.name).suffix

    def is_below(self, folder: "RemotePath") -> bool:
        """Whether it lies in a folder, at any depth, or is that folder."""
        here, there = f"{self.path}/", f"{folder.path}/"
        return self.protocol == folder.protocol and here.startswith(there)


@dataclass(slots=True, eq=False)
class InMemory:
    """A file that is bytes: the source or the target of a job whose picture doesn't lie anywhere.

    Attributes:
        name: what messages call it.
        content: the bytes, of a target once it was written.
    """

    name: str
    content: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name


Location: TypeAlias = Path | RemotePath | InMemory


def is_url(text: str) -> bool:
    """Whether a text begins as a URL does."""
    return _URL.match(text) is not None


def parse_location(text: str) -> Path | RemotePath:
    """A path, or a URL; `file://` is a path of this machine, whose `%20` is a space (RFC 8089)."""
    if _URL.match(text) is None:
        return Path(text)
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in _LOCAL:
        return RemotePath(text)
    return Path(unquote(re.sub("^localhost/", "/", rest)) if scheme.lower() == "file" else rest)


def absolute(location: Location) -> str:
    """A location's whole name, the same however it was typed, without a user's name and password.

    Raises:
        ImageError: it is relative to a directory that was deleted.
    """
    if isinstance(location, RemotePath):
        return f"{location.protocol}://{location.text.partition('://')[2].rstrip('/')}"
    if location == STANDARD_STREAM or isinstance(location, InMemory):
        return str(location)
    try:
        return os.path.abspath(location)
    except FileNotFoundError:
        raise ImageError(
            f"{shown(location)}: the current directory was deleted; change into another one, or "
            "give absolute paths"
        ) from None


def plain(location: Location) -> str:
    """A location as records have it: names as they are, without secrets."""
    return location.text if isinstance(location, RemotePath) else str(location)


def typed_location(location: Location) -> str:
    """The text that `parse_location` makes this location of, secrets and all: not to be printed."""
    return location.url if isinstance(location, RemotePath) else str(location)


def shown(location: Location) -> str:
    """A location as messages have it."""
    return printable(str(location))
