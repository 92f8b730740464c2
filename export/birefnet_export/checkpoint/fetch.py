"""Find or download a checkpoint, and compare it with its pin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_models.base.errors import AccessError, FetchError, OfflineError
from birefnet_models.base.extras import naming_extras
from birefnet_models.base.hashes import sha256_of
from birefnet_models.base.names import PREPROCESSOR_FILE, WEIGHTS_FILE, choose_weights
from birefnet_models.base.text import shortened
from birefnet_models.download import download
from birefnet_models.fetch import fetching_line
from birefnet_models.pins import (
    DEFAULT_OPTIONS,
    FetchOptions,
    Pin,
    add_pin,
    check_pin,
    pin_of,
    require_consent,
)
from birefnet_models.reference import DEFAULT_REVISION, HubModel, UrlModel, endpoint
from birefnet_models.zoo import ModelCard

from .source import LocalSource, parse_source
from .tensors import checkpoint_files

if TYPE_CHECKING:
    from birefnet_models.hub import Listing


@dataclass(frozen=True, slots=True)
class LocalCheckpoint:
    """A checkpoint on this machine."""

    path: Path
    """The file, or the directory that holds `model.safetensors`."""
    name: str | None
    """What an export of it is called in the cache; None for a local file."""
    card: ModelCard | None
    """Its record in the zoo, if it has one."""
    origin: str | None
    """`REPO@COMMIT` or the URL; None for a local file."""


@naming_extras()
def fetch(checkpoint: str | Path, how: FetchOptions = DEFAULT_OPTIONS) -> LocalCheckpoint:
    """Find or download a checkpoint, and compare it with its pin.

    A reference that can move (a branch, a URL) is resolved once and pinned in the lock file; from
    then on the pin is what loads. Where the zoo knows commit and sha256, they are the first pin.
    One of the hub lies in the cache of the hub's client, where other programs find it, too; what
    they brought there is not fetched again.

    Args:
        checkpoint: a name of the zoo, `OWNER/NAME@REVISION`, the URL of a file, or a path.
        how: where the pins are, and whether they may be added or moved.

    Raises:
        CheckpointError: it is none of these, or the path is not there.
        LicenseError: the model has terms that were not accepted.
        PinError: the content is not the pinned one; or nothing is pinned and `how` says locked.
        FetchError: it can't be had: offline, no access, no such file, interrupted, disk full.
    """
    source = parse_source(checkpoint)
    if isinstance(source, LocalSource):
        return LocalCheckpoint(source.path, name=None, card=None, origin=None)
    require_consent(source.card, how)
    pinned = pin_of(source.reference, how, is_commit=source.is_commit)
    pin = pinned or (None if how.update else _pin_of_zoo(source))
    if isinstance(source, HubModel):
        try:
            file, resolved = _of_hub(source, pin, how)
        except FetchError as error:
            if pinned or pin is None or isinstance(error, AccessError | OfflineError):
                raise
            raise FetchError(
                f"{error}; the zoo pins commit {pin.commit}, --update takes what is there now"
            ) from error
        origin = f"{source.repo}@{resolved.commit}"
    else:
        file, resolved = _of_url(source, pin, how)
        origin = source.reference
    if pin is not None:
        lock = how.lock if pinned else "the zoo"
        check_pin(file, source.reference, pin, lock, shards=checkpoint_files(file)[1:])
    if pinned is None and not how.locked:
        add_pin(source.reference, resolved, how)
    return LocalCheckpoint(file, source.name, source.card, origin)


def _pin_of_zoo(source: HubModel | UrlModel) -> Pin | None:
    """What the zoo knows of the weights behind a name: their commit, size and sha256.

    Most of its records know none, for want of the network when they were written; then the first
    fetch pins what it finds.
    """
    is_default = isinstance(source, HubModel) and source.revision == DEFAULT_REVISION
    known = source.card.weights if source.card and is_default and not source.file else ()
    weights = next((each for each in known if each.file == WEIGHTS_FILE), None)
    if weights is None:
        return None
    return Pin(weights.revision, weights.file, weights.size, weights.sha256)


def _of_url(source: UrlModel, pin: Pin | None, how: FetchOptions) -> tuple[Path, Pin]:
    file = download(source.url, anew=how.update, progress=how.progress)
    return file, pin or Pin(None, source.file, file.stat().st_size, sha256_of(file))


def _of_hub(source: HubModel, pin: Pin | None, how: FetchOptions) -> tuple[Path, Pin]:
    """The file of weights that a repository stands for, and its pin: the one it has, or a new one.

    What is pinned and in the client's cache is not asked for.
    """
    from birefnet_models.hub import cached_listing, list_files  # the hub's client, for this alone

    if pin is not None and pin.commit:
        there = cached_listing(source.repo, pin.commit)
        if there is not None and pin.file in there.files:
            with suppress(FetchError):  # a shard is missing
                return _weights(source, there, pin.file, how), pin
    listing = list_files(source.repo, pin.commit if pin and pin.commit else source.revision)
    name = pin.file if pin else _choose_weights(source, list(listing.files))
    if name not in listing.files:
        raise FetchError(f"{source.reference}: {listing.commit} holds no {name}")
    file = _weights(source, listing, name, how)
    parts = checkpoint_files(file)
    size = sum(part.stat().st_size for part in parts)
    return file, pin or Pin(listing.commit, name, size, sha256_of(*parts))


def _weights(source: HubModel, listing: Listing, name: str, how: FetchOptions) -> Path:
    """A file of weights with its shards and the preprocessor file, fetched where it isn't there."""
    if how.say and listing.in_cache(name) is None:
        how.say(fetching_line(listing.url(name), _size_with_shards(listing, name), source))
    file = listing.fetch(name, how)
    folder = name.rpartition("/")[0]
    for part in checkpoint_files(file)[1:]:
        shard = f"{folder}/{part.name}".lstrip("/")
        if shard not in listing.files:
            raise FetchError(f"{source.reference}: {name} lists {shard}, which is not there")
        listing.fetch(shard, how)
    if PREPROCESSOR_FILE in listing.files:
        listing.fetch(PREPROCESSOR_FILE, how)
    return file


def _size_with_shards(listing: Listing, name: str) -> int | None:
    """Bytes of a file of weights; of an index, of all files of its kind in the repository."""
    stem, is_index, _ = name.partition(".index.json")
    suffix = stem.rpartition(".")[2]
    parts = [file.size for other, file in listing.files.items() if other.endswith(f".{suffix}")]
    if not is_index:
        return listing.files[name].size
    return None if None in parts else sum(part or 0 for part in parts)


def _choose_weights(source: HubModel, names: Sequence[str]) -> str:
    if source.file:
        fitting = [source.file] if source.file in names else []
    else:
        fitting = choose_weights(names)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FetchError(
            f"{source.reference}: holds several files of weights ({shortened(fitting)}); give the "
            f"one to use as {endpoint()}/{source.repo}/resolve/{source.revision}/FILE"
        )
    held = shortened(names) or "nothing"
    if not source.file and any(name.endswith(".onnx") for name in names):
        held += f"; its .onnx needs no export: birefnet cutout --model {source.repo}"
    raise FetchError(f"{source.reference}: holds no {source.file or 'weights'}; it holds {held}")
