"""The sha256 of a model's files, recorded beside them in `SHA256SUMS` (`sha256sum -c` reads it).

`birefnet export` writes the record, and who opens the model compares. What lies in a folder without
a record, or isn't named there, is taken as it is.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .atomic_write import replacing

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
