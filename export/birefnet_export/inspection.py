"""What is in a file: a checkpoint or an `.onnx`, looked at without loading its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from birefnet_models.card import ModelCard
from birefnet_models.lock import sha256_of
from birefnet_models.onnx_file import OnnxFile, Port, read_onnx
from birefnet_models.zoo import all_cards

from .errors import ArchitectureError, CheckpointError

PREFIX = "birefnet."


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """What a checkpoint holds."""

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
    problems: tuple[str, ...]
    """Why it can't be exported; none if it can."""
    models: tuple[str, ...]
    """The zoo's models that it is or may be."""
    match: str
    """How they were found: `sha256`, `architecture` or `none`."""


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What an `.onnx` holds."""

    file: Path
    size: int
    """In bytes, without external weights."""
    sha256: str
    ours: bool
    """Whether `birefnet export` wrote it."""
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
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
    """`logits` or `mask`."""
    runs_on: tuple[str, ...]
    """Which runtimes can run it, from which version on."""
    metadata: dict[str, str]
    models: tuple[str, ...]
    match: str
    """How they were found: `metadata`, `sha256` or `none`."""


Facts: TypeAlias = CheckpointFacts | OnnxFacts


def inspect_file(path: str | Path) -> Facts:
    """Look into a file, or into the first graph or the weights that a directory holds.

    Only a checkpoint needs torch; the weights' values stay on the disk, but for the hash.

    Raises:
        CheckpointError: there is no such file, or it is none of the kinds.
        OnnxFileError: an `.onnx` that can't be read.
    """
    path = Path(path)
    if path.is_dir():
        graphs = [*sorted((path / "onnx").glob("*.onnx")), *sorted(path.glob("*.onnx"))]
        path = graphs[0] if graphs else path
    return _onnx(path) if path.suffix == ".onnx" else _checkpoint(path)


def to_dict(facts: Facts) -> dict[str, Any]:
    """JSON-ready values."""
    content = asdict(facts) | {"file": str(facts.file)}
    if isinstance(facts, OnnxFacts):
        for side in ("inputs", "outputs"):
            content[side] = [port._asdict() for port in getattr(facts, side)]
    return {"kind": "checkpoint" if isinstance(facts, CheckpointFacts) else "onnx", **content}


def _checkpoint(path: Path) -> CheckpointFacts:
    from .checkpoint.read import mismatches
    from .checkpoint.tensors import (
        dtype_name,
        file_format,
        listed,
        read_tensors,
        unwrap,
        weights_file,
    )
    from .network.architecture import Architecture

    file = weights_file(path)
    try:
        stored = unwrap(read_tensors(file, values=False))
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    backbone: str | None = None
    problems: list[str] = []
    try:
        arch = Architecture.from_shapes({name: tuple(t.shape) for name, t in stored.items()})
        backbone = arch.backbone
        problems = [f"{what}: {listed(n)}" for what, n in mismatches(stored, arch).items()]
    except ArchitectureError as error:
        problems = [str(error)]
    floating = [tensor for tensor in stored.values() if tensor.is_floating_point()]
    with file.open("rb") as stream:
        kind = file_format(stream.read(16))
    sha256 = sha256_of(file)
    models, match = _matching(sha256, backbone if not problems else None)
    return CheckpointFacts(
        file=file,
        format=kind or "unknown",
        size=file.stat().st_size,
        sha256=sha256,
        tensors=len(stored),
        parameters=sum(tensor.numel() for tensor in floating),
        dtypes=dict(Counter(map(dtype_name, stored.values())).most_common()),
        backbone=backbone,
        problems=tuple(problems),
        models=models,
        match=match,
    )


def _matching(sha256: str, backbone: str | None) -> tuple[tuple[str, ...], str]:
    """Models with this file, else those with this backbone."""
    same = tuple(card.name for card in all_cards() if sha256 in _known_hashes(card))
    if same:
        return same, "sha256"
    alike = tuple(
        card.name for card in all_cards() if card.backbone == backbone and not card.embedded
    )
    return alike, "architecture" if alike else "none"


def _known_hashes(card: ModelCard) -> set[str]:
    return {card.sha256 or "", *(known.sha256 for known in card.weights)} - {""}


def _onnx(path: Path) -> OnnxFacts:
    file = read_onnx(path)
    facts = {
        key.removeprefix(PREFIX): value
        for key, value in file.properties.items()
        if key.startswith(PREFIX)
    }
    operators = Counter(
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in file.nodes
    )
    sha256 = sha256_of(path)
    named = facts.get("model")
    hashes = {sha256, facts.get("checkpoint_sha256", "")}
    same = tuple(card.name for card in all_cards() if hashes & _known_hashes(card))
    dynamic = {axis for port in file.inputs for axis in port.shape or () if isinstance(axis, str)}
    outputs = file.outputs
    is_mask = bool(outputs) and file.ends_in_mask(outputs[-1].name)
    return OnnxFacts(
        file=path,
        size=path.stat().st_size,
        sha256=sha256,
        ours="format" in facts,
        producer=file.producer,
        ir_version=file.ir_version,
        opsets={domain or "ai.onnx": version for domain, version in file.opsets.items()},
        inputs=file.inputs,
        outputs=outputs,
        dynamic=tuple(sorted(dynamic)),
        nodes=len(file.nodes),
        operators=dict(operators.most_common()),
        parameters=file.parameters,
        external_weights=any(weight.external for weight in file.weights),
        lowering=facts.get("lowering") or _lowering(operators),
        precision=facts.get("precision") or _precision(file),
        output=facts.get("output") or ("mask" if is_mask else "logits"),
        runs_on=tuple(runtimes(operators, file.opsets)),
        metadata=dict(file.properties),
        models=(named,) if named else same,
        match="metadata" if named else "sha256" if same else "none",
    )


def _lowering(operators: Counter[str]) -> str:
    """How deformable convolutions are written, as far as the operators tell."""
    for operator, lowering in (
        ("DeformConv", "native"),
        ("GridSample", "gridsample"),
        ("GatherND", "GatherND, as upstream's ONNX files"),
        ("GatherElements", "GatherElements"),
    ):
        if operators[operator]:
            return lowering
    return "none"


def _precision(file: OnnxFile) -> str:
    if any("int8" in weight.dtype for weight in file.weights):
        return "int8"
    halves = sum(weight.dtype == "float16" for weight in file.weights)
    return "fp16" if 2 * halves > len(file.weights) else "fp32"


def runtimes(operators: Counter[str], opsets: Mapping[str, int]) -> list[str]:
    """Which runtimes can run these operators, and from which version on.

    Sources: ONNX Runtime's table of versions for the opsets; for DeformConv and GridSample the
    project's own tries and the runtimes' operator lists. What is not known is not listed.
    """
    opset = opsets.get("", 0)
    foreign = sorted({name.rpartition(".")[0] for name in operators if "." in name})
    if foreign:
        return [f"only runtimes that know the operators of {', '.join(foreign)}"]
    if operators["DeformConv"]:
        return [
            "ONNX Runtime 1.25 or later: CPU, CUDA, Node and the web",
            "TensorRT 10.1 or later, as far as its parser knows opset " + str(opset),
            "not: DirectML; OpenVINO hands each DeformConv back to the CPU",
        ]
    first = next((version for least, version in _ORT_OF_OPSET if opset >= least), "1.7")
    lines = [f"ONNX Runtime {first} or later"]
    if operators["GridSample"]:
        lines.append("TensorRT 8.5 or later, OpenVINO")
        if opset <= 19:
            lines.append("DirectML")
    return lines


_ORT_OF_OPSET = (
    (23, "1.23"),
    (22, "1.21"),
    (21, "1.18"),
    (20, "1.17"),
    (19, "1.15"),
    (18, "1.14"),
    (17, "1.12"),
    (16, "1.11"),
)
