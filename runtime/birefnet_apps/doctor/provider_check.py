"""Whether a provider truly works: a tiny graph with a deformable convolution is run on it.

ONNX Runtime before 1.25 has no `DeformConv`; there the graph has `GridSample` in its place, as
files of the lowering `gridsample` have.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from birefnet_models.errors import BirefnetError
from birefnet_models.text import first_line
from birefnet_runtime.model.ort_versions import has_deform_conv
from birefnet_runtime.session.named import NOTHING, does_nothing
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_errors import onnxruntime_errors
from birefnet_runtime.session.providers.node_placement import NodePlacement
from birefnet_runtime.session.providers.options import RECORDS, Named, Profile, Provider, TensorRT
from birefnet_runtime.session.providers.ort_build import installed_build

GRAPH = Path(__file__).with_name("provider_check.onnx")
GRIDSAMPLE_GRAPH = Path(__file__).with_name("provider_check_gridsample.onnx")
TOLERANCE = 1e-2
"""Of an answer near 12: sums of three products round well below it even in bf16."""


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """Result of running the graph on a provider."""

    works: bool
    reason: str | None
    """Why it doesn't."""
    placement: NodePlacement | None


def check_provider(name: str, *, verbose: bool = False) -> ProviderCheck:
    """Run the graph on the provider of this name, with default options and nothing cached."""
    graph = GRAPH if has_deform_conv(installed_build().version) else GRIDSAMPLE_GRAPH
    tensor = np.linspace(-1, 3, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    try:
        with TemporaryDirectory() as folder:
            record = _record(name, Path(folder))
            session = open_session(
                graph, providers=record, threads=1, verbose=verbose, compared=False
            )
            (answer,) = session.run(None, {"input_image": tensor})
    except onnxruntime_errors(BirefnetError, RuntimeError, ValueError) as error:
        reason = first_line(error).removeprefix(f"{name} can't run here: ")
        return ProviderCheck(False, reason, None)
    expected = 2 * tensor.sum(axis=1, keepdims=True)
    difference = float(np.abs(np.asarray(answer) - expected).max())
    if not difference <= TOLERANCE * float(np.abs(expected).max()):
        reason = f"its answer to a known graph is off by {difference:.2g}"
        return ProviderCheck(False, reason, session.info.placement)
    if name not in RECORDS and does_nothing(session, partial(open_session, graph)):
        return ProviderCheck(False, NOTHING, session.info.placement)
    return ProviderCheck(True, None, session.info.placement)


def _record(name: str, folder: Path) -> Provider:
    if name == "tensorrt":
        shape = (1, 8, 8)
        return TensorRT(cache=folder, profile=Profile(smallest=shape, best=shape, largest=shape))
    return RECORDS[name]() if name in RECORDS else Named(name)
