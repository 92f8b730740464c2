"""Where ready-made models lie in the cache.

    ROOT/ready-made/GROUP/pins.json       what each reference stood for when it was last fetched
    ROOT/ready-made/GROUP/VERSION/        a graph with its weights, its preprocessor file,
                                          SHA256SUMS beside the graph, and source.json

GROUP is a repository or a URL, VERSION the hash of a pin: what is pinned otherwise lies elsewhere.
A version appears whole or not at all, and stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..base.errors import CacheError
from ..base.files import cache_root, exclusive, remove_at_once, temporary_folder
from ..base.hashes import checksums_of, record_checksums
from ..pins import Pin, read_lock, write_lock, write_pin
from .reference import ReadyMade, group_name

SOURCE_FILE = "source.json"
_PINS_FILE = "pins.json"


@dataclass(frozen=True, slots=True)
class Version:
    """A model in the cache."""

    folder: Path
    pin: Pin
    url: str
    """Where the graph came from."""
    references: tuple[str, ...]
    """Those that stand for it; none once all were moved to a newer one."""


def stored(model: ReadyMade, pin: Pin) -> Path | None:
    """The graph that is pinned so, if it is in the cache."""
    file = _group(model) / _version_name(pin) / pin.file
    return file if os.path.isfile(file) else None


def last_pin(model: ReadyMade) -> Pin | None:
    """What a reference stood for when it was last fetched.

    Raises:
        PinError: the note of that can't be read.
    """
    return read_lock(_group(model) / _PINS_FILE).get(model.reference)


def pins_of(model: ReadyMade) -> Mapping[str, Pin]:
    """The same of every reference to the same repository."""
    return read_lock(_group(model) / _PINS_FILE)


@contextmanager
def alone_with(model: ReadyMade) -> Iterator[None]:
    """Keep other processes from changing what the cache has of a repository or URL.

    Raises:
        OSError: the folder can't be made.
    """
    with _alone(_group(model)):
        yield


def keep(model: ReadyMade, pin: Pin, url: str, files: Mapping[str, Path]) -> Path:
    """Move files into the cache as a version, and note what its reference stands for.

    To be called within `alone_with`.

    Args:
        model: what was asked for.
        pin: what it stands for.
        url: where the graph came from.
        files: where each file lies now, by its path in the repository; those in the graph's folder
            are checked when the model is opened.

    Returns:
        The graph.

    Raises:
        OSError: it can't be stored.
    """
    group = _group(model)
    final = group / _version_name(pin)
    group.mkdir(parents=True, exist_ok=True)
    with temporary_folder(group) as folder:
        for name, file in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, folder / name)
            with suppress(OSError):
                file.parent.rmdir()
        graph = folder / pin.file
        checked = [folder / name for name in files if (folder / name).parent == graph.parent]
        record_checksums(graph.parent, checksums_of(checked))
        source = json.dumps({"url": url, **asdict(pin)}, indent=2)
        (folder / SOURCE_FILE).write_text(source + "\n", encoding="utf-8")
        if final.exists():  # without its graph: somebody has tidied up
            remove_at_once(final)
        os.rename(folder, final)
    write_pin(group / _PINS_FILE, model.reference, pin)
    return final / pin.file


def note(model: ReadyMade, pin: Pin) -> None:
    """Note what a reference stands for, of a version that is there."""
    write_pin(_group(model) / _PINS_FILE, model.reference, pin)


def versions() -> Iterator[Version]:
    """All ready-made models in the cache; none without one, and none that can't be read."""
    try:
        folders = sorted((cache_root() / "ready-made").glob(f"*/*/{SOURCE_FILE}"))
    except (CacheError, OSError):
        return
    for file in folders:
        with suppress(OSError, ValueError, KeyError, TypeError, CacheError):
            content = json.loads(file.read_text(encoding="utf-8"))
            pin = Pin(*(content[key] for key in ("commit", "file", "size", "sha256")))
            pins = read_lock(file.parent.parent / _PINS_FILE)
            references = tuple(name for name, known in pins.items() if known == pin)
            yield Version(file.parent, pin, str(content["url"]), references)


def remove(version: Version) -> None:
    """Remove a model, and what its references stood for, from the cache.

    Raises:
        OSError: it is gone already, or is open on Windows.
        PinError: the note of what references stood for can't be read.
    """
    group = version.folder.parent
    with _alone(group):
        pins = read_lock(group / _PINS_FILE)
        kept = {name: pin for name, pin in pins.items() if pin != version.pin}
        remove_at_once(version.folder)
        if kept:
            write_lock(group / _PINS_FILE, kept)
        else:
            (group / _PINS_FILE).unlink(missing_ok=True)
            with suppress(OSError):  # superseded versions are left
                group.rmdir()


@contextmanager
def _alone(group: Path) -> Iterator[None]:
    group.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(group.with_name(f".{group.name}.lock")):
        yield


def _group(model: ReadyMade) -> Path:
    return cache_root() / "ready-made" / group_name(model)


def _version_name(pin: Pin) -> str:
    content = json.dumps([pin.commit, pin.file, pin.size, pin.sha256])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
