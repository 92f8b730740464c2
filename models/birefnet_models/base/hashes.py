"""The sha256 of a model's files, recorded beside them in `SHA256SUMS` (`sha256sum -c` reads it).

`birefnet export` writes the record, and who opens the model compares. What lies in a folder without
a record, or isn't named there, is taken as it is.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

from .errors import CacheError
from .files import cache_root, replacing

CHECKSUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")
_LARGEST_BYTES = 1 << 20


def sha256_of(*files: Path) -> str:
    """The hash of a file's content, or of several files' one after the other, in hexadecimal.

    Raises:
        OSError: one can't be read.
    """
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def read_checksums(folder: Path) -> dict[str, str]:
    """The sha256 of each file that the folder's record names; none where there is no record.

    Raises:
        OSError: the record is there and can't be read.
    """
    file = folder / CHECKSUMS
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", errors="replace") as stream:
        lines = stream.read(_LARGEST_BYTES).splitlines()
    entries = filter(None, map(_LINE.fullmatch, lines))
    return {entry[2]: entry[1] for entry in entries}


def checksums_beside(file: Path) -> dict[str, str]:
    """What the record in its folder says of a graph and of the weights beside it.

    Files of weights go with the graph whose name theirs begins with (`model.onnx_data`), or with
    every graph of the folder if there is no such.

    Raises:
        OSError: the record is there and can't be read.
    """
    recorded = read_checksums(file.parent)
    others = tuple(name for name in recorded if name.endswith(".onnx") and name != file.name)
    mine = {
        name: sha256
        for name, sha256 in recorded.items()
        if name.startswith(file.name) or not name.startswith(others)
    }
    return mine if file.name in recorded else {}


def checksums_of(files: Iterable[Path]) -> dict[str, str]:
    """The sha256 of each file, by its name."""
    return {file.name: sha256_of(file) for file in files}


def record_checksums(
    folder: Path, checksums: Mapping[str, str], forget: Iterable[str] = ()
) -> None:
    """Write the folder's record anew: these files as given, those to `forget` not at all, others
    as they were.

    Raises:
        OSError: it can't be written.
    """
    recorded = read_checksums(folder)
    lines = {name: text for name, text in recorded.items() if name not in set(forget)}
    lines |= checksums
    if lines == recorded:
        return
    with replacing(folder / CHECKSUMS) as temporary:
        text = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(lines.items()))
        temporary.write_text(text, encoding="utf-8")


def changed_file(
    folder: Path, checksums: Mapping[str, str], read: Callable[[Path], str] = sha256_of
) -> Path | None:
    """The first file of a folder that is missing or has another sha256 than this, as `read` has
    it; None if all are what they should be."""
    for name, sha256 in checksums.items():
        file = folder / name
        if not file.is_file() or read(file) != sha256:
            return file
    return None


# The sha256 of large files, remembered from one process to the next.
#
#     ROOT/checksums/NAME.json        of one file, named after its path
#
# What is remembered counts while the file has the same size, time of writing and of its last
# change of any kind (`st_ctime`, which no program sets), and is the same inode: as git's index has
# it. A file that was written a moment ago isn't remembered: it may change again within one tick of
# the clock.


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


def graph_sha256(path: Path, read: Callable[[Path], str] = remembered_sha256) -> str:
    """sha256 over an `.onnx` file and the files beside it whose names begin with its name.

    That is how weights beside a graph are called (`model.onnx_data`, `model.onnx.data`).

    Args:
        path: the `.onnx` file.
        read: gives the sha256 of one file.

    Raises:
        OSError: one can't be read.
    """
    digest = hashlib.sha256()
    for file in sorted(path.parent.glob(f"{escape(path.name)}*")):
        digest.update(file.name.removeprefix(path.name).encode() + b"\0")
        digest.update(bytes.fromhex(read(file)))
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
