"""The sha256 of large files, remembered from one process to the next.

    ROOT/checksums/NAME.json        of one file, named after its path

What is remembered counts while the file has the same size, time of writing and of its last change
of any kind (`st_ctime`, which no program sets), and is the same inode: as git's index has it. A
file that was written a moment ago isn't remembered: it may change again within one tick of the
clock.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .atomic_write import replacing
from .cache import cache_root
from .checksums import sha256_of
from .errors import CacheError

SMALLEST_BYTES = 1 << 20
"""Smaller files are read sooner than looked up."""
_SETTLED_NS = 2_000_000_000
"""The coarsest clock of a file system in use ticks every two seconds (FAT)."""
_MOST_FILES = 1000
"""When there are more, all are forgotten."""

Stamp = tuple[int, ...]


def stamp_of(file: Path) -> Stamp:
    """What of a file's state changes whenever its content does.

    Raises:
        OSError: it can't be looked at.
    """
    state = os.stat(file)
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev


def remembered_sha256(file: Path) -> str:
    """The sha256 of a file in hexadecimal, which is read only if it isn't the one that it was.

    Without a cache that can be written every call reads the file.

    Raises:
        OSError: it can't be read.
    """
    stamp = stamp_of(file)
    if stamp[0] < SMALLEST_BYTES:
        return sha256_of(file)
    try:
        name = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]
        record = cache_root() / "checksums" / f"{name}.json"
    except CacheError:
        return sha256_of(file)
    if (known := _recall(record, stamp)) is not None:
        return known
    settled = time.time_ns() - max(stamp[1:3]) > _SETTLED_NS
    sha256 = sha256_of(file)
    if settled and stamp_of(file) == stamp:
        _remember(record, stamp, sha256)
    return sha256


def graph_sha256(path: Path) -> str:
    """sha256 over an `.onnx` file and the files beside it whose names begin with its name.

    That is how weights beside a graph are called (`model.onnx_data`, `model.onnx.data`).

    Raises:
        OSError: one can't be read.
    """
    digest = hashlib.sha256()
    for file in sorted(path.parent.glob(f"{path.name}*")):
        digest.update(file.name.removeprefix(path.name).encode() + b"\0")
        digest.update(bytes.fromhex(remembered_sha256(file)))
    return digest.hexdigest()


def record_name(record: Any) -> str:
    """A file's name for all that a dataclass says: another one as soon as anything differs."""
    text = json.dumps(asdict(record), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _recall(record: Path, stamp: Stamp) -> str | None:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return str(known["sha256"]) if tuple(known["stamp"]) == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(record: Path, stamp: Stamp, sha256: str) -> None:
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        others = list(record.parent.glob("*.json"))
        for other in others if len(others) > _MOST_FILES else ():
            other.unlink(missing_ok=True)
        with replacing(record) as file:
            text = json.dumps({"stamp": stamp, "sha256": sha256})
            file.write_text(text + "\n", encoding="utf-8")
