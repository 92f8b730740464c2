"""Whose result a file is: a mark that goes with each result, and is asked for before the next.

Without it a run over `y/1.jpg` would overwrite `out/1.png`, the result of `x/1.jpg`, or take it for
its own. The mark is in an extended attribute of a local file and in the metadata of an object of s3
or gs. Where neither is kept, the result is anybody's, as one that other programs wrote.
"""

import hashlib
import os
from pathlib import Path

_VERSION = "1"
_HASH_DIGITS = 16
_END_BYTES = 1 << 16
"""What is read of a file's beginning and end, to know it again."""


def origin_mark(identity: str, source: Path | bytes) -> str:
    """The mark of a result: hashes of its input's name and of what is in it.

    Args:
        identity: what names the input, as `Job.identity` does.
        source: its path, or its content.
    """
    return f"{_VERSION}-{_hash_of_name(identity)}-{_hash_of_content(source)}"


def was_made_of(mark: str, identity: str) -> bool:
    """Whether a mark is that of a result of the input of this name."""
    return mark.startswith(f"{_VERSION}-{_hash_of_name(identity)}-")


def may_be_of(mark: str, identity: str, source: Path | bytes | None = None) -> bool:
    """Whether a result with this mark may have been made of an input.

    That is so if there is no mark, if the name is the input's, or the content: then the input was
    moved.

    Args:
        mark: of the result; empty if it has none.
        identity: of the input.
        source: its path or content; None: it is told by its name alone.
    """
    version, _, rest = mark.partition("-")
    if version != _VERSION or was_made_of(mark, identity):
        return True
    return source is not None and rest.partition("-")[2] == _hash_of_content(source)


def _hash_of_name(identity: str) -> str:
    return _hash(identity.encode("utf-8", "surrogateescape"))


def _hash_of_content(source: Path | bytes) -> str:
    """Of a file's size, beginning and end; empty if it can't be read."""
    if isinstance(source, bytes):
        return _hash(b"%d " % len(source) + source[:_END_BYTES] + source[-_END_BYTES:])
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            return _hash(b"%d " % size + start + file.read(_END_BYTES))
    except OSError:
        return ""


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
