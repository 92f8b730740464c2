"""Checkpoint to network to fused graph to verified file, step by step."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import onnx
from birefnet_models.base.files import made_folder, replacing, temporary_folder
from birefnet_models.base.text import format_size
from birefnet_models.cache import MODEL_OF_PRECISION, end_to_end_file
from birefnet_runtime.machine import peak_rss_bytes
from birefnet_runtime.model.metadata import DEFAULT_SIZE

from .answer import answer_facts, end_to_end_answer_facts
from .checkpoint.fetch import LocalCheckpoint
from .checkpoint.read import read_fetched
from .errors import ExportError
from .graph.builder import Graph
from .graph.check import check_graph
from .graph.end_to_end import enclose
from .graph.fused.model import append_birefnet
from .graph.save import append_properties, model_files, opened_view, replacing_model, write_model
from .graph.signature import INPUT, OUTPUT, SIZE_MULTIPLE
from .graph.weights import WeightsBeside, WeightStore
from .hub_config import hub_config
from .metadata import end_to_end_facts, facts, parity_facts
from .network.birefnet import BiRefNet
from .options import EndToEndReport, ExportReport, ExportRequest, GraphForm
from .precision.calibration import calibration_images
from .precision.convert import converted
from .room import require_room
from .verify.end_to_end_check import check_end_to_end
from .verify.export_check import check_export
from .verify.logits import LOGITS_TOLERANCES, Parity

LARGEST_TRAINED_SIDE = 16384
"""In pixels, far beyond any checkpoint's (2560): what is larger was mistyped."""


def run_export(
    checkpoint: LocalCheckpoint, directory: Path, request: ExportRequest
) -> ExportReport:
    """Export a checkpoint; result and errors are those of `export_onnx`."""
    started = time.perf_counter()
    file = directory / MODEL_OF_PRECISION[request.precision.name]
    whole: EndToEndReport | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = read_fetched(checkpoint).with_multi_scale(request.multi_scale)
        size = _checked_size(request.trained_size or source.trained_size)
        require_room(source, request, size or DEFAULT_SIZE, directory)
        images = calibration_images(request.precision.calibrate, size or DEFAULT_SIZE)
        net = source.network()
        try:
            with (
                made_folder(file.parent),
                temporary_folder(file.parent) as folder,
                WeightsBeside(folder / "weights") as weights,
            ):
                exact = build_model(net, request.form, weights)
                check_graph(exact, weights)
                model, quality = converted(exact, weights, request.precision, images)
                if model is not exact:
                    check_graph(model, weights)
                built = time.perf_counter()
                known = facts(source, request.form, size, request.precision.name, quality)
                parity = _write_model(file, model, weights, known, request, net)
                if parity is not None:
                    known |= parity_facts(parity)
                if request.end_to_end:
                    at = size or DEFAULT_SIZE
                    whole = _write_end_to_end(file, model, weights, known, request, net, at)
            configs = hub_config(size, external_data=request.external_data)
            for name, content in configs.items():
                with replacing(directory / name) as unnamed:
                    unnamed.write_text(json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise ExportError(f"{directory}: can't be written: {error.strerror}") from error
    finished = time.perf_counter()
    return ExportReport(
        directory=directory,
        file=file,
        arch=source.arch,
        opset=request.form.opset,
        lowering=request.form.lowering.name,
        precision=request.precision.name,
        nodes=len(model.graph.node),
        file_bytes=sum(path.stat().st_size for path in model_files(file)),
        parity=parity,
        quality=quality,
        warnings=tuple(f"{w.category.__name__}: {w.message}" for w in caught),
        build_s=built - started,
        verify_s=finished - built,
        peak_rss_bytes=peak_rss_bytes(),
        end_to_end=whole,
    )


def build_model(
    net: BiRefNet, form: GraphForm, weights: WeightStore | None = None
) -> onnx.ModelProto:
    """Build the fused form of `net`.

    ONNX Runtime fuses by the shapes that stand in the file (`value_info`): with them it joins two
    of a Swin's sums with the LayerNorms behind them. So they are there, as onnx infers them.

    Args:
        net: with values.
        form: how it is written.
        weights: keeps the weights; by default the graph itself holds them.
    """
    g = Graph(form.opset, weights)
    image = g.input(INPUT.name, INPUT.axes)
    g.output(OUTPUT.name, OUTPUT.axes, append_birefnet(g, image, net, form.lowering))
    return onnx.shape_inference.infer_shapes(g.model())


def _write_model(
    file: Path,
    model: onnx.ModelProto,
    weights: WeightsBeside,
    known: dict[str, str],
    request: ExportRequest,
    net: BiRefNet,
) -> Parity | None:
    """Write a model; it gets its name only when it is known to compute what the reference does.

    Returns:
        The differences to the reference, which stand in the file's properties as well.
    """
    with replacing_model(file) as unnamed:
        view = write_model(model, unnamed, weights, external_data=request.external_data)
        append_properties(unnamed, known)
        precision = request.precision.name
        parity, proved = None, {}
        with opened_view(view, unnamed) as openable:
            if request.verify:
                parity = check_export(openable, net, LOGITS_TOLERANCES[precision])
                proved = parity_facts(parity)
            answer = answer_facts(net, precision, openable)
        append_properties(unnamed, proved | answer)
        return parity


def _write_end_to_end(
    network: Path,
    model: onnx.ModelProto,
    weights: WeightsBeside,
    known: dict[str, str],
    request: ExportRequest,
    net: BiRefNet,
    size: tuple[int, int],
) -> EndToEndReport:
    """Write the file from pixels to alpha beside a finished one, which it holds at one size."""
    whole, parity = onnx.ModelProto(), None
    whole.CopyFrom(model)
    enclose(whole, size)
    file = end_to_end_file(network)
    with replacing_model(file) as unnamed:
        view = write_model(whole, unnamed, weights, external_data=request.external_data)
        with opened_view(view, unnamed) as openable, weights.file_of(model) as inside:
            if request.verify:
                parity = check_end_to_end(openable, inside, size)
            asked = openable if request.verify else None
            answer = end_to_end_answer_facts(net, request.precision.name, size, inside, asked)
        append_properties(unnamed, end_to_end_facts(known, size, parity) | answer)
    return EndToEndReport(file, size, sum(p.stat().st_size for p in model_files(file)), parity)


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
