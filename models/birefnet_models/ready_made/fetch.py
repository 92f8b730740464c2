"""From a reference to a graph in the cache: fetched once, checked, pinned, and then opened offline.

`HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` and the usual variables for proxies hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

from ..base.errors import FetchError, OnnxFileError, PinError
from ..base.hashes import sha256_of
from ..base.names import stays_inside
from ..base.onnx_file import read_onnx
from ..base.text import printable, shown_url
from ..http.download import download
from ..pins import Pin
from ..zoo import lookup
from . import store
from .choice import choose_graph, preprocessor_of
from .fetching import DEFAULT_FETCHING, Fetching, add_pin, pin_of, require_consent
from .hub import list_files
from .reference import HubModel, ReadyMade, UrlModel


def ready_made(model: ReadyMade, how: Fetching = DEFAULT_FETCHING) -> Path:
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
            with store.alone_with(model):
                pin, graph = _in_cache(model, bound, how)  # another process may have fetched it
                if graph is None:
                    pin, graph = _fetch(model, pin, how)
        except OSError as error:
            where = f" in {Path(error.filename).parent}" if error.filename else ""
            raise FetchError(
                f"{model.reference}: can't be stored{where}: {error.strerror}"
            ) from error
    if bound is None and pin is not None and not how.locked:
        try:
            add_pin(model.reference, pin, how)
        except PinError as error:  # a folder that can't be written to
            if how.say:
                how.say(f"{model.reference} is pinned in the cache alone: {error}")
    return graph


def _in_cache(model: ReadyMade, bound: Pin | None, how: Fetching) -> tuple[Pin | None, Path | None]:
    """What a reference stands for as far as is known here, and the graph if it is there."""
    pin = bound or (None if how.update else store.last_pin(model))
    return pin, store.stored(model, pin) if pin else None


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
    get: Callable[[str], Path]
    """Fetches one file by its path; raises `FetchError`."""


def _fetch(model: ReadyMade, pin: Pin | None, how: Fetching) -> tuple[Pin, Path]:
    """Fetch a model and keep it, as it is pinned or as it is now."""
    if isinstance(model, HubModel):
        source = _hub_source(model, pin, how)
    else:
        source = _url_source(model, how)
    for known in store.pins_of(model).values() if source.commit else ():
        is_same = (known.commit, known.file) == (source.commit, source.graph)
        if is_same and (there := store.stored(model, known)):
            _check(model, known, pin, how)
            store.note(model, known)
            return known, there
    if how.say:
        how.say(f"fetching {source.url}")
    files = _files(model, source)
    parts = [file for name, file in files.items() if name != source.extra]
    size = sum(part.stat().st_size for part in parts)
    now = Pin(source.commit, source.graph, size, sha256_of(*parts))
    try:
        _check(model, now, pin, how)
    except PinError:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise
    return now, store.keep(model, now, source.url, files)


def _check(model: ReadyMade, now: Pin, pin: Pin | None, how: Fetching) -> None:
    """Refuse what is not what the pin says."""
    if pin is not None and now.sha256 != pin.sha256:
        raise PinError(
            f"{model.reference}: what its server has is not what {how.lock} pins: sha256 "
            f"{now.sha256}, pinned is {pin.sha256}; move the pin with birefnet models --update "
            "NAME if you trust it"
        )


def _hub_source(model: HubModel, pin: Pin | None, how: Fetching) -> _Source:
    listing = list_files(model.repo, pin.commit if pin and pin.commit else model.revision)
    require_consent(lookup(model.repo), how)
    graph = pin.file if pin else model.file
    if graph is None:
        graph = choose_graph(listing.files, model.precision, f"{model.repo}@{model.revision}")
    if graph not in listing.files:
        raise FetchError(f"{model.repo}@{model.revision}: holds no {printable(graph)}")
    extra = preprocessor_of(listing.files, graph)

    def get(name: str) -> Path:
        if name not in listing.files:
            raise FetchError(f"{model.reference}: {graph} needs {printable(name)}, not listed")
        return listing.fetch(name, how)

    return _Source(listing.commit, graph, extra, listing.url(graph), get)


def _url_source(model: UrlModel, how: Fetching) -> _Source:
    def get(name: str) -> Path:
        url = model.url if name == model.file else urljoin(model.url, quote(name))
        return download(url, anew=how.update, progress=how.progress)

    return _Source(None, model.file, None, model.reference, get)


def _files(model: ReadyMade, source: _Source) -> Mapping[str, Path]:
    """The graph, the files of its weights and the preprocessor file, fetched, by their paths."""
    graph = source.get(source.graph)
    files = {source.graph: graph}
    folder = source.graph.rpartition("/")[0]
    for name in _external_files(model, graph):
        files[f"{folder}/{name}".lstrip("/")] = source.get(f"{folder}/{name}".lstrip("/"))
    if source.extra:
        files[source.extra] = source.get(source.extra)
    return files


def _external_files(model: ReadyMade, graph: Path) -> list[str]:
    """Names of the files beside a graph that hold its weights."""
    try:
        names = [name.removeprefix("./") for name in read_onnx(graph).external_files]
    except OnnxFileError as error:
        graph.unlink(missing_ok=True)
        raise FetchError(f"{model.reference}: {graph.name} is no ONNX model") from error
    for name in names:
        if not stays_inside(name) or "/" in name:
            raise FetchError(
                f"{shown_url(model.reference)}: the graph looks for its weights in "
                f"{printable(name)!r}, which is no file beside it; refused"
            )
    return names
