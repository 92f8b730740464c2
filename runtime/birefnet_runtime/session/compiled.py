"""Compiled forms: a graph as ONNX Runtime optimized it here, opened without optimizing it again.

Most of the time in which a session opens goes into rewriting the graph for this processor and into
packing its weights. Both are done once; the result is written to the cache, the packed weights in a
file of their own that later sessions map into memory and share. A form is kept only if it answers
exactly as the session that made it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.base.errors import CacheError, OnnxFileError
from birefnet_models.base.files import cache_root, exclusive, remove_at_once, temporary_folder
from birefnet_models.base.hashes import (
    SMALLEST_BYTES,
    record_name,
    stamp_of,
)
from birefnet_models.base.onnx_file import OnnxFile
from birefnet_models.base.text import first_line
from numpy.typing import NDArray

from ..errors import ModelError
from ..machine import read_processor, usable_cores
from ..model.locate import ModelFile, as_model_file
from . import compiled as store
from .memory import PROGRAM_BYTES
from .ort_errors import onnxruntime_errors
from .ort_options import SessionPlan, plan_session
from .ort_session import start
from .providers import Cpu, Provider

# Where compiled forms are kept: a folder each, named after all that makes one invalid.
#
#     ROOT/compiled/NAME/model.onnx, model.onnx_data      the form
#     ROOT/compiled/NAME/facts.json                       what it was made of, written last
#
# A form that was made of another file, by another version, on another kind of processor or with
# other settings has another name and is never looked into; one whose own files or whose model's
# weights changed is removed.


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


def find(key: CompiledKey, model: ModelFile) -> Path | None:
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
        weights = {name: model.sha256_of(model.path.parent / name) for name in facts["weights"]}
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
def room_for(model: ModelFile) -> Iterator[Path]:
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


def keep(folder: Path, key: CompiledKey, model: ModelFile, *, refused: bool) -> None:
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
            name: model.sha256_of(model.path.parent / name) for name in model.graph.external_files
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


def total_bytes(model: ModelFile) -> int:
    """Of a graph and of the files beside it that hold its weights.

    Raises:
        OSError: one is not there.
    """
    weights = (model.path.parent / name for name in model.graph.external_files)
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


MAKING = 3.5
"""Bytes per byte of weights that the process holds at most while a form is made, from above
(benchmarks/results/cold_start.json): the session's, what is written, and the form that is tried."""
SIDE = 128
"""Height and width at which a form is compared with its graph: every network runs at it."""
_OF_RUNS = {
    "intra_op_num_threads", "inter_op_num_threads", "enable_mem_pattern", "enable_cpu_mem_arena",
    "session.intra_op.allow_spinning", "session.use_env_allocators",
    "session.record_ep_graph_assignment_info",
}  # fmt: skip
"""Settings that no optimization looks at: forms are the same with any."""


def start_compiled(
    model: ModelFile,
    provider: Provider,
    plan: SessionPlan,
    *,
    most_bytes: float = inf,
    verbose: bool,
) -> Any:
    """Open a session on the form that is kept of a file, or on the file, whose form is then kept.

    None is made where that might take the process beyond `most_bytes`. Where nothing can be
    written, or the form isn't to be had for any other reason, it is as if there were no forms.

    Raises:
        ModelError: the file can't be loaded.
    """
    try:
        key = compiled_key(model, plan)
        if (session := _kept(key, model, provider, plan)) is not None:
            return session
        feed = _sample(model.graph)
        size = store.total_bytes(model)
        fits = PROGRAM_BYTES + MAKING * size <= most_bytes
        if feed and fits and size >= SMALLEST_BYTES:
            with store.alone(key):  # whoever waited here finds it made
                kept = _kept(key, model, provider, plan)
                return kept or _made(key, model, provider, plan, feed)
    except (OSError, CacheError, OnnxFileError, ModelError, store.RefusedError):
        pass
    return start(model, provider, plan, verbose=verbose)


def compile_ahead(file: str | os.PathLike[str], cpu: Cpu) -> Path:
    """Make a file's form, unless one is kept, and say where it lies.

    Raises:
        ModelError: the file can't be loaded, or no form of it can be kept.
    """
    plan = plan_session(cpu, usable_cores())
    model = as_model_file(file)
    start_compiled(model, cpu, plan, verbose=False)
    try:
        if (form := store.find(compiled_key(model, plan), model)) is not None:
            return form
        reason = (
            f"it is small, or runs at one size only, or {store.root()} can't be written or has no "
            "room for it"
        )
    except store.RefusedError:
        reason = "it doesn't answer exactly as the graph does"
    except (OSError, CacheError) as error:
        reason = f"the cache can't be used: {first_line(error)}"
    raise ModelError(f"{model.path}: no compiled form is kept: {reason}; it opens as it is")


def compiled_key(model: ModelFile, plan: SessionPlan) -> CompiledKey:
    """The key of a file's form under a plan, in this environment.

    Raises:
        OSError: the file can't be read.
    """
    import onnxruntime

    processor = read_processor()
    return CompiledKey(
        graph=model.sha256,
        onnxruntime=f"{onnxruntime.__version__} {onnxruntime.get_build_info()}",
        processor=f"{processor.model}, {' '.join(processor.flags)}",
        settings={
            name: value
            for name, value in {**plan.entries, **plan.attributes}.items()
            if name not in _OF_RUNS
        },
    )


def _kept(key: CompiledKey, model: ModelFile, provider: Provider, plan: SessionPlan) -> Any | None:
    """A session on the form that is kept; None if there is none that opens."""
    form = store.find(key, model)
    if form is None:
        return None
    try:
        return _open(form, provider, plan)
    except ModelError:
        store.discard(key)
        return None


def _made(
    key: CompiledKey,
    model: ModelFile,
    provider: Provider,
    plan: SessionPlan,
    feed: dict[str, NDArray[Any]],
) -> Any:
    """A session on the file, whose form is made by the way, and kept if it answers the same."""
    with store.room_for(model) as folder:
        form = folder / store.MODEL
        entries = {
            "session.optimized_model_external_initializers_file_name": store.WEIGHTS,
            "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
            "session.save_external_prepacked_constant_initializers": "1",
        }
        writing = replace(
            plan,
            entries={**plan.entries, **entries},
            attributes={**plan.attributes, "optimized_model_filepath": str(form)},
        )
        session = start(model, provider, writing, verbose=False)
        store.keep(folder, key, model, refused=not _same(session, form, provider, plan, feed))
        return session


def _open(form: Path, provider: Provider, plan: SessionPlan) -> Any:
    import onnxruntime

    off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    attributes = {**plan.attributes, "graph_optimization_level": off}
    return start(ModelFile(form), provider, replace(plan, attributes=attributes), verbose=False)


def _same(
    session: Any, form: Path, provider: Provider, plan: SessionPlan, feed: dict[str, NDArray[Any]]
) -> bool:
    """Whether a form answers as its graph does, bit by bit, and says the same of itself."""
    try:
        other = _open(form, provider, plan)
        answers = zip(session.run(None, feed), other.run(None, feed), strict=True)
    except onnxruntime_errors(ModelError, RuntimeError, ValueError):
        return False
    facts = session.get_modelmeta().custom_metadata_map
    return facts == other.get_modelmeta().custom_metadata_map and all(
        np.array_equal(one, another, equal_nan=True) for one, another in answers
    )


def _sample(model: OnnxFile) -> dict[str, NDArray[Any]]:
    """Noise for a graph's one image input; none for a graph of one size, at which comparing might
    take minutes, or for one that takes something else."""
    noise = np.random.default_rng(0)
    for image in model.inputs if len(model.inputs) == 1 else ():
        match image.dtype, image.shape:
            case "uint8", (_, str(), str(), 3):
                return {image.name: noise.integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)}
            case "float32" | "float16", (_, 3, str(), str()):
                pixels = noise.standard_normal((1, 3, SIDE, SIDE))
                return {image.name: pixels.astype(image.dtype)}
    return {}
