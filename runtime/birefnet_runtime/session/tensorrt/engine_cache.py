"""Where TensorRT's engines are kept: a directory each, named after all that makes one invalid.

A directory is complete when it holds `facts.json`, which is written last, after the engine's
mask was compared with the CPU's. What was built elsewhere, by another version, for another GPU or
from another graph has another name and is never looked into.
"""

import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from birefnet_models import cache_root
from birefnet_models.atomic_write import replacing
from birefnet_models.remembered import record_name

from ...errors import ProviderError
from ..providers.options import Profile
from .optimization_profile import covers

FACTS = "facts.json"
FORMAT = 1
"""Of the directory; raised when what is in it changes its meaning."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that an engine depends on."""

    graph: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    gpu: str
    compute_capability: str
    tensorrt: str
    onnxruntime: str
    cuda: str
    fp16: bool
    optimization_level: int
    workspace_bytes: int | None
    profile: Profile
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Of the directory."""
        return record_name(self)


def default_root() -> Path:
    """`tensorrt` in the cache of birefnet-ort."""
    return cache_root() / "tensorrt"


def find(root: Path, key: EngineKey) -> tuple[Path, Profile] | None:
    """A complete engine for this key, or one that differs only in a wider profile."""
    exact = root / key.name
    for directory in (exact, *sorted(path for path in root.glob("*") if path != exact)):
        kept = _complete(directory)
        if kept is None or not covers(kept.profile, key.profile):
            continue
        if dataclasses.replace(kept, profile=key.profile) == key:
            return directory, kept.profile
    return None


@contextmanager
def building(root: Path, key: EngineKey) -> Iterator[Path]:
    """A fresh directory to build in. `finish` keeps it; else it is removed.

    Raises:
        ProviderError: nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        directory = root / f".building-{key.name}-{secrets.token_hex(4)}"
        directory.mkdir()
    except OSError as error:
        raise ProviderError(f"{root}: engines can't be kept there: {error.strerror}") from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def finish(directory: Path, key: EngineKey, parity: dict[str, float]) -> Path:
    """Give a built and checked directory its name.

    Returns:
        Where it is now. If another process was faster, that one's stays.
    """
    facts = {"key": dataclasses.asdict(key), "parity": parity}
    with replacing(directory / FACTS) as file:
        file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    target = directory.parent / key.name
    if target.exists() and _complete(target) is None:
        shutil.rmtree(target, ignore_errors=True)
    try:
        os.rename(directory, target)
    except OSError:
        if _complete(target) is None:
            raise
    return target


def _complete(directory: Path) -> EngineKey | None:
    """The key of a directory that holds an engine and is what its name says."""
    try:
        facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    key = _key(facts) if isinstance(facts, dict) else None
    if key is None or key.name != directory.name or not any(directory.glob("*.engine")):
        return None
    return key


def _key(facts: dict[str, Any]) -> EngineKey | None:
    try:
        key = dict(facts["key"])
        shapes = {name: tuple(shape) for name, shape in key.pop("profile").items()}
        return EngineKey(**key, profile=Profile(**shapes))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
