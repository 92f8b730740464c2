"""The lock file: which commit, size and hash a reference stood for when it was first resolved.

    {
      "version": 1,
      "pins": {
        "ZhengPeng7/BiRefNet_lite@main": {
          "commit": "aa62cd87…",
          "file": "model.safetensors",
          "size": 177634392,
          "sha256": "4417d897…"
        }
      }
    }

The key is what was asked for: `REPO@REVISION` for a checkpoint, with `:FILE` behind it where one
file was named, `REPO@REVISION:onnx` or `:PRECISION` for a ready-made model, or the URL of a file,
which has no commit. `FetchOptions` says how a file is fetched and pinned.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .base.errors import LicenseError, PinError
from .base.files import exclusive, replacing
from .base.hashes import sha256_of
from .base.names import stays_inside
from .zoo import ModelCard

LOCK_FILE = Path("birefnet.lock")
"""In the working directory, to be checked in beside the code that uses the model."""
_VERSION = 1
_MOST_CHARACTERS = 16 << 20
"""Of a lock file; 40,000 pins."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The file that a reference stood for when it was resolved."""

    commit: str | None
    """The hub's commit, 40 hexadecimal digits; None for a URL."""
    file: str
    """Its name in the repository, or at the end of the URL."""
    size: int
    """In bytes, with the shards if it is an index, with the weights beside it if it is a graph."""
    sha256: str
    """Of its content; of an index or a graph, with that of those files behind it."""


def read_lock(path: Path) -> dict[str, Pin]:
    """The pins of a lock file, by reference; none if there is no such file.

    Raises:
        PinError: the file can't be read, or is no lock file of a known version.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            content = json.loads(stream.read(_MOST_CHARACTERS))
        version = content["version"]
        if isinstance(version, int) and not isinstance(version, bool) and version > _VERSION:
            raise PinError(
                f"{path}: lock file of version {version}; this birefnet-ort knows "
                f"{_VERSION}, a newer one may be needed"
            )
        if version != _VERSION or isinstance(version, bool):
            raise ValueError(f"version {version}")
        return {reference: pin_from(entry) for reference, entry in content["pins"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PinError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PinError(
            f"{path}: is not a lock file, or a damaged one; restore it, or delete it to pin again"
        ) from error


def write_pin(path: Path, reference: str, pin: Pin) -> None:
    """Add or move one pin; the others stay, and the order is that of the references.

    Raises:
        PinError: the file that is there can't be read, or the new one can't be written.
    """
    try:
        with exclusive(path.with_name(f".{path.name}.busy")):  # another process may add one, too
            write_lock(path, {**read_lock(path), reference: pin})
    except OSError as error:
        raise PinError(f"{path}: can't be written: {error.strerror}") from error


def write_lock(path: Path, pins: Mapping[str, Pin]) -> None:
    """Write a lock file of these pins and no others.

    Raises:
        OSError: it can't be written.
    """
    content = {"version": _VERSION, "pins": {key: asdict(pins[key]) for key in sorted(pins)}}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_pin(
    file: Path, reference: str, pin: Pin, lock: Path | str, shards: Sequence[Path] = ()
) -> None:
    """Compare a file, and the shards that it lists, with its pin.

    Raises:
        PinError: it has another content; the message shows both hashes.
    """
    sha256 = sha256_of(file, *shards)
    if sha256 != pin.sha256:
        raise PinError(
            f"{file} is not what {lock} pins for {reference}: it has sha256 {sha256}, pinned is "
            f"{pin.sha256}; delete the file to fetch it again, or move the pin with --update"
        )


def pin_from(entry: Mapping[str, object]) -> Pin:
    """A pin as JSON holds it.

    Raises:
        ValueError, KeyError: it lacks something, or holds what a pin doesn't.
    """
    commit, file, size, sha256 = (entry[key] for key in ("commit", "file", "size", "sha256"))
    if not (
        (commit is None or (isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{40}", commit)))
        and isinstance(file, str)
        and stays_inside(file)
        and isinstance(size, int)
        and not isinstance(size, bool)
        and size >= 0
        and isinstance(sha256, str)
        and re.fullmatch(r"[0-9a-f]{64}", sha256)
    ):
        raise ValueError("a pin without commit, file, size or sha256")
    return Pin(commit, file, size, sha256)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How checkpoints and ready-made models are fetched and pinned."""

    lock: Path = LOCK_FILE
    """The lock file; made when the first reference is pinned."""
    locked: bool = False
    """Refuse what the lock file does not pin, and leave it as it is."""
    update: bool = False
    """Resolve again, and move the pin."""
    accept_license: bool = False
    """The terms of a model that has some are accepted."""
    say: Callable[[str], None] | None = None
    """Called with a line of text for each file that is fetched, each pin that is written and for
    terms that hold."""
    progress: Callable[[int, int | None], None] | None = None
    """Called after each piece of a file with the bytes that have come, and of how many (None: the
    server does not say)."""
    step: Callable[[str], None] | None = None
    """Called with a line for each step of what is made of a fetched file."""


DEFAULT_OPTIONS = FetchOptions()
"""Pins in `birefnet.lock`, without messages."""


def pin_of(reference: str, how: FetchOptions, *, is_commit: bool) -> Pin | None:
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


def add_pin(reference: str, pin: Pin, how: FetchOptions) -> None:
    """Write what a reference stands for into the lock file, and say so.

    Raises:
        PinError: it can't be written.
    """
    write_pin(how.lock, reference, pin)
    if how.say:
        where = f" at commit {pin.commit}" if pin.commit else ""
        how.say(f"pinned {reference}{where}, sha256 {pin.sha256}, in {how.lock}")


def require_consent(card: ModelCard | None, how: FetchOptions) -> None:
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
