"""Whether a provider truly works: a tiny graph with a deformable convolution is run on it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from birefnet_models.errors import BirefnetError

from ..session.open import open_session
from ..session.ort_errors import first_line, onnxruntime_errors
from ..session.providers.node_placement import Placement
from ..session.providers.options import RECORDS, Profile, Provider, TensorRT

GRAPH = Path(__file__).with_name("provider_check.onnx")
TOLERANCE = 1e-2
"""Of an answer near 12: sums of three products round well below it even in bf16."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a provider did."""

    works: bool
    reason: str | None
    """Why it doesn't."""
    placement: Placement | None


def probe(name: str, *, verbose: bool = False) -> Verdict:
    """Run the graph on the provider of this name, with default options and nothing cached."""
    tensor = np.linspace(-1, 3, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    failures: tuple[type[Exception], ...] = (BirefnetError, *onnxruntime_errors(), RuntimeError)
    try:
        with TemporaryDirectory() as folder:
            record = _record(name, Path(folder))
            session = open_session(GRAPH, providers=record, threads=1, verbose=verbose)
            (answer,) = session.run(None, {"input_image": tensor})
    except failures as error:
        reason = first_line(error).removeprefix(f"{name} can't run here: ")
        return Verdict(False, reason, None)
    expected = 2 * tensor.sum(axis=1, keepdims=True)
    difference = float(np.abs(np.asarray(answer) - expected).max())
    if not difference <= TOLERANCE * float(np.abs(expected).max()):
        reason = f"its answer to a known graph is off by {difference:.2g}"
        return Verdict(False, reason, session.info.placement)
    return Verdict(True, None, session.info.placement)


def _record(name: str, folder: Path) -> Provider:
    if name == "tensorrt":
        shape = (1, 8, 8)
        return TensorRT(cache=folder, profile=Profile(smallest=shape, best=shape, largest=shape))
    return RECORDS[name]()
