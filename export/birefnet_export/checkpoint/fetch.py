"""Find or download a checkpoint, and compare it with its pin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.card import ModelCard
from birefnet_models.download import Progress, download
from birefnet_models.errors import LicenseError, PinError
from birefnet_models.lock import LOCK_FILE, Pin, check_pin, read_lock, sha256_of, write_pin

from .shards import files_of
from .source import HubSource, LocalSource, UrlSource, parse_source


@dataclass(frozen=True, slots=True)
class Fetching:
    """How checkpoints are fetched and pinned."""

    lock: Path = LOCK_FILE
    """The lock file; made when the first reference is pinned."""
    locked: bool = False
    """Refuse what the lock file does not pin, and leave it as it is."""
    update: bool = False
    """Resolve anew, and move the pin."""
    accept_license: bool = False
    """The terms of a model that has some are accepted."""
    say: Callable[[str], None] | None = None
    """Called with a line of text for each pin that is written and for terms that hold."""
    progress: Progress | None = None
    """Called after each piece of a release file; the hub's client shows its own progress."""


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


DEFAULT_FETCHING = Fetching()
"""Pins in `birefnet.lock`, without messages."""


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
    if how.locked and how.update:
        raise PinError("--locked leaves the lock file as it is and --update moves a pin; give one")
    if source.card is not None and source.card.terms:
        _require_consent(source.card, how)
    pin = None if how.update else read_lock(how.lock).get(source.reference)
    if pin is None and how.locked and not (isinstance(source, HubSource) and source.is_pinned):
        raise PinError(
            f"{source.reference} is not pinned in {how.lock}, and --locked refuses what is not; "
            "run once without it and check the lock file in"
        )
    file, resolved = _get(source, pin, how)
    if pin is not None:
        check_pin(file, source.reference, pin, how.lock, shards=files_of(file)[1:])
    elif not how.locked:
        write_pin(how.lock, source.reference, resolved)
        if how.say:
            where = f" at commit {resolved.commit}" if resolved.commit else ""
            how.say(f"pinned {source.reference}{where}, sha256 {resolved.sha256}, in {how.lock}")
    origin = source.reference
    if isinstance(source, HubSource):
        origin = f"{source.repo}@{resolved.commit}"
    return Fetched(file, source.name, source.card, origin)


def _require_consent(card: ModelCard, how: Fetching) -> None:
    terms = f"{card.name} ({card.id}) has the license {card.license}: {card.terms}"
    if not how.accept_license:
        raise LicenseError(f"{terms}; accept that with --accept-license")
    if how.say:
        how.say(f"{terms}; accepted")


def _get(source: HubSource | UrlSource, pin: Pin | None, how: Fetching) -> tuple[Path, Pin]:
    """The file that a source stands for, and its pin: the one it has, or one of what came."""
    if isinstance(source, UrlSource):
        file = download(source.url, anew=how.update, progress=how.progress)
        return file, pin or Pin(None, source.file, file.stat().st_size, sha256_of(file))
    from . import hugging_face  # imports the hub's client, which a local file does not need

    if pin is not None and pin.commit:
        return hugging_face.get_pinned(source.repo, pin.commit, pin.file), pin
    return hugging_face.resolve_and_get(source)
