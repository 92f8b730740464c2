"""Facts about a checkpoint or an `.onnx`, read without loading its weights."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from birefnet_models.base.extras import naming_extras
from birefnet_models.base.hashes import sha256_of
from birefnet_models.base.names import METADATA_PREFIX, PREPROCESSOR_FILE
from birefnet_models.base.onnx_file import OnnxFile, ValueInfo, read_onnx
from birefnet_models.base.text import shortened
from birefnet_models.cache import END_TO_END
from birefnet_models.zoo import ModelCard, all_cards, find
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.acceptance import deform_conv_kernel
from birefnet_runtime.session.availability import installed_build
from birefnet_runtime.session.ort_errors import required_version

from .errors import ArchitectureError, CheckpointError

_LOWERINGS = {
    "DeformConv": "native",
    "GridSample": "gridsample",
    "GatherND": "GatherND, as upstream's ONNX files",
    "GatherElements": "GatherElements",
}
"""How deformable convolutions are written, by the operator that shows it; the first one counts."""


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """Facts about a checkpoint."""

    file: Path
    format: str
    """`safetensors` or `pytorch`."""
    size: int
    """In bytes."""
    sha256: str
    tensors: int
    parameters: int
    """Elements of the floating-point tensors, those that serve training included."""
    dtypes: dict[str, int]
    """How many tensors there are of each type."""
    backbone: str | None
    """None where the architecture is not supported."""
    settings: dict[str, str]
    """Upstream's settings, by its names, that differ from the released models'."""
    problems: tuple[str, ...]
    """Why it can't be exported; none if it can."""
    models: tuple[str, ...]
    """Names of the zoo's models that it is or may be."""
    match: str
    """How they were recognized: `sha256`, `architecture` or `none`."""
    trained_size: tuple[int, int] | None
    """(height, width) by the zoo or the preprocessor file beside it; None if neither states it."""


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """Facts about an `.onnx` file."""

    file: Path
    size: int
    """In bytes, without external weights."""
    sha256: str
    ours: bool
    """Whether `birefnet export` wrote it."""
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    dynamic: tuple[str, ...]
    """Names of the axes of the inputs that are free."""
    nodes: int
    operators: dict[str, int]
    """How many nodes of each kind, the most frequent first."""
    parameters: int
    external_weights: bool
    lowering: str
    precision: str
    output: str
    """`logits`, `mask` or `alpha`."""
    runs_on: tuple[str, ...]
    """Which runtimes can run it, from which version on."""
    kernel: str
    """Whose kernel runs its `DeformConv` on this machine's CPU; empty where it has none."""
    metadata: dict[str, str]
    models: tuple[str, ...]
    """Names of the zoo's models that it is."""
    match: str
    """How they were recognized: `metadata`, `sha256` or `none`."""


Facts: TypeAlias = CheckpointFacts | OnnxFacts


@naming_extras()
def inspect_file(path: str | Path) -> Facts:
    """Read the facts of a file, or of the first graph or the weights that a directory holds.

    The weights' values stay on the disk, but for the hash.

    Raises:
        CheckpointError: there is no such file, or it is none of the kinds.
        OnnxFileError: an `.onnx` that can't be read.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, false for names that are too long
        graphs = [*sorted((path / "onnx").glob("*.onnx")), *sorted(path.glob("*.onnx"))]
        path = min(graphs, key=lambda graph: graph.name.startswith(END_TO_END), default=path)
    return _onnx_facts(path) if path.suffix == ".onnx" else _checkpoint_facts(path)


def to_dict(facts: Facts) -> dict[str, Any]:
    """JSON-ready values."""
    content = asdict(facts) | {"file": str(facts.file)}
    if isinstance(facts, OnnxFacts):
        for side in ("inputs", "outputs"):
            content[side] = [value._asdict() for value in getattr(facts, side)]
    return {"kind": "checkpoint" if isinstance(facts, CheckpointFacts) else "onnx", **content}


def _checkpoint_facts(path: Path) -> CheckpointFacts:
    from .checkpoint.read import architecture_of, mismatches, stated_size
    from .checkpoint.tensors import checkpoint_files, file_format, read_state_dict, weights_file

    file = weights_file(path)
    try:
        stored = read_state_dict(file)
        kind = file_format(file)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    backbone: str | None = None
    settings: dict[str, str] = {}
    try:
        arch = architecture_of(stored)
        backbone = arch.backbone.name
        differences = mismatches(stored, arch).items()
        problems = tuple(f"{what}: {shortened(names)}" for what, names in differences)
        settings = arch.settings()
    except ArchitectureError as error:
        problems = (str(error),)
    floating = [tensor for tensor in stored.values() if tensor.dtype.is_floating]
    files = checkpoint_files(file)
    sha256 = sha256_of(*files)
    models, match = _of_hash(sha256), "sha256"
    if not (models or problems or settings):
        cards = [card for card in all_cards() if not card.embedded]
        models = tuple(card.name for card in cards if card.backbone == backbone)
        match = "architecture"
    return CheckpointFacts(
        file=file,
        format=kind,
        size=sum(part.stat().st_size for part in files),
        sha256=sha256,
        tensors=len(stored),
        parameters=sum(tensor.size for tensor in floating),
        dtypes=dict(Counter(tensor.dtype.name for tensor in stored.values()).most_common()),
        backbone=backbone,
        settings=settings,
        problems=problems,
        models=models,
        match=match if models else "none",
        trained_size=find(models[0]).trained_size
        if match == "sha256" and models
        else stated_size(file.parent / PREPROCESSOR_FILE),
    )


def _onnx_facts(path: Path) -> OnnxFacts:
    model = read_onnx(path)
    stated = {
        key.removeprefix(METADATA_PREFIX): value
        for key, value in model.properties.items()
        if key.startswith(METADATA_PREFIX)
    }
    operators = Counter(
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.nodes
    )
    sha256 = sha256_of(path)
    models, match = _of_hash(sha256, stated.get("checkpoint_sha256", "")), "sha256"
    if name := stated.get("model"):
        models, match = (name,), "metadata"
    axes = {axis for value in model.inputs for axis in value.shape or ()}
    is_mask = bool(model.outputs) and model.ends_in_mask(model.outputs[-1].name)
    lowering = next((text for op, text in _LOWERINGS.items() if operators[op]), "none")
    return OnnxFacts(
        file=path,
        size=path.stat().st_size,
        sha256=sha256,
        ours="format" in stated,
        producer=model.producer,
        ir_version=model.ir_version,
        opsets={domain or "ai.onnx": version for domain, version in model.opsets.items()},
        inputs=model.inputs,
        outputs=model.outputs,
        dynamic=tuple(sorted(axis for axis in axes if isinstance(axis, str))),
        nodes=len(model.nodes),
        operators=dict(operators.most_common()),
        parameters=model.parameters,
        external_weights=any(weight.external for weight in model.weights),
        lowering=stated.get("lowering") or lowering,
        precision=stated.get("precision") or _precision(model),
        output=stated.get("output") or ("mask" if is_mask else "logits"),
        runs_on=tuple(_runs_on(operators, model.opsets.get("", 0))),
        kernel=_kernel(path) if operators["DeformConv"] else "",
        metadata=dict(model.properties),
        models=models,
        match=match if models else "none",
    )


def _kernel(path: Path) -> str:
    try:
        build = installed_build()
    except ModuleNotFoundError:
        return "none: onnxruntime is not installed"
    return deform_conv_kernel(ModelFile(path), usable_cores(), build)


def _of_hash(*hashes: str) -> tuple[str, ...]:
    """Names of the zoo's models that have a file with one of these sha256."""
    return tuple(card.name for card in all_cards() if not _known_hashes(card).isdisjoint(hashes))


def _known_hashes(card: ModelCard) -> set[str]:
    return {card.sha256 or "", *(known.sha256 for known in card.weights)} - {""}


def _precision(model: OnnxFile) -> str:
    if any("int8" in weight.dtype for weight in model.weights):
        return "int8"
    halves = sum(weight.dtype == "float16" for weight in model.weights)
    return "fp16" if 2 * halves > len(model.weights) else "fp32"


def _runs_on(operators: Counter[str], opset: int) -> list[str]:
    """Which runtimes can run these operators, and from which version on.

    Sources: ONNX Runtime's table of versions for the opsets; for DeformConv and GridSample the
    project's own tries and the runtimes' operator lists. What is not known is not listed.
    """
    other_domains = sorted({name.rpartition(".")[0] for name in operators if "." in name})
    if other_domains:
        return [f"only runtimes that know the operators of {', '.join(other_domains)}"]
    first = required_version(operators, opset).version
    if operators["DeformConv"]:
        return [
            f"ONNX Runtime {first} or later: CPU, CUDA, Node and the web",
            f"TensorRT 10.1 or later, as far as its parser knows opset {opset}",
            "not: DirectML; OpenVINO hands each DeformConv back to the CPU",
        ]
    lines = [f"ONNX Runtime {first} or later"]
    if operators["GridSample"]:
        lines.append("TensorRT 8.5 or later, OpenVINO")
        if opset <= 19:
            lines.append("DirectML")
    return lines
