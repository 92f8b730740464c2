"""Checkpoint to network to fused graph to verified file, step by step."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import onnx
from birefnet_models.base.files import made_folder, replacing, temporary_folder
from birefnet_models.base.text import format_bytes, format_size
from birefnet_models.cache import MODEL_OF_PRECISION, end_to_end_file
from birefnet_runtime.machine import peak_rss_bytes
from birefnet_runtime.model.metadata import DEFAULT_SIZE

from .answer import answer_facts, end_to_end_answer_facts
from .checkpoint.fetch import LocalCheckpoint
from .checkpoint.read import Checkpoint, read_fetched
from .errors import ExportError
from .graph.builder import Graph
from .graph.end_to_end import enclose
from .graph.fused.model import append_birefnet
from .graph.save import append_properties, model_files, opened_view, replacing_model, write_model
from .graph.signature import INPUT, OUTPUT, SIZE_MULTIPLE, check_graph
from .graph.weights import WeightsBeside, WeightStore
from .metadata import end_to_end_facts, facts, hub_config, parity_facts
from .network.birefnet import BiRefNet
from .options import EndToEndReport, ExportReport, ExportRequest, GraphForm
from .precision.calibration import calibration_images
from .precision.convert import converted
from .precision.headroom import headroom_images
from .reference.birefnet import RememberedLogits
from .room import available_memory_bytes, headroom_bytes, require_room
from .verify.end_to_end_check import check_end_to_end
from .verify.export_check import check_export
from .verify.logits import LOGITS_TOLERANCES, Array, Parity

LARGEST_TRAINED_SIDE = 16384
"""In pixels, far beyond any checkpoint's (2560): what is larger was mistyped."""


class Target(NamedTuple):
    """A file to be made, and where."""

    directory: Path
    request: ExportRequest

    @property
    def file(self) -> Path:
        return self.directory / MODEL_OF_PRECISION[self.request.precision.name]


def run_export(
    checkpoint: LocalCheckpoint,
    targets: Sequence[Target],
    step: Callable[[str], None] = lambda what: None,
) -> list[ExportReport]:
    """Export a checkpoint in one or several precisions, which differ in nothing else.

    It is read once, its reference computed once, and calibration images are checked once. A file
    that is finished stays, whatever becomes of the next.

    Args:
        step: called with each step, as a line for a person who waits.

    Returns:
        The result of each; they and errors are those of `export_onnx`.
    """
    first = targets[0]
    with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
        warnings.simplefilter("always")
        started = time.perf_counter()
        step(f"reading {checkpoint.path.name}")
        source = read_fetched(checkpoint).with_multi_scale(first.request.multi_scale)
        size = _checked_size(first.request.trained_size or source.trained_size)
        for place, target in enumerate(targets):
            before = [other.request for other in targets[:place]]
            require_room(source, target.request, size or DEFAULT_SIZE, target.directory, before)
        folders = {t.request.precision.name: t.request.precision.calibrate for t in targets}
        images = calibration_images(folders.get("int8"), size or DEFAULT_SIZE)
        net = source.network()
        try:
            for target in targets:
                stack.enter_context(made_folder(target.file.parent))
            scratch = stack.enter_context(temporary_folder(first.file.parent))
            weights = stack.enter_context(WeightsBeside(scratch / "weights"))
            exporting = _Exporting(source, net, size, images, weights, caught, step)
            return [
                exporting.exported(target, started if target is first else None)
                for target in targets
            ]
        except OSError as error:
            in_the_way = isinstance(error, NotADirectoryError | FileExistsError)
            named = None if in_the_way else error.filename
            raise ExportError(
                f"{named or first.directory}: can't be written: {error.strerror}"
            ) from error


class _Exporting:
    """What the files of a checkpoint share while they are made."""

    def __init__(
        self,
        source: Checkpoint,
        net: BiRefNet,
        size: tuple[int, int] | None,
        images: Sequence[Array],
        weights: WeightsBeside,
        caught: list[warnings.WarningMessage],
        step: Callable[[str], None],
    ) -> None:
        self.source = source
        self.reference = RememberedLogits(net)
        self.size = size
        self.images = images
        self.weights = weights
        self.step = step
        self._caught = caught
        self._graphs: dict[GraphForm, onnx.ModelProto] = {}

    def exported(self, target: Target, started: float | None) -> ExportReport:
        """Make a file, with the one from pixels to alpha beside it where that is asked for.

        Args:
            started: when the work began, by `perf_counter`; None for now.
        """
        started = time.perf_counter() if started is None else started
        directory, request = target
        file, precision, images = target.file, request.precision, self.images
        self.step(f"building {precision.name}")
        exact = self._graph(request.form)
        if precision.name == "int8" and images:
            self.step(f"calibrating {precision.name} on {len(images)} images")
        photographs = self._photographs(request)
        model, quality, headroom = converted(
            exact, self.weights, precision, images, photographs, self.step
        )
        if model is not exact:
            check_graph(model, self.weights)
        built = time.perf_counter()
        known = facts(self.source, request.form, self.size, precision.name, quality, headroom)
        self.step(f"{'proving' if request.verify else 'writing'} {precision.name}")
        parity = self._write_model(file, model, known, request)
        if parity is not None:
            known |= parity_facts(parity)
        whole = self._write_end_to_end(file, model, known, request) if request.end_to_end else None
        configs = hub_config(self.size, external_data=request.external_data)
        for name, content in configs.items():
            with replacing(directory / name) as unnamed:
                unnamed.write_text(json.dumps(content, indent=2) + "\n")
        finished = time.perf_counter()
        return ExportReport(
            directory=directory,
            file=file,
            arch=self.source.arch,
            opset=request.form.opset,
            lowering=request.form.lowering.name,
            precision=precision.name,
            nodes=len(model.graph.node),
            file_bytes=sum(path.stat().st_size for path in model_files(file)),
            parity=parity,
            quality=quality,
            headroom=headroom,
            warnings=self._warnings(),
            build_s=built - started,
            verify_s=finished - built,
            peak_rss_bytes=peak_rss_bytes(),
            end_to_end=whole,
        )

    def _graph(self, form: GraphForm) -> onnx.ModelProto:
        """The network in float32, built once for each form."""
        if form not in self._graphs:
            self._graphs[form] = build_model(self.reference.net, form, self.weights)
            check_graph(self._graphs[form], self.weights)
        return self._graphs[form]

    def _photographs(self, request: ExportRequest) -> list[Sequence[Array]]:
        """What fp16's head-room is measured on: at half the size where the whole doesn't fit, and
        nothing where that doesn't, or for others.

        Warns:
            UserWarning: it doesn't fit into memory, with the numbers.
        """
        if request.precision.name != "fp16" or not request.verify:
            return []
        whole = self.size or DEFAULT_SIZE
        height, width = (max(32, side // 64 * 32) for side in whole)
        need, there = headroom_bytes(self.source, request, whole), available_memory_bytes()
        for size in (whole, (height, width)):
            if headroom_bytes(self.source, request, size) <= there:
                break
        else:
            size = None
        if size != whole:
            what = f"measured at {format_size(size)}" if size else "not measured on photographs"
            warnings.warn(
                f"fp16's head-room was {what}: at {format_size(whole)} that takes "
                f"{format_bytes(need)}, and there are {format_bytes(there)}",
                stacklevel=2,
            )
        return headroom_images(request.precision.calibrate, size) if size else []

    def _warnings(self) -> tuple[str, ...]:
        """Those that have come since the last file."""
        found = tuple(f"{w.category.__name__}: {w.message}" for w in self._caught)
        self._caught.clear()
        return found

    def _write_model(
        self, file: Path, model: onnx.ModelProto, known: dict[str, str], request: ExportRequest
    ) -> Parity | None:
        """Write a model; it gets its name only when it is known to compute what the reference does.

        Returns:
            The differences to the reference, which stand in the file's properties as well.
        """
        with replacing_model(file) as unnamed:
            view = write_model(model, unnamed, self.weights, external_data=request.external_data)
            append_properties(unnamed, known)
            precision = request.precision.name
            parity, proved = None, {}
            with opened_view(view, unnamed) as openable:
                if request.verify:
                    tolerance = LOGITS_TOLERANCES[precision]
                    parity = check_export(openable, self.reference, tolerance)
                    proved = parity_facts(parity)
                answer = answer_facts(self.reference, precision, openable)
            append_properties(unnamed, proved | answer)
            return parity

    def _write_end_to_end(
        self, network: Path, model: onnx.ModelProto, known: dict[str, str], request: ExportRequest
    ) -> EndToEndReport:
        """Write the file from pixels to alpha beside a finished one, which it holds at one size."""
        whole, parity = onnx.ModelProto(), None
        whole.CopyFrom(model)
        size, weights = self.size or DEFAULT_SIZE, self.weights
        enclose(whole, size)
        file, precision = end_to_end_file(network), request.precision.name
        with replacing_model(file) as unnamed:
            view = write_model(whole, unnamed, weights, external_data=request.external_data)
            with opened_view(view, unnamed) as openable, weights.file_of(model) as inside:
                if request.verify:
                    parity = check_end_to_end(openable, inside, size)
                asked = openable if request.verify else None
                answer = end_to_end_answer_facts(self.reference, precision, size, inside, asked)
            append_properties(unnamed, end_to_end_facts(known, size, parity) | answer)
        return EndToEndReport(file, size, sum(p.stat().st_size for p in model_files(file)), parity)


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
