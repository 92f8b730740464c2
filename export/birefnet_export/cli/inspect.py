"""`birefnet inspect`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from birefnet_apps.cli.terminal import located
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.text import format_size
from birefnet_models.reference import parse_reference
from birefnet_models.zoo import lookup
from birefnet_runtime.model.known_answer import KEY, read_known_answer

from ..inspection import CheckpointFacts, Facts, OnnxFacts, inspect_file, to_dict


@click.command(epilog="Example: birefnet inspect BiRefNet_lite/model.safetensors")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def inspect(file: str, as_json: bool) -> None:
    """Say what is in FILE: a checkpoint, an .onnx, or a directory that holds one of them.

    What is not a file may be the name of a model, as `birefnet cutout --model` takes it.
    The weights stay on the disk, and no code from the file is run. An .onnx needs neither torch nor
    onnx.
    """
    facts = inspect_file(_path(file))
    click.echo(json.dumps(to_dict(facts), indent=2) if as_json else "\n".join(_lines(facts)))


def _path(text: str) -> Path:
    """A file or directory, or the file of a model that has this name."""
    if os.path.exists(text):
        return Path(text)
    is_name = parse_reference(text) is not None or lookup(text.partition(":")[0]) is not None
    return located(text).path if is_name else Path(text)


def _lines(facts: Facts) -> Iterator[str]:
    rows = _checkpoint(facts) if isinstance(facts, CheckpointFacts) else _onnx(facts)
    yield str(facts.file)
    for label, text in rows:
        if text:
            yield f"  {label:<12}{text}"


def _checkpoint(facts: CheckpointFacts) -> Iterable[tuple[str, str]]:
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in facts.dtypes.items())
    yield "kind", f"checkpoint, {facts.format}, {facts.size / 1e6:.1f} MB"
    yield "sha256", facts.sha256
    yield "tensors", f"{facts.tensors} ({dtypes}), {facts.parameters / 1e6:.1f} M parameters"
    yield "backbone", facts.backbone or "not supported"
    for name, value in facts.settings.items():
        yield "setting", f"{name} {value}"
    for problem in facts.problems:
        yield "problem", problem
    size = facts.trained_size
    unstated = "not stated: give export --trained-size if it isn't 1024x1024"
    yield "trained at", format_size(size) if size else unstated
    yield "export", "" if facts.problems else "birefnet export takes it as it is"
    yield "model", _models(facts.models, facts.match)


def _onnx(facts: OnnxFacts) -> Iterable[tuple[str, str]]:
    weights = ", weights beside the file" if facts.external_weights else ""
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts.opsets.items())
    yield "kind", f"ONNX graph, {facts.size / 1e6:.1f} MB{weights}"
    yield "sha256", facts.sha256
    version = facts.metadata.get(f"{METADATA_PREFIX}producer_version", "")
    yield "made by", f"birefnet export {version}" if facts.ours else f"{facts.producer}, not us"
    yield "format", f"opset {opsets}, IR version {facts.ir_version}"
    for side, values in (("input", facts.inputs), ("output", facts.outputs)):
        for value in values:
            shape = ", ".join(map(str, value.shape)) if value.shape is not None else "not stated"
            yield side, f"{value.name}: {value.dtype} ({shape})"
    if facts.ours and f"{METADATA_PREFIX}trained_size" not in facts.metadata:
        yield "trained at", "not stated: 1024x1024 is assumed; export it with --trained-size"
    yield "free axes", ", ".join(facts.dynamic) or "none: it runs at this size alone"
    yield "gives", facts.output
    yield "precision", f"{facts.precision}, {facts.parameters / 1e6:.1f} M parameters"
    yield "lowering", facts.lowering
    operators = ", ".join(f"{count} {name}" for name, count in facts.operators.items())
    yield "nodes", f"{facts.nodes}: {operators}"
    for line in facts.runs_on:
        yield "runs on", line
    yield "DeformConv", facts.kernel
    yield "model", _models(facts.models, facts.match)
    known = read_known_answer(facts.metadata)
    yield "answer", known.describe() if known else "none: what runs it is compared with the CPU"
    for key, text in facts.metadata.items():
        if key != KEY:
            yield "metadata", f"{key} = {text}"


def _models(names: tuple[str, ...], match: str) -> str:
    how = {
        "none": "none of the zoo",
        "sha256": "by its hash",
        "metadata": "as the file says",
        "architecture": "one of these, or a fine-tune: by its architecture",
    }[match]
    return f"{', '.join(names)} ({how})" if names else how
