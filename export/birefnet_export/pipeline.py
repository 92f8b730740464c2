"""Checkpoint to module to fused graph to verified file, step by step."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from birefnet_models.atomic_write import replacing
from birefnet_models.cache import MODEL_OF_PRECISION

from . import hub_config as hub
from .checkpoint.fetch import Fetched
from .checkpoint.read import read_fetched
from .errors import ExportError
from .graph import fused
from .graph.builder import Graph
from .graph.lowering import LOWERINGS
from .graph.save import files_of, replacing_model, save_model
from .graph.signature import INPUT, OUTPUT, SIZE_MULTIPLE
from .graph.simplify import check_graph, simplified
from .metadata import facts, parity_facts
from .network.birefnet import BiRefNet
from .options import ExportReport
from .parity.logits import TOLERANCES
from .precision.calibration import calibration_images
from .precision.convert import converted
from .precision.request import Precision
from .verify.export_check import verify


def run(
    checkpoint: Fetched,
    directory: Path,
    opset: int,
    lowering: str,
    verified: bool,
    trained_size: tuple[int, int] | None,
    external_data: bool,
    precision: Precision,
) -> ExportReport:
    """The export; arguments, result and errors are those of `export_onnx`."""
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = read_fetched(checkpoint)
        size = _checked(trained_size or source.trained_size)
        images = calibration_images(precision.calibrate, size or hub.DEFAULT_SIZE)
        net = source.module()
        exact = simplified(build_model(net, opset, lowering))
        check_graph(exact)
        model, quality = converted(exact, precision, images)
        check_graph(model)
        built = time.perf_counter()

        known = facts(source, opset, lowering, size, precision.name, quality)
        file = directory / MODEL_OF_PRECISION[precision.name]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # The file gets its name only when it is known to compute what the checkpoint does.
            with replacing_model(file) as unnamed:
                save_model(model, known, unnamed, external_data=external_data)
                tolerance = TOLERANCES[precision.name]
                parity = verify(unnamed, net, tolerance) if verified else None
                if parity:
                    known |= parity_facts(parity)
                    save_model(model, known, unnamed, external_data=external_data)
            _write_json(directory / "config.json", hub.config(external_data=external_data))
            _write_json(directory / "preprocessor_config.json", hub.preprocessor_config(size))
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
        peak_rss_bytes=_peak_rss_bytes(),
    )


def build_model(net: BiRefNet, opset: int, lowering: str) -> onnx.ModelProto:
    """The fused form of `net`, as it is before simplification."""
    g = Graph(opset)
    image = g.input(INPUT.name, INPUT.axes)
    g.output(OUTPUT.name, OUTPUT.axes, fused.build(g, image, net, LOWERINGS[lowering]))
    return g.model()


def _checked(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The trained size, if the network can run at it."""
    if size and (min(size) < 1 or any(side % SIZE_MULTIPLE for side in size)):
        raise ExportError(
            f"trained size {size[0]}x{size[1]}: height and width must be multiples of "
            f"{SIZE_MULTIPLE}; give the right one with --trained-size"
        )
    return size


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as unnamed:
        unnamed.write_text(json.dumps(content, indent=2) + "\n")


def _peak_rss_bytes() -> int:
    """The most memory that this process has held; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
