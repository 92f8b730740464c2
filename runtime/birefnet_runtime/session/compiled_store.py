"""Where compiled forms are kept: a folder each, named after all that makes one invalid.

    ROOT/compiled/NAME/model.onnx, model.onnx_data      the form
    ROOT/compiled/NAME/facts.json                       what it was made of, written last

A form that was made of another file, by another version, on another kind of processor or with other
settings has another name and is never looked into; one whose own files or whose model's weights
changed is removed.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from birefnet_models.atomic_write import remove_at_once, temporary_folder
from birefnet_models.cache import cache_root
from birefnet_models.file_lock import exclusive
from birefnet_models.onnx_file import OnnxFile
from birefnet_models.remembered import record_name, remembered_sha256, stamp_of

MODEL = "model.onnx"
WEIGHTS = "model.onnx_data"
FACTS = "facts.json"
FORMAT = 1
"""Of the folder; raised when what is in it changes its meaning."""
LIMIT_BYTES = 6 << 30
"""All forms together; beyond it those go that were not used for longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledKey:
    """All that a compiled form depends on, beside weights whose file isn't called as the graph."""

    graph: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    onnxruntime: str
    """Its version and build."""
    processor: str
    """Its name and its instructions."""
    settings: Mapping[str, object]
    """Of the session: what ONNX Runtime optimizes with."""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Of the folder."""
        return record_name(self)


def root() -> Path:
    """`compiled` in the cache; errors are those of `cache_root`."""
    return cache_root() / "compiled"


class RefusedError(Exception):
    """A form was made of this model and did not answer as its graph does."""


def find(key: CompiledKey, model: Path) -> Path | None:
    """The `.onnx` of the form of a model; None if there is none, or no longer.

    Raises:
        OSError, CacheError: the cache can't be read.
        RefusedError: one was made, and wasn't good.
    """
    folder = root() / key.name
    facts = _read_facts(folder)
    if facts is None:
        return None
    try:
        whole = all(
            tuple(stamp) == stamp_of(folder / name) for name, stamp in facts["files"].items()
        )
        weights = {name: remembered_sha256(model.parent / name) for name in facts["weights"]}
    except OSError:
        return None
    if not whole or weights != facts["weights"]:
        discard(key)
        return None
    if facts["refused"]:
        raise RefusedError
    with suppress(OSError):
        os.utime(folder / FACTS)  # used now
    return folder / MODEL


@contextmanager
def alone(key: CompiledKey) -> Iterator[None]:
    """Let no other process make the same form meanwhile.

    Raises:
        OSError, CacheError: nothing can be written to the cache.
    """
    parent = root()
    parent.mkdir(parents=True, exist_ok=True)
    with exclusive(parent / f"{key.name}.lock"):
        yield


@contextmanager
def room_for(model: OnnxFile) -> Iterator[Path]:
    """A folder to make a form in, which is gone after the block unless it was kept.

    Raises:
        OSError, CacheError: nothing can be written to the cache, or the disk is nearly full.
    """
    parent = root()
    # Prepacked weights took 1.6 times the model's own; the rest is left to others.
    if shutil.disk_usage(parent).free < 3 * total_bytes(model) + (1 << 30):
        raise OSError("the disk is nearly full")
    with temporary_folder(parent) as folder:
        yield folder


def keep(folder: Path, key: CompiledKey, model: OnnxFile, *, refused: bool) -> None:
    """Give a form that was made its name, and bound what all of them take. Of one that is refused
    that alone is kept.

    Raises:
        OSError: it can't be moved there, or written.
    """
    for file in folder.iterdir() if refused else ():
        file.unlink()
    facts = {
        "key": asdict(key),
        "model": str(model.path.absolute()),
        "refused": refused,
        "weights": {
            name: remembered_sha256(model.path.parent / name) for name in model.external_files
        },
        "files": {file.name: stamp_of(file) for file in sorted(folder.iterdir())},
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    discard(key)
    os.rename(folder, folder.parent / key.name)
    _bound(folder.parent, key.name)


def discard(key: CompiledKey) -> None:
    """Remove a form, if it is there and can be removed."""
    with suppress(OSError):
        remove_at_once(root() / key.name)


def total_bytes(model: OnnxFile) -> int:
    """Of a graph and of the files beside it that hold its weights.

    Raises:
        OSError: one is not there.
    """
    weights = (model.path.parent / name for name in model.external_files)
    return sum(file.stat().st_size for file in (model.path, *weights))


def _read_facts(folder: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(facts, dict) and {"files", "weights", "refused"} <= facts.keys()
    return facts if whole else None


def _bound(parent: Path, newest: str) -> None:
    """Remove the forms that were not used for longest while all take more than the limit."""
    used = {}
    for facts in parent.glob(f"*/{FACTS}"):
        with suppress(OSError):
            size = sum(file.stat().st_size for file in facts.parent.iterdir())
            used[facts.parent] = (facts.stat().st_mtime_ns, size)
    total = sum(size for _, size in used.values())
    for folder, (_, size) in sorted(used.items(), key=lambda one: one[1]):
        if total <= LIMIT_BYTES:
            break
        if folder.name != newest:
            with suppress(OSError):
                remove_at_once(folder)
                total -= size
