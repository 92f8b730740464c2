"""How files are fetched, and the pins that say what a reference stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import LicenseError, PinError
from ..pins import LOCK_FILE, Pin, read_lock, write_pin
from ..zoo import ModelCard

if TYPE_CHECKING:
    from ..http.download import Progress


@dataclass(frozen=True, slots=True)
class Fetching:
    """How checkpoints and ready-made models are fetched and pinned."""

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
    """Called after each piece of a file that is fetched; of a checkpoint on the hub its own client
    shows the progress."""


DEFAULT_FETCHING = Fetching()
"""Pins in `birefnet.lock`, without messages."""


def pin_of(reference: str, how: Fetching, *, is_commit: bool) -> Pin | None:
    """What the lock file says that a reference stands for; None where it is to be resolved.

    Args:
        reference: as the lock file has it.
        how: where the pins are, and whether they may be added or moved.
        is_commit: it names a commit in full, which can't come to mean something else.

    Raises:
        PinError: it is not pinned and `how` says locked; or the lock file can't be read.
    """
    if how.locked and how.update:
        raise PinError("--locked leaves the lock file as it is and --update moves a pin; give one")
    pin = None if how.update else read_lock(how.lock).get(reference)
    if pin is None and how.locked and not is_commit:
        raise PinError(
            f"{reference} is not pinned in {how.lock}, and --locked refuses what is not; "
            "run once without it and check the lock file in"
        )
    return pin


def add_pin(reference: str, pin: Pin, how: Fetching) -> None:
    """Write what a reference stands for into the lock file, and say so.

    Raises:
        PinError: it can't be written.
    """
    write_pin(how.lock, reference, pin)
    if how.say:
        where = f" at commit {pin.commit}" if pin.commit else ""
        how.say(f"pinned {reference}{where}, sha256 {pin.sha256}, in {how.lock}")


def require_consent(card: ModelCard | None, how: Fetching) -> None:
    """Go on only if the terms of a model, where it has some, were accepted.

    Raises:
        LicenseError: they were not.
    """
    if card is None or not card.terms:
        return
    terms = f"{card.name} ({card.id}) has the license {card.license}: {card.terms}"
    if not how.accept_license:
        raise LicenseError(f"{terms}; accept that with --accept-license")
    if how.say:
        how.say(f"{terms}; accepted")
