"""Everything that the cache holds, with its size, and how room is made in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from .base.errors import BirefnetError, CacheError, OnnxFileError
from .base.files import remove_at_once
from .base.names import METADATA_PREFIX
from .base.onnx_file import read_onnx
from .base.text import first_line, printable, shortened
from .cache import CachedExport, cached_exports, downloads
from .fetch import Version, fetched_versions
from .reference import DEFAULT_REVISION
from .zoo import lookup

_PART = ".part"
"""Suffix of a download that has not come to its end."""


@dataclass(frozen=True, slots=True)
class CachedItem:
    """One thing in the cache that takes room."""

    name: str
    """What it is called, as `--model` takes it where it is a model."""
    kind: Literal["export", "ready-made", "download", "unfinished"]
    """Made by `birefnet export`; fetched as it is; a checkpoint of a release; a part of a file."""
    variant: str
    """Precision and lowering of an export, the path of a ready-made graph; else empty."""
    source: str
    """Where it is from, with the revision if there is one; empty if that is not known."""
    size: int
    """In bytes."""
    names: frozenset[str]
    """All that it may be called when it is to be removed."""
    remove: Callable[[], None]
    """Removes it; raises `OSError`, or `FileNotFoundError` where another process has done it."""

    def to_dict(self) -> dict[str, str | int]:
        """JSON-ready values."""
        keys = ("name", "kind", "variant", "source", "size")
        return {key: getattr(self, key) for key in keys}


def inventory() -> tuple[CachedItem, ...]:
    """What is in the cache; nothing without one, or with one that can't be read."""
    exports = [_export(export) for export in cached_exports()]
    return (*exports, *map(_ready_made, fetched_versions()), *_downloads())


def remove(name: str) -> tuple[CachedItem, ...]:
    """Remove all that is called so from the cache.

    Args:
        name: as `--model` takes it: all exports and ready-made models of that name, or with a
            variant or revision behind it those alone; the URL or the file's name of a download.

    Returns:
        What was removed; what another process had removed meanwhile is left out.

    Raises:
        CacheError: nothing is called so; the message lists what there is. Or it can't be removed.
    """
    every = inventory()
    card = lookup(name)
    wanted = {name, card.name if card else name}
    fitting = [entry for entry in every if wanted & entry.names or _is_variant(entry, name)]
    if not fitting:
        if card is not None and card.embedded:
            raise CacheError(f"{card.name} ships with the package and is not in the cache")
        there = shortened(dict.fromkeys(entry.name for entry in every))
        raise CacheError(
            f"nothing in the cache is called {printable(name)}; it holds {there or 'nothing'}"
        )
    return tuple(entry for entry in fitting if _removed(entry))


def _removed(entry: CachedItem) -> bool:
    """Whether an entry was there and is gone now."""
    try:
        entry.remove()
    except FileNotFoundError:
        return False
    except (OSError, BirefnetError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise CacheError(f"{entry.name}: can't be removed: {reason}") from error
    return True


def _is_variant(entry: CachedItem, name: str) -> bool:
    """Whether a name with words of a variant behind it (`lite:fp16`) means this export."""
    name, colon, variant = name.partition(":")
    card = lookup(name)
    is_named = bool({name, card.name if card else name} & entry.names)
    is_export = bool(colon) and entry.kind == "export" and is_named
    return is_export and set(variant.split("-")) <= set(entry.variant.split("-"))


def _export(export: CachedExport) -> CachedItem:
    name = export.name if lookup(export.name) else export.name.replace("--", "/", 1)
    source = ""
    with suppress(OnnxFileError):
        source = read_onnx(export.file).properties.get(f"{METADATA_PREFIX}source", "")
    size, names = size_of(export.directory), frozenset({name, export.name})
    gone = partial(_remove_folder, export.directory)
    return CachedItem(name, "export", export.variant, source, size, names, gone)


def _ready_made(version: Version) -> CachedItem:
    names = {version.url, _repository(version.url)} - {""}
    for reference in version.references:
        repo, at, rest = reference.partition("@")
        revision, _, precision = rest.partition(":")
        names |= {reference, typed_reference(reference)}
        if at and "://" not in reference:
            names |= {repo, f"{repo}@{revision}", f"{repo}:{precision}"}
    name = min(map(typed_reference, version.references), key=len, default=version.url)
    pin = version.pin
    source = version.url
    if pin.commit and version.references:
        revision = version.references[0].partition("@")[2].partition(":")[0]
        host = version.url.partition(f"/resolve/{pin.commit}/")[0]
        source = host if revision == pin.commit else f"{host} {revision} at {pin.commit[:12]}"
    size = size_of(version.folder)
    return CachedItem(name, "ready-made", pin.file, source, size, frozenset(names), version.remove)


def typed_reference(reference: str) -> str:
    """A reference of the lock file as `--model` takes it, without what goes without saying."""
    if "://" in reference:
        return reference
    return reference.removesuffix(":onnx").replace(f"@{DEFAULT_REVISION}", "", 1)


def _downloads() -> Iterator[CachedItem]:
    """Files of releases, and parts of files whose download was interrupted."""
    try:
        every = (file for file in downloads().glob("*/*") if file.is_file())
        files = sorted(file for file in every if not file.name.startswith("."))
    except (CacheError, OSError):
        return
    for file in files:
        if file.suffix == _PART:
            url = ""
            with suppress(OSError, ValueError, KeyError, TypeError):
                note = file.with_name(f"{file.name}.json").read_text(encoding="utf-8")
                url = str(json.loads(note)["url"])
            names = {file.name, file.stem, url, _repository(url)} - {""}
            kind: Literal["unfinished", "download"] = "unfinished"
        elif file.name.endswith(f"{_PART}.json"):
            continue
        else:
            url, names, kind = "", {file.name}, "download"
        gone = partial(_remove_folder, file.parent)
        size = size_of(file.parent)
        yield CachedItem(url or file.name, kind, "", url, size, frozenset(names), gone)


def _repository(url: str) -> str:
    """The repository of the hub that a file's address names; empty where it names none."""
    owner_and_name = url.partition("/resolve/")[0].rsplit("/", 2)[1:]
    return "/".join(owner_and_name) if "/resolve/" in url else ""


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; of what vanishes meanwhile none."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _remove_folder(folder: Path) -> None:
    """Remove a folder, and the one above it if it is then empty."""
    remove_at_once(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def total_size(entries: Sequence[CachedItem]) -> int:
    """Bytes of several entries."""
    return sum(entry.size for entry in entries)
