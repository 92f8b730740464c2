"""From a reference to a graph in the cache: fetched once, checked, pinned, and then opened offline.

    ROOT/fetched/KEY/       a graph with its weights, its preprocessor file, and SHA256SUMS beside
                            the graph; KEY is the hash of the repository or URL and of the pin
    ROOT/references/KEY/    what a reference stood for when it was last fetched

Files of the hub lie in the cache of its client, too: as the same file where the disk can do that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from .base.errors import CacheError, FetchError, OnnxFileError, PinError
from .base.files import remove_at_once
from .base.hashes import checksums_of, record_checksums, sha256_of
from .base.names import stays_inside
from .base.onnx_file import read_onnx
from .base.store import Store
from .base.text import format_bytes, printable
from .download import download
from .pins import DEFAULT_OPTIONS, FetchOptions, Pin, add_pin, pin_from, pin_of, require_consent
from .reference import HubModel, Remote, UrlModel, choose_graph, preprocessor_of

_GRAPHS = Store("fetched", stamped=False)
_REFERENCES = Store("references")


def ready_made(model: Remote, how: FetchOptions = DEFAULT_OPTIONS) -> Path:
    """The graph of a ready-made model; what is in the cache is not asked for again.

    A reference that can move (a branch, a URL) is resolved once and pinned: in the lock file, which
    binds, and in the cache, so that it opens offline elsewhere, too. Where the lock file can't be
    written, the cache alone remembers.

    Args:
        model: a repository of the hub, or a URL.
        how: where the pins are, and whether they may be added or moved.

    Raises:
        PinError: the content is not the pinned one; or nothing is pinned and `how` says locked.
        LicenseError: the model has terms that were not accepted.
        FetchError: it can't be had: offline, no access, no such file, interrupted, disk full.
        CacheError: there is no place for the cache.
    """
    bound = pin_of(model.reference, how, is_commit=model.is_commit)
    pin, graph = _in_cache(model, bound, how)
    if graph is None:
        try:
            with _GRAPHS.alone({"source": _source_of(model)}):
                pin, graph = _in_cache(model, bound, how)  # another process may have fetched it
                if graph is None:
                    pin, graph = _fetch(model, pin, how)
        except OSError as error:
            where = f" in {Path(error.filename).parent}" if error.filename else ""
            raise FetchError(
                f"{model.reference}: can't be stored{where}: {error.strerror}; set BIREFNET_CACHE "
                "to a directory with room that can be written"
            ) from error
    if bound is None and pin is not None and not how.locked:
        try:
            add_pin(model.reference, pin, how)
        except PinError as error:  # a folder that can't be written to
            if how.say:
                how.say(f"{model.reference} is pinned in the cache alone: {error}")
    return graph


@dataclass(frozen=True, slots=True)
class Version:
    """A graph in the cache."""

    folder: Path
    pin: Pin
    url: str
    """Where the graph came from."""
    references: tuple[str, ...]
    """Those that stand for it; none once all were moved to a newer one."""

    def remove(self) -> None:
        """Remove it, and what its references stood for, from the cache.

        Raises:
            OSError: another process has done it, or it is open on Windows.
        """
        remove_at_once(self.folder)
        for reference in self.references:
            _REFERENCES.discard({"reference": reference})


def fetched_versions() -> Iterator[Version]:
    """All ready-made models in the cache; none without one, and none that can't be read."""
    try:
        noted = {e.key["reference"]: dict(e.facts) for e in _REFERENCES.entries()}
        graphs = list(_GRAPHS.entries())
    except (CacheError, OSError):
        return
    for entry in graphs:
        pin = pin_from(entry.key["pin"])
        facts = {"source": entry.key["source"], **asdict(pin)}
        references = tuple(name for name, known in noted.items() if known == facts)
        yield Version(entry.folder, pin, str(entry.facts["url"]), references)


def _in_cache(
    model: Remote, bound: Pin | None, how: FetchOptions
) -> tuple[Pin | None, Path | None]:
    """What a reference stands for as far as is known here, and the graph if it is there."""
    pin = bound or (None if how.update else _last_pin(model))
    return pin, _stored(model, pin) if pin else None


def _last_pin(model: Remote) -> Pin | None:
    """What a reference stood for when it was last fetched."""
    noted = _REFERENCES.find({"reference": model.reference})
    return pin_from(noted.facts) if noted else None


def _note(model: Remote, pin: Pin) -> None:
    facts = {"source": _source_of(model), **asdict(pin)}
    _REFERENCES.note({"reference": model.reference}, facts)


def _stored(model: Remote, pin: Pin) -> Path | None:
    """The graph that is pinned so, if it is in the cache."""
    entry = _GRAPHS.find(_key(model, pin))
    return entry.folder / pin.file if entry else None


def _key(model: Remote, pin: Pin) -> Mapping[str, Any]:
    return {"source": _source_of(model), "pin": asdict(pin)}


def _source_of(model: Remote) -> str:
    """What several references have in common: the repository, or the URL."""
    return model.repo if isinstance(model, HubModel) else model.reference


@dataclass(frozen=True, slots=True)
class _Source:
    """What a reference stands for on its server."""

    commit: str | None
    graph: str
    """The graph's path in the repository, or its name."""
    extra: str | None
    """Path of the preprocessor file, if there is one."""
    url: str
    """Where the graph lies, as it may be shown."""
    size: int | None
    """Bytes of the graph and of the weights beside it, where that is known before."""
    get: Callable[[str], Path]
    """Fetches one file by its path; raises `FetchError`."""


def _fetch(model: Remote, pin: Pin | None, how: FetchOptions) -> tuple[Pin, Path]:
    """Fetch a model and keep it, as it is pinned or as it is now."""
    if isinstance(model, HubModel):
        source = _hub_source(model, pin, how)
    else:
        source = _url_source(model, how)
    for known in _pins_of(model) if source.commit else ():
        is_same = (known.commit, known.file) == (source.commit, source.graph)
        if is_same and (there := _stored(model, known)):
            _check(model, known, pin, how)
            _note(model, known)
            return known, there
    if how.say:
        how.say(fetching_line(source.url, source.size, model))
    files = _files(model, source)
    parts = [file for name, file in files.items() if name != source.extra]
    size = sum(part.stat().st_size for part in parts)
    now = Pin(source.commit, source.graph, size, sha256_of(*parts))
    try:
        _check(model, now, pin, how)
    except PinError:
        for file in files.values() if isinstance(model, UrlModel) else ():
            file.unlink(missing_ok=True)
        raise
    return now, _keep(model, now, source.url, files)


def fetching_line(url: str, size: int | None, model: Remote) -> str:
    """What is about to be fetched, in a line: source, size, license."""
    facts = [format_bytes(size)] if size is not None else []
    facts += [f"license {model.card.license}"] if model.card else []
    return f"fetching {url}" + (f" ({', '.join(facts)})" if facts else "")


def _pins_of(model: Remote) -> list[Pin]:
    """All that the cache has of a repository."""
    keys = [entry.key for entry in _GRAPHS.entries()]
    return [pin_from(key["pin"]) for key in keys if key["source"] == _source_of(model)]


def _check(model: Remote, now: Pin, pin: Pin | None, how: FetchOptions) -> None:
    """Refuse what is not what the pin says."""
    if pin is not None and now.sha256 != pin.sha256:
        raise PinError(
            f"{model.reference}: what its server has is not what {how.lock} pins: sha256 "
            f"{now.sha256}, pinned is {pin.sha256}; move the pin with birefnet models --update "
            "NAME if you trust it"
        )


def _hub_source(model: HubModel, pin: Pin | None, how: FetchOptions) -> _Source:
    from .hub import list_files  # the hub's client, for this alone

    listing = list_files(model.repo, pin.commit if pin and pin.commit else model.revision)
    require_consent(model.card, how)
    graph = pin.file if pin else model.file
    if graph is None:
        graph = choose_graph(listing.files, model.precision, f"{model.repo}@{model.revision}")
    if graph not in listing.files:
        raise FetchError(f"{model.repo}@{model.revision}: holds no {printable(graph)}")
    extra = preprocessor_of(listing.files, graph)
    beside = [file.size for name, file in listing.files.items() if name.startswith(graph)]
    size = sum(part for part in beside if part is not None) if all(beside) else None

    def get(name: str) -> Path:
        if name not in listing.files:
            raise FetchError(f"{model.reference}: {graph} needs {printable(name)}, not listed")
        return listing.fetch(name, how)

    return _Source(listing.commit, graph, extra, listing.url(graph), size, get)


def _url_source(model: UrlModel, how: FetchOptions) -> _Source:
    def get(name: str) -> Path:
        url = model.url if name == model.file else urljoin(model.url, quote(name))
        return download(url, anew=how.update, progress=how.progress)

    return _Source(None, model.file, None, model.reference, None, get)


def _files(model: Remote, source: _Source) -> Mapping[str, Path]:
    """The graph, the files of its weights and the preprocessor file, fetched, by their paths."""
    graph = source.get(source.graph)
    files = {source.graph: graph}
    folder = source.graph.rpartition("/")[0]
    for name in _external_files(model, graph):
        files[f"{folder}/{name}".lstrip("/")] = source.get(f"{folder}/{name}".lstrip("/"))
    if source.extra:
        files[source.extra] = source.get(source.extra)
    return files


def _external_files(model: Remote, graph: Path) -> list[str]:
    """Names of the files beside a graph that hold its weights."""
    try:
        names = [name.removeprefix("./") for name in read_onnx(graph).external_files]
    except OnnxFileError as error:
        if isinstance(model, UrlModel):
            graph.unlink(missing_ok=True)
        raise FetchError(f"{model.reference}: {graph.name} is not an ONNX model") from error
    for name in names:
        if not stays_inside(name) or "/" in name:
            raise FetchError(
                f"{model.reference}: the graph looks for its weights in {printable(name)!r}, which "
                "is not a file beside it; refused"
            )
    return names


def _keep(model: Remote, pin: Pin, url: str, files: Mapping[str, Path]) -> Path:
    """Keep fetched files as a version, and note what its reference stands for.

    Args:
        model: what was asked for.
        pin: what it stands for.
        url: where the graph came from.
        files: where each file lies now, by its path in the repository; those in the graph's folder
            are checked when the model is opened.
    """

    def fill(folder: Path) -> Mapping[str, Any]:
        for name, file in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(model, HubModel):
                _link(file.resolve(), place)
            else:
                os.replace(file, place)
                shutil.rmtree(file.parent, ignore_errors=True)
        graph = folder / pin.file
        checked = [folder / name for name in files if (folder / name).parent == graph.parent]
        record_checksums(graph.parent, checksums_of(checked))
        return {"url": url}

    folder = _GRAPHS.make(_key(model, pin), fill).folder
    _note(model, pin)
    return folder / pin.file


def _link(file: Path, place: Path) -> None:
    """Have a file in a second place: the same one, or where the disk can't do that a copy."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
