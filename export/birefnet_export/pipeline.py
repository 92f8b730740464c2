"""Checkpoint to module to fused graph to verified file, step by step."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import onnx
from birefnet_models.base.files import replacing
from birefnet_models.base.text import format_size
from birefnet_models.cache import MODEL_OF_PRECISION, end_to_end_file
from birefnet_runtime.machine import peak_rss_bytes

from .checkpoint.fetch import LocalCheckpoint
from .checkpoint.read import read_fetched
from .errors import ExportError
from .graph.builder import Graph
from .graph.end_to_end import enclose
from .graph.fused.model import build
from .graph.lowering import LOWERINGS
from .graph.save import files_of, replacing_model, save_model
from .graph.signature import INPUT, OUTPUT, SIZE_MULTIPLE
from .graph.simplify import check_graph, simplified
from .hub_config import DEFAULT_SIZE, hub_config
from .metadata import end_to_end_facts, facts, parity_facts
from .network.birefnet import BiRefNet
from .options import EndToEndReport, ExportReport
from .parity.logits import TOLERANCES, GraphTolerance, Parity
from .precision.calibration import calibration_images
from .precision.convert import converted
from .precision.request import Precision
from .verify.end_to_end_check import check_end_to_end
from .verify.export_check import check_export

LARGEST_TRAINED_SIDE = 16384
"""In pixels, far beyond any checkpoint's (2560): what is larger was mistyped."""


def run(
    checkpoint: LocalCheckpoint,
    directory: Path,
    opset: int,
    lowering: str,
    verified: bool,
    trained_size: tuple[int, int] | None,
    external_data: bool,
    precision: Precision,
    multi_scale: str | None,
    end_to_end: bool,
) -> ExportReport:
    """Export a checkpoint; arguments, result and errors are those of `export_onnx`."""
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = read_fetched(checkpoint).with_multi_scale(multi_scale)
        size = _checked_size(trained_size or source.trained_size)
        images = calibration_images(precision.calibrate, size or DEFAULT_SIZE)
        net = source.module()
        exact = simplified(build_model(net, opset, lowering))
        check_graph(exact)
        model, quality = converted(exact, precision, images)
        check_graph(model)
        built = time.perf_counter()

        file = directory / MODEL_OF_PRECISION[precision.name]
        properties = facts(source, opset, lowering, size, precision.name, quality)
        reference = (net, TOLERANCES[precision.name]) if verified else None
        try:
            parity = _write_model(file, model, properties, external_data, reference)
            whole = None
            if end_to_end:
                whole = _write_end_to_end(file, size or DEFAULT_SIZE, external_data, verified)
            for name, content in hub_config(size, external_data=external_data).items():
                with replacing(directory / name) as unnamed:
                    unnamed.write_text(json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise ExportError(f"{directory}: can't be written: {error.strerror}") from error
    finished = time.perf_counter()
    return ExportReport(
        directory=directory,
        file=file,
        arch=source.arch,
        opset=opset,
        lowering=lowering,
        precision=precision.name,
        nodes=len(model.graph.node),
        file_bytes=sum(path.stat().st_size for path in files_of(file)),
        parity=parity,
        quality=quality,
        warnings=tuple(f"{w.category.__name__}: {w.message}" for w in caught),
        build_s=built - started,
        verify_s=finished - built,
        peak_rss_bytes=peak_rss_bytes(),
        end_to_end=whole,
    )


def build_model(net: BiRefNet, opset: int, lowering: str) -> onnx.ModelProto:
    """Build the fused form of `net`, not yet simplified."""
    g = Graph(opset)
    image = g.input(INPUT.name, INPUT.axes)
    g.output(OUTPUT.name, OUTPUT.axes, build(g, image, net, LOWERINGS[lowering]))
    return g.model()


def _write_model(
    file: Path,
    model: onnx.ModelProto,
    properties: dict[str, str],
    external_data: bool,
    reference: tuple[BiRefNet, GraphTolerance] | None,
) -> Parity | None:
    """Write a model; it gets its name only when it is known to compute what the reference does.

    Returns:
        The differences to the reference, which stand in the file's properties as well.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing_model(file) as unnamed:
        save_model(model, properties, unnamed, external_data=external_data)
        if reference is None:
            return None
        parity = check_export(unnamed, *reference)
        properties = properties | parity_facts(parity)
        save_model(model, properties, unnamed, external_data=external_data)
        return parity


def _write_end_to_end(
    network: Path, size: tuple[int, int], external_data: bool, verified: bool
) -> EndToEndReport:
    """Write the file from pixels to alpha beside a finished one, which it holds at one size."""
    model = onnx.load(network)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    enclose(model, size)
    file, parity = end_to_end_file(network), None
    with replacing_model(file) as unnamed:
        if verified:
            save_model(model, properties, unnamed, external_data=external_data)
            parity = check_end_to_end(unnamed, network, size)
        properties = end_to_end_facts(properties, size, parity)
        save_model(model, properties, unnamed, external_data=external_data)
    return EndToEndReport(file, size, sum(p.stat().st_size for p in files_of(file)), parity)


def _checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the trained size, if the network can run at it."""
    sides = range(SIZE_MULTIPLE, LARGEST_TRAINED_SIDE + 1, SIZE_MULTIPLE)
    if size and not all(side in sides for side in size):
        raise ExportError(
            f"trained size {format_size(size)}: height and width must be multiples of "
            f"{SIZE_MULTIPLE}, at most {LARGEST_TRAINED_SIDE}; give the right one with "
            "--trained-size"
        )
    return size
