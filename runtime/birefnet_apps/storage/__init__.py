"""Files of this machine and of object stores, by one face; fsspec is met for URLs only."""

from .base import File
from .files import file_at
from .location import (
    STANDARD_STREAM,
    InMemory,
    Location,
    RemotePath,
    is_url,
    parse_location,
    shown,
    typed,
)

__all__ = [
    "STANDARD_STREAM",
    "File",
    "InMemory",
    "Location",
    "RemotePath",
    "file_at",
    "is_url",
    "parse_location",
    "shown",
    "typed",
]
