"""Files of this machine and of object stores, by one face; fsspec is met for URLs only."""

from .local import File
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
from .remote import file_at

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
