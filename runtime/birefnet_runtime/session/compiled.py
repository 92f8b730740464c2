"""Compiled forms: a graph as ONNX Runtime optimized it here, opened without optimizing it again.

Most of the time in which a session opens goes into rewriting the graph for this processor and into
packing its weights. Both are done once; the result is written to the cache, the packed weights in a
file of their own that later sessions map into memory and share. A form is kept only if it answers
exactly as the session that made it. One that fails to run later, or answers wrong, is forgotten,
and the graph opened in its place.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from birefnet_models.base.errors import CacheError, OnnxFileError
from birefnet_models.base.hashes import SMALLEST_BYTES
from birefnet_models.base.store import Entry, RefusedError, Store
from birefnet_models.base.text import first_line

from ..errors import ModelError
from ..machine import read_processor, usable_cores
from ..model.locate import ModelFile, as_model_file
from .acceptance import settings_of
from .judge import same_answers
from .memory import PROGRAM_BYTES
from .ort_errors import onnxruntime_errors
from .ort_options import SessionPlan, plan_session
from .ort_session import start
from .providers import Cpu, Provider

FORMS = Store("compiled", limit_bytes=6 << 30)
COMPILED_MODEL = "model.onnx"
COMPILED_WEIGHTS = "model.onnx_data"
COMPILED_FORMAT = 2
"""Raised when what is in a form's folder changes its meaning."""
MAKING = 3.5
"""Bytes per byte of weights that the process holds at most while a form is made, from above
(benchmarks/results/cold_start.json): the session's, what is written, and the form that is tried."""
UNLIKE = "it doesn't answer exactly as the graph does"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledKey:
    """All that a compiled form depends on, beside weights whose file isn't called as the graph."""

    graph: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    onnxruntime: str
    """Its version and build."""
    processor: str
    """Its name, its kind and its instructions."""
    settings: Mapping[str, object]
    """Of the session: what ONNX Runtime optimizes with."""
    format: int = COMPILED_FORMAT


class CompiledStart:
    """Opens a model's sessions on the form that is kept of it, or on the file, whose form is then
    kept.

    None is made where that might take the process beyond `most_bytes`, of small graphs, and of
    those of one size, at which comparing might take minutes. Where nothing can be written, or the
    form isn't to be had for any other reason, it is as if there were no forms.
    """

    def __init__(
        self,
        model: ModelFile,
        provider: Provider,
        plan: SessionPlan,
        *,
        most_bytes: float = inf,
        verbose: bool = False,
    ) -> None:
        self._model = model
        self._provider = provider
        self._plan = plan
        self._most_bytes = most_bytes
        self._verbose = verbose
        self._key: CompiledKey | None = None
        self._is_used = False
        self._making: Any = None

    def __call__(self) -> Any:
        """Open one.

        Raises:
            ModelError: the file can't be loaded.
        """
        self._is_used, self._making = False, None
        try:
            session = self._on_kept(self.find()) or self._on_kept(self._make())
        except (OSError, CacheError, OnnxFileError):
            session = None
        # The session that made a form is as good as the form.
        return session or self._making or self.open()

    def _on_kept(self, entry: Entry | None) -> Any | None:
        """A session on a form; None if there is none that opens."""
        if entry is None or entry.refused is not None or self._making is not None:
            return None
        try:
            session = self._on_form(entry.folder)
        except ModelError:
            FORMS.discard(self._key)
            return None
        self._is_used = True
        return session

    def find(self) -> Entry | None:
        """The form that is kept, of the weights that the model has now; it may be a refused one.

        Raises:
            OSError, CacheError: the cache or the model can't be read.
        """
        self._key = compiled_key(self._model, self._plan)
        entry = FORMS.find(self._key)
        if entry is None or entry.refused is not None:
            return entry
        folder, weights = self._model.path.parent, entry.facts["weights"]
        if any(self._model.sha256_of(folder / name) != sha for name, sha in weights.items()):
            FORMS.discard(self._key)
            return None
        return entry

    def open(self) -> Any:
        """Open the file itself."""
        self._is_used = False
        return start(self._model, self._provider, self._plan, verbose=self._verbose)

    def is_used(self) -> bool:
        """Whether what was opened last is a form."""
        return self._is_used

    def discard(self, why: str) -> None:
        """Remove the form, and make none again."""
        if self._key is not None:
            FORMS.refuse(self._key, why)

    def _make(self) -> Entry | None:
        """Make the form, while a session on the file is opened; None where none is to be made."""
        size = total_bytes(self._model)
        is_free = any(
            isinstance(side, str)
            for port in self._model.graph.inputs[:1]
            for side in (port.shape or ())[1:]
        )
        fits = PROGRAM_BYTES + MAKING * size <= self._most_bytes
        fits = fits and len(self._plan.providers) == 1  # ONNX Runtime's own kernels alone
        if not (is_free and fits and size >= SMALLEST_BYTES):
            return None
        return FORMS.make(self._key, self._fill)

    def _fill(self, folder: Path) -> Mapping[str, Any]:
        # Prepacked weights took 1.6 times the model's own; the rest is left to others.
        if shutil.disk_usage(folder).free < 3 * total_bytes(self._model) + (1 << 30):
            raise OSError("the disk is nearly full")
        entries = {
            "session.optimized_model_external_initializers_file_name": COMPILED_WEIGHTS,
            "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
            "session.save_external_prepacked_constant_initializers": "1",
        }
        plan = self._plan
        writing = replace(
            plan,
            entries={**plan.entries, **entries},
            attributes={
                **plan.attributes,
                "optimized_model_filepath": str(folder / COMPILED_MODEL),
            },
        )
        self._making = start(self._model, self._provider, writing, verbose=False)
        try:
            same = same_answers(self._making, self._on_form(folder), self._model)
        except onnxruntime_errors(ModelError, RuntimeError, ValueError):
            same = False
        if not same:
            raise RefusedError(UNLIKE)
        names = self._model.graph.external_files
        weights = {name: self._model.sha256_of(self._model.path.parent / name) for name in names}
        return {"model": str(self._model.path.absolute()), "weights": weights}

    def _on_form(self, folder: Path) -> Any:
        import onnxruntime

        off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        plan = replace(
            self._plan, attributes={**self._plan.attributes, "graph_optimization_level": off}
        )
        return start(ModelFile(folder / COMPILED_MODEL), self._provider, plan, verbose=False)


def compile_ahead(file: str | os.PathLike[str], cpu: Cpu) -> Path:
    """Make a file's form, unless one is kept, and say where it lies.

    Raises:
        ModelError: the file can't be loaded, or no form of it can be kept.
    """
    model = as_model_file(file)
    opening = CompiledStart(model, cpu, plan_session(cpu, usable_cores()))
    opening()
    try:
        entry = opening.find()
        if entry is not None and entry.refused is None:
            return entry.folder / COMPILED_MODEL
        reason = (entry and entry.refused) or (
            f"it is small, or runs at one size only, or {FORMS.root} can't be written or has no "
            "room for it"
        )
    except (OSError, CacheError) as error:
        reason = f"the cache can't be used: {first_line(error)}"
    raise ModelError(f"{model.path}: no compiled form is kept: {reason}; it opens as it is")


def compiled_key(model: ModelFile, plan: SessionPlan) -> CompiledKey:
    """The key of a file's form under a plan, in this environment.

    Raises:
        OSError: the file can't be read.
    """
    import onnxruntime

    return CompiledKey(
        graph=model.sha256,
        onnxruntime=f"{onnxruntime.__version__} {onnxruntime.get_build_info()}",
        processor=read_processor().key,
        settings=settings_of(plan),
    )


def total_bytes(model: ModelFile) -> int:
    """Of a graph and of the files beside it that hold its weights.

    Raises:
        OSError: one is not there.
    """
    weights = (model.path.parent / name for name in model.graph.external_files)
    return sum(file.stat().st_size for file in (model.path, *weights))
