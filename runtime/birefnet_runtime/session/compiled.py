"""Compiled forms: a graph as ONNX Runtime optimized it here, opened without optimizing it again.

Most of the time in which a session opens goes into rewriting the graph for this processor and into
packing its weights. Both are done once; the result is written to the cache, the packed weights in a
file of their own that later sessions map into memory and share. A form is kept only if it answers
exactly as the session that made it.
"""

import os
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.errors import CacheError, OnnxFileError
from birefnet_models.onnx_file import OnnxFile, read_onnx
from birefnet_models.remembered import SMALLEST_BYTES, graph_sha256
from birefnet_models.text import first_line
from numpy.typing import NDArray

from ..errors import ModelError
from ..machine.limits import usable_cores
from ..machine.processor import read_processor
from . import compiled_store as store
from .compiled_store import CompiledKey
from .inference_session import start
from .memory_limit import PROGRAM_BYTES
from .ort_errors import onnxruntime_errors
from .providers.options import Cpu, Provider
from .providers.ort_options import SessionPlan, plan_session

SWITCH = "BIREFNET_COMPILED"
"""The environment variable that switches compiled forms off: `0`, `off` or `no`."""
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


def is_switched_off() -> bool:
    """Whether the user's environment says so."""
    return os.environ.get(SWITCH, "").lower() in {"0", "off", "no", "false"}


def start_compiled(
    path: Path,
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
        key = compiled_key(path, plan)
        if (session := _kept(key, path, provider, plan)) is not None:
            return session
        model = read_onnx(path)
        feed = _sample(model)
        size = store.total_bytes(model)
        fits = PROGRAM_BYTES + MAKING * size <= most_bytes
        if feed and fits and size >= SMALLEST_BYTES:
            with store.alone(key):  # whoever waited here finds it made
                kept = _kept(key, path, provider, plan)
                return kept or _made(key, model, provider, plan, feed)
    except (OSError, CacheError, OnnxFileError, ModelError, store.RefusedError):
        pass
    return start(path, provider, plan, verbose=verbose)


def compile_ahead(path: Path, cpu: Cpu) -> Path:
    """Make a file's form, unless one is kept, and say where it lies.

    Raises:
        ModelError: the file can't be loaded, or no form of it can be kept.
    """
    plan = plan_session(cpu, usable_cores())
    start_compiled(path, cpu, plan, verbose=False)
    try:
        if (form := store.find(compiled_key(path, plan), path)) is not None:
            return form
        reason = (
            f"it is small, or runs at one size only, or {store.root()} can't be written or has no "
            "room for it"
        )
    except store.RefusedError:
        reason = "it doesn't answer exactly as the graph does"
    except (OSError, CacheError) as error:
        reason = f"the cache can't be used: {first_line(error)}"
    raise ModelError(f"{path}: no compiled form is kept: {reason}; it opens as it is")


def compiled_key(path: Path, plan: SessionPlan) -> CompiledKey:
    """The key of a file's form under a plan, in this environment.

    Raises:
        OSError: the file can't be read.
    """
    import onnxruntime

    processor = read_processor()
    return CompiledKey(
        graph=graph_sha256(path),
        onnxruntime=f"{onnxruntime.__version__} {onnxruntime.get_build_info()}",
        processor=f"{processor.model}, {' '.join(processor.flags)}",
        settings={
            name: value
            for name, value in {**plan.entries, **plan.attributes}.items()
            if name not in _OF_RUNS
        },
    )


def _kept(key: CompiledKey, path: Path, provider: Provider, plan: SessionPlan) -> Any | None:
    """A session on the form that is kept; None if there is none that opens."""
    form = store.find(key, path)
    if form is None:
        return None
    try:
        return _open(form, provider, plan)
    except ModelError:
        store.discard(key)
        return None


def _made(
    key: CompiledKey,
    model: OnnxFile,
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
        session = start(model.path, provider, writing, verbose=False)
        store.keep(folder, key, model, refused=not _same(session, form, provider, plan, feed))
        return session


def _open(form: Path, provider: Provider, plan: SessionPlan) -> Any:
    import onnxruntime

    off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    attributes = {**plan.attributes, "graph_optimization_level": off}
    return start(form, provider, replace(plan, attributes=attributes), verbose=False)


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
