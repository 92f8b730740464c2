"""Find or download a checkpoint, and compare it with its pin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birefnet_models.base.hashes import sha256_of
from birefnet_models.http.download import download
from birefnet_models.pins import Pin, check_pin
from birefnet_models.ready_made.fetching import DEFAULT_FETCHING as DEFAULT_FETCHING
from birefnet_models.ready_made.fetching import Fetching as Fetching
from birefnet_models.ready_made.fetching import add_pin, pin_of, require_consent
from birefnet_models.zoo import ModelCard

from .shards import files_of
from .source import HubSource, LocalSource, UrlSource, parse_source


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine."""

    path: Path
    """The file, or the directory that holds `model.safetensors`."""
    name: str | None
    """What an export of it is called in the cache; None for a local file."""
    card: ModelCard | None
    """Its record in the zoo, if it has one."""
    origin: str | None
    """`REPO@COMMIT` or the URL; None for a local file."""


def fetch(checkpoint: str | Path, how: Fetching = DEFAULT_FETCHING) -> Fetched:
    """Find or download a checkpoint, and compare it with its pin.

    A reference that can move (a branch, a URL) is resolved once and pinned in the lock file; from
    then on the pin is what loads.

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
        return Fetched(source.path, name=None, card=None, origin=None)
    require_consent(source.card, how)
    is_commit = isinstance(source, HubSource) and source.is_pinned
    pin = pin_of(source.reference, how, is_commit=is_commit)
    file, resolved = _get(source, pin, how)
    if pin is not None:
        check_pin(file, source.reference, pin, how.lock, shards=files_of(file)[1:])
    elif not how.locked:
        add_pin(source.reference, resolved, how)
    origin = source.reference
    if isinstance(source, HubSource):
        origin = f"{source.repo}@{resolved.commit}"
    return Fetched(file, source.name, source.card, origin)


def _get(source: HubSource | UrlSource, pin: Pin | None, how: Fetching) -> tuple[Path, Pin]:
    """The file that a source stands for, and its pin: the one it has, or one of what came."""
    if isinstance(source, UrlSource):
        file = download(source.url, anew=how.update, progress=how.progress)
        return file, pin or Pin(None, source.file, file.stat().st_size, sha256_of(file))
    from . import hugging_face  # imports the hub's client, which a local file does not need

    if pin is not None and pin.commit:
        return hugging_face.get_pinned(source.repo, pin.commit, pin.file), pin
    return hugging_face.resolve_and_get(source)
