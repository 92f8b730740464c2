"""From models as they are typed to their setups: exports, ready-made graphs, PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from birefnet_export.checkpoint.fetch import fetch
from birefnet_models.base.names import CHECKPOINT_SUFFIXES
from birefnet_models.base.onnx_file import read_onnx
from birefnet_models.base.text import format_seconds, printable
from birefnet_models.cache import MODEL_OF_PRECISION
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_runtime.model.locate import find_model
from birefnet_runtime.model.metadata import DEFAULT_SIZE
from birefnet_runtime.model.size import parse_height_width

from ..errors import BenchmarkError
from ..pytorch.remote_source import REMOTE_PREFIX, consented_source
from .measure.timing import Clock
from .workloads import BenchModel, Setup, graph_setup, pytorch_setup

COMMAND = "from birefnet_apps.cli.main import main; main()"
"""`birefnet`, for `python -c`."""


@dataclass(frozen=True, slots=True)
class Export:
    """One way to export a checkpoint."""

    lowering: str
    precision: str


@dataclass(frozen=True, slots=True)
class Int8Options:
    """Options of `birefnet export` that concern int8 alone."""

    calibrate: Path | None = None
    """A folder of images."""
    min_iou: float | None = None


def exports_of(lowerings: Sequence[str], precisions: Sequence[str]) -> tuple[Export, ...]:
    """Every lowering in the first precision, and every further precision in the first lowering.

    Measuring their product would spend most of the time on combinations that nobody compares.
    """
    across = [Export(lowering, precisions[0]) for lowering in lowerings]
    down = [Export(lowerings[0], precision) for precision in precisions[1:]]
    return tuple(across + down)


def export_graph(checkpoint: Path, export: Export, folder: Path, int8: Int8Options) -> Path:
    """Export a checkpoint; returns the `.onnx` file.

    It is not verified here: its configurations are compared with PyTorch anyway.

    Raises:
        BenchmarkError: the export failed; with its own message.
    """
    directory = folder / f"{export.lowering}-{export.precision}"
    options = ["--lowering", export.lowering, "--precision", export.precision]
    if export.precision == "int8":
        options += ["--calibrate", str(int8.calibrate)] if int8.calibrate else []
        options += ["--min-iou", str(int8.min_iou)] if int8.min_iou is not None else []
    return Path(export_by_command(checkpoint, directory, *options)["file"])


def export_by_command(
    checkpoint: Path, directory: Path, *options: str, verify: bool = False
) -> dict[str, Any]:
    """Run `birefnet export` in a process of its own; returns its `--json` report.

    Raises:
        BenchmarkError: the export failed; with its own message.
    """
    arguments = ("export", str(checkpoint), "-o", str(directory), *options, "--json")
    verified = "--verify" if verify else "--no-verify"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, verified], capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(last.removeprefix("birefnet: "))
    report: dict[str, Any] = json.loads(done.stdout)
    return report


Log = Callable[[str], None]
"""Takes a line for the person who waits."""


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is to be measured, as typed."""

    models: tuple[str, ...]
    against: str | None = None
    """A checkpoint, or `transformers:REPO@REVISION`."""
    pytorch: tuple[str, ...] = ("eager",)
    providers: tuple[str, ...] = ("cpu",)
    lowerings: tuple[str, ...] = ("rows",)
    precisions: tuple[str, ...] | None = None
    """None: fp32 of a checkpoint, and a graph as it is."""
    int8: Int8Options = field(default_factory=Int8Options)
    trust_remote_code: bool = False
    backends: tuple[str, ...] = ()
    """`MODULE:CLASS` of further backends, which are given the checkpoint, else the graph."""
    fetching: FetchOptions = field(default=DEFAULT_OPTIONS)


def bench_models(
    request: BenchRequest, scratch: Path, log: Log, clock: Clock
) -> tuple[BenchModel, ...]:
    """The models with their setups, the baseline's first.

    With a reference all become one model, whose setups are compared with the reference. Without
    one, each model is compared with its own first setup, a checkpoint with itself in PyTorch.

    Raises:
        BenchmarkError: the request makes no sense.
        BirefnetError: a model or checkpoint that isn't there.
    """
    try:
        models = [_graphs(model, request, scratch, log, clock) for model in request.models]
        reference = None if request.against is None else _reference(request, request.against)
    except OSError as error:
        raise BenchmarkError(f"{error.filename}: can't be read: {error.strerror}") from error
    if reference is None:
        named = _told_apart(models, request.models)
        return tuple(_with_pytorch(model, request) for model in named)
    checkpoint = next((m.checkpoint for m in (reference, *models) if m.checkpoint), None)
    setups = tuple(setup for model in models for setup in model.setups)
    return (_with_pytorch(BenchModel(reference.name, setups, checkpoint), request, reference),)


def _told_apart(models: Sequence[BenchModel], typed: Sequence[str]) -> list[BenchModel]:
    """The models, those that have one name called as they were typed.

    Raises:
        BenchmarkError: two were typed alike.
    """
    if twice := [text for text, count in Counter(typed).items() if count > 1]:
        raise BenchmarkError(f"asked twice for {printable(twice[0])}")
    often = Counter(model.name for model in models)
    return [
        replace(model, name=text) if often[model.name] > 1 else model
        for model, text in zip(models, typed, strict=True)
    ]


def _with_pytorch(
    model: BenchModel, request: BenchRequest, reference: BenchModel | None = None
) -> BenchModel:
    """The reference first, then PyTorch on the checkpoint, then graphs, then other backends."""
    checkpoint = model.checkpoint
    pytorch = [pytorch_setup(mode, checkpoint) for mode in request.pytorch] if checkpoint else []
    source = str(checkpoint) if checkpoint else model.setups[0].source
    others = [Setup(name, "", "fp32", ("cpu",), source) for name in request.backends]
    first = reference.setups if reference else ()
    return BenchModel(model.name, (*first, *pytorch, *model.setups, *others), checkpoint)


def _reference(request: BenchRequest, against: str) -> BenchModel:
    """The model of `--against`: a checkpoint, or a repository's own code as a setup."""
    if not against:
        raise BenchmarkError("--against names nothing; give a checkpoint")
    if not against.startswith(REMOTE_PREFIX):
        checkpoint = fetch(against, request.fetching)
        return BenchModel(checkpoint.name or _name(checkpoint.path), (), checkpoint.path)
    source = consented_source(against, request.trust_remote_code)
    setup = Setup("pytorch", "transformers", "fp32", ("cpu",), against)
    return BenchModel(str(source), (setup,), None)


def _graphs(model: str, request: BenchRequest, scratch: Path, log: Log, clock: Clock) -> BenchModel:
    """A model's graphs, exported where it is a checkpoint."""
    path = Path(model)
    if _is_checkpoint(path):
        return BenchModel(_name(path), _exported(path, request, scratch, log, clock), path)
    if request.precisions is None:
        files = [find_model(model, request.fetching).path]
    elif path.is_dir():
        files = [find_model(path / MODEL_OF_PRECISION[name]).path for name in request.precisions]
    else:
        named = [f"{model}:{name}" for name in request.precisions]
        files = [find_model(name, request.fetching).path for name in named]
    return BenchModel(
        path.stem, tuple(graph_setup(file, request.providers) for file in files), None
    )


def _exported(
    checkpoint: Path, request: BenchRequest, scratch: Path, log: Log, clock: Clock
) -> tuple[Setup, ...]:
    """Every export of a checkpoint; one that fails is a setup with a problem."""
    setups = []
    folder = scratch / _name(checkpoint)
    for export in exports_of(request.lowerings, request.precisions or ("fp32",)):
        log(f"exporting {checkpoint}: {export.lowering}, {export.precision}")
        started = clock()
        try:
            file = export_graph(checkpoint, export, folder, request.int8)
        except BenchmarkError as error:
            log(f"  {error}")
            kind = ("onnxruntime", export.lowering, export.precision, request.providers)
            setups.append(Setup(*kind, str(checkpoint), problem=str(error)))
            continue
        log(f"  took {format_seconds(clock() - started)}")
        setups.append(graph_setup(file, request.providers))
    return tuple(setups)


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        return not any(path.rglob("*.onnx")) and any(
            file.suffix in CHECKPOINT_SUFFIXES for file in path.iterdir()
        )
    return path.suffix in CHECKPOINT_SUFFIXES and path.is_file()


def _name(path: Path) -> str:
    """A checkpoint's name: its file's, or its folder's where the file has a generic name."""
    return path.parent.name if path.stem in ("model", "pytorch_model") else path.stem


def trained_size(model: BenchModel) -> tuple[int, int]:
    """The size at which the first graph was trained, or to which it is fixed: (height, width)."""
    for setup in model.setups:
        if setup.backend != "onnxruntime" or setup.problem:
            continue
        graph = read_onnx(Path(setup.source))
        if text := graph.properties.get("birefnet.trained_size"):
            return parse_height_width(text)
        shape = graph.inputs[0].shape if graph.inputs else None
        if shape and len(shape) == 4 and isinstance(shape[2], int) and isinstance(shape[3], int):
            return shape[2], shape[3]
    return DEFAULT_SIZE
