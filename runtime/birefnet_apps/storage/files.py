"""From a location to the file that is there."""

from .base import File
from .local import LocalFile, MemoryFile, StandardStream
from .location import STANDARD_STREAM, InMemory, Location, RemotePath


def file_at(location: Location) -> File:
    """The file at a location; nothing is opened."""
    if isinstance(location, RemotePath):
        from .remote import RemoteFile  # fsspec is met for URLs only

        return RemoteFile(location)
    if isinstance(location, InMemory):
        return MemoryFile(location)
    return StandardStream() if location == STANDARD_STREAM else LocalFile(location)
