"""Files of this machine and of object stores, by one face; fsspec is met for URLs only."""

from .base import CredentialsError, File, Found
from .local import LocalFile, file_at
from .location import (
    STANDARD_STREAM,
    InMemory,
    Location,
    RemotePath,
    absolute,
    is_url,
    parse_location,
    plain,
    shown,
    typed_location,
)

__all__ = [
    "STANDARD_STREAM",
    "CredentialsError",
    "File",
    "Found",
    "InMemory",
    "LocalFile",
    "Location",
    "RemotePath",
    "absolute",
    "file_at",
    "is_url",
    "parse_location",
    "plain",
    "shown",
    "typed_location",
]
