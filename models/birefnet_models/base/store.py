"""What is made once on a machine and kept in the cache if it is good: one folder for each thing.

    ROOT/NAME/KEY/facts.json    what it was made of and what is known of it, written last
    ROOT/NAME/KEY/...           its files, if it has any
    ROOT/NAME/KEY.lock          held by the process that makes it

KEY is the hash of all that makes a thing invalid: what was made of another file, by another version
or for another machine has another name and is never looked into. An entry appears whole or not at
all. One whose own files were changed, cut or removed since is no entry, and is replaced when it is
made anew. Who merely looks removes nothing: what looks damaged may be new, and whole by now.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path, PurePath
from typing import Any

from .files import cache_root, exclusive, remove_at_once, temporary_folder
from .hashes import stamp_of

FACTS = "facts.json"

Key = Any
"""A dataclass, or a mapping that JSON can hold: all that an entry depends on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A thing that is kept."""

    folder: Path
    key: Mapping[str, Any]
    """As JSON holds it: tuples are lists."""
    facts: Mapping[str, Any]
    """What whoever made it noted."""
    refused: str | None = None
    """Why it is not to be used: then the folder holds nothing else. None if it is good."""


@dataclass(frozen=True, slots=True)
class Store:
    """Things of one kind.

    Errors are `OSError`, where the disk can't be read or written, and `CacheError`, where no folder
    for the cache is known. `find` and `entries` never fail for an entry that is damaged.
    """

    name: str | Path
    """Of the folder in the cache; an absolute path stands for itself."""
    limit_bytes: int | None = None
    """All entries together: beyond it those go that were not used for longest."""
    stamped: bool = True
    """Whether a file that was written to since, at the same size, makes its entry invalid. Not
    where files are compared with their hashes before they are used."""
    lasting: str = "*"
    """Names of the files that must stay as they are; others may be written to at any time."""

    @property
    def root(self) -> Path:
        """The folder that holds the entries; it may not be there yet."""
        return Path(self.name) if Path(self.name).is_absolute() else cache_root() / self.name

    def folder(self, key: Key) -> Path:
        """Where the entry of a key is, or would be."""
        return self.root / entry_name(key)

    def find(self, key: Key) -> Entry | None:
        """The entry of a key, which then counts as used now; None if there is none, or no longer.

        An entry that was refused is found, too: `Entry.refused` says why.
        """
        entry = self._read(self.folder(key))
        if entry is not None:
            with suppress(OSError):
                os.utime(entry.folder / FACTS)
        return entry

    def entries(self) -> Iterator[Entry]:
        """All that is kept and good, in order of their names; nothing where there is no folder."""
        for file in sorted(self.root.glob(f"*/{FACTS}")):
            entry = self._read(file.parent)
            if entry is not None and entry.refused is None:
                yield entry

    def make(
        self, key: Key, fill: Callable[[Path], Mapping[str, Any]], *, anew: bool = False
    ) -> Entry:
        """The entry of a key, made if it isn't there; who asks meanwhile waits, and finds it.

        Args:
            key: all that it depends on.
            fill: puts its files into the empty folder that it is given, and returns facts, as JSON
                can hold them. What it raises is raised here, and nothing is kept. If it raises
                `RefusedError`, that alone is kept.
            anew: make it in any case; the entry that is there goes once the new one is whole.
        """
        with self.alone(key):
            if not anew and (entry := self.find(key)) is not None:
                return entry
            with temporary_folder(self.root) as folder:
                try:
                    facts, refused = fill(folder), None
                except RefusedError as error:
                    facts, refused = {}, str(error)
                return self._keep(folder, key, facts, refused)

    def note(self, key: Key, facts: Mapping[str, Any]) -> Entry:
        """Keep an entry without files, in place of the one that is there."""
        self.root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(self.root) as folder:
            return self._keep(folder, key, facts, None)

    def refuse(self, key: Key, why: str) -> None:
        """Replace an entry by a note that what is made of this key is no good, where that can be
        written."""
        with suppress(OSError):
            self.root.mkdir(parents=True, exist_ok=True)
            with temporary_folder(self.root) as folder:
                self._keep(folder, key, {}, why)

    def discard(self, key: Key) -> None:
        """Remove an entry, if it is there and can be removed; it may be made anew."""
        with suppress(OSError):
            remove_at_once(self.folder(key))

    @contextmanager
    def alone(self, key: Key) -> Iterator[None]:
        """Keep other processes and threads from making the same entry during the block."""
        self.root.mkdir(parents=True, exist_ok=True)
        with exclusive(self.root / f"{entry_name(key)}.lock"):
            yield

    def _keep(self, folder: Path, key: Key, facts: Mapping[str, Any], refused: str | None) -> Entry:
        """Give a filled folder its name, and bound what all entries take."""
        for file in folder.iterdir() if refused is not None else ():
            remove_at_once(file)
        content: dict[str, Any] = {
            "key": as_json(key),
            "facts": dict(facts),
            "files": {
                name: self._state(folder / name)
                for name in _files(folder)
                if PurePath(name).match(self.lasting)
            },
            "refused": refused,
        }
        (folder / FACTS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        self.discard(key)
        final = self.folder(key)
        try:
            os.rename(folder, final)
        except OSError:
            if self._read(final) is None:
                raise  # else another process was faster, without the lock
        self._bound(final)
        return Entry(final, content["key"], content["facts"], refused)

    def _read(self, folder: Path) -> Entry | None:
        """The entry in a folder; None if there is none that is whole and can be read."""
        try:
            content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            whole = all(
                self._state(folder / name) == state for name, state in content["files"].items()
            )
            entry = Entry(folder, content["key"], content["facts"], content["refused"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return entry if whole and entry_name(entry.key) == folder.name else None

    def _state(self, file: Path) -> list[int]:
        """What of a file must still be the same."""
        return list(stamp_of(file)) if self.stamped else [os.stat(file).st_size]

    def _bound(self, newest: Path) -> None:
        """Remove entries that were not used for longest while all take more than the limit."""
        if self.limit_bytes is None:
            return
        used = {}
        for facts in self.root.glob(f"*/{FACTS}"):
            with suppress(OSError):
                files = (*_files(facts.parent), FACTS)
                size = sum((facts.parent / name).stat().st_size for name in files)
                used[facts.parent] = (facts.stat().st_mtime_ns, size)
        total = sum(size for _, size in used.values())
        for folder, (_, size) in sorted(used.items(), key=lambda one: one[1]):
            if total <= self.limit_bytes:
                break
            if folder != newest:
                with suppress(OSError):
                    remove_at_once(folder)
                    total -= size


class RefusedError(Exception):
    """What was made is no good, and would not be if it were made again; its text says why."""


def entry_name(key: Key) -> str:
    """A folder's name for all that a key says: another one as soon as anything differs."""
    text = json.dumps(as_json(key), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def as_json(key: Key) -> dict[str, Any]:
    """A key as it is read back from its entry."""
    plain = asdict(key) if is_dataclass(key) and not isinstance(key, type) else dict(key)
    content: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return content


def _files(folder: Path) -> list[str]:
    """The files below a folder but for its facts, by their paths from there."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return sorted(name for file in found if (name := file.relative_to(folder).as_posix()) != FACTS)
