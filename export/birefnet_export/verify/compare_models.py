"""A finished `.onnx` held against a reference: a checkpoint, or the official code itself.

Two figures, never one. *Graph*: the same tensors through both sides. *Pipeline*: the same image
file through both whole pipelines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from birefnet_models.onnx_file import read_onnx
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.model.locate import find_model
from torch import nn

from ..checkpoint.fetch import PLAINLY, Fetching, fetch
from ..checkpoint.read import read_fetched
from ..errors import ParityError
from ..parity.logits import TOLERANCES, Array, Case, Parity, Tolerance, compare
from ..parity.masks import MASK_TOLERANCES, MaskParity, MaskTolerance, compare_masks
from ..parity.sample_tensors import CASES, sample_image
from .layer_diff import BOUNDS, Departure, find_departure
from .remote_code import PREFIX, load_remote
from .upstream_pipeline import ignored_of, reference_alpha


@dataclass(frozen=True, slots=True)
class GraphVerdict:
    """The same tensors through both sides."""

    parity: Parity
    tolerance: Tolerance

    @property
    def problem(self) -> str | None:
        """What is beyond the tolerance; None if nothing is."""
        return self.tolerance.problem(self.parity)


@dataclass(frozen=True, slots=True)
class PictureVerdict:
    """One image file through both whole pipelines."""

    file: Path
    network_size: tuple[int, int]
    """(height, width) at which the network ran on both sides."""
    parity: MaskParity
    tolerance: MaskTolerance
    ignored: str | None
    """What of the file upstream's pipeline ignores and the runtime does not."""

    @property
    def problem(self) -> str | None:
        """What is beyond the tolerance; None if nothing is."""
        return self.tolerance.problem(self.parity)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a model is from its reference."""

    model: Path
    reference: str
    graph: GraphVerdict
    pictures: tuple[PictureVerdict, ...]
    departure: Departure | None
    """Layer by layer; None if that was not asked for."""

    @property
    def passed(self) -> bool:
        """Whether every figure is within its tolerance, and no layer departs."""
        problems = [self.graph.problem, *(picture.problem for picture in self.pictures)]
        return not any(problems) and not (self.departure and self.departure.first)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "model": str(self.model),
            "reference": self.reference,
            "graph": _plain(self.graph),
            "pictures": [
                {
                    "file": str(picture.file),
                    "network_size": picture.network_size,
                    "ignored": picture.ignored,
                    **_plain(picture),
                }
                for picture in self.pictures
            ],
            "layers": self.departure and self.departure.to_dict(),
            "passed": self.passed,
        }


def verify_against(
    model: str | Path,
    reference: str,
    *,
    images: Sequence[Path] = (),
    layers: bool = False,
    trust_remote_code: bool = False,
    tolerance: float | None = None,
    fetching: Fetching = PLAINLY,
) -> Agreement:
    """Run a model and its reference on the same tensors, and on the same image files.

    On tensors the reference computes in float64, on image files in float32, as upstream does.

    Args:
        model: as `Segmenter` takes it.
        reference: a checkpoint as `export_onnx` takes it, or `transformers:REPO@REVISION`.
        images: files for the pipeline figure, run at the size that the model was trained at.
        layers: look for the layer in which they part, too; only for our own exports.
        trust_remote_code: the reference's own Python code may be run; only for `transformers:`.
        tolerance: largest difference of logits that passes (of masks, where the graph gives
            masks); by default what an export of that precision must keep.
        fetching: how a checkpoint from elsewhere is fetched and pinned.

    Raises:
        ModelError: no such model.
        RemoteCodeError: code would be run without consent.
        CheckpointError, FetchError, PinError: no such reference.
        ImageError: an image can't be read.
        ParityError: nothing can be compared: NaN, another shape, layers without names.
    """
    file = find_model(model)
    segmenter = Segmenter(file, providers="cpu")
    precision = _precision(file, segmenter)
    net, name = _reference(reference, trust_remote_code, fetching)
    departure = find_departure(file, net, precision) if layers else None
    pictures = tuple(_picture(segmenter, net.float(), image, precision) for image in images)
    try:
        parity = _graph(segmenter, net.double(), name)
    except (ModelError, ParityError) as error:
        if departure is None or departure.first is None:
            raise
        raise ParityError(f"{error}; first to depart: {departure.first}") from error
    graph = GraphVerdict(parity, _tolerance(precision, segmenter, tolerance))
    return Agreement(file, name, graph, pictures, departure)


def _reference(text: str, trust: bool, fetching: Fetching) -> tuple[nn.Module, str]:
    if text.startswith(PREFIX):
        remote = load_remote(text.removeprefix(PREFIX), trust, fetching.say or (lambda _: None))
        return remote, f"remote code of {remote.origin}"
    checkpoint = read_fetched(fetch(text, fetching))
    return checkpoint.module(), checkpoint.origin or str(checkpoint.path)


def _precision(file: Path, segmenter: Segmenter) -> str:
    """What an export says of itself; of other files whether they take float16."""
    stated = read_onnx(file).properties.get("birefnet.precision")
    precision = stated or ("fp16" if segmenter.is_half else "fp32")
    return precision if precision in BOUNDS else "fp32"


def _tolerance(precision: str, segmenter: Segmenter, largest: float | None) -> Tolerance:
    """What passes: as in an export of this precision; masks alone where the graph gives masks."""
    known = TOLERANCES[precision]
    if largest is None and segmenter.metadata.output == "mask":
        largest = known.logits_max_abs if precision == "fp32" else None
    if largest is None:
        return known
    if segmenter.metadata.output == "mask":
        return Tolerance(mask_max_abs=largest)
    return Tolerance(logits_max_abs=largest)


def _graph(segmenter: Segmenter, net: nn.Module, name: str) -> Parity:
    metadata = segmenter.metadata
    cases = CASES if not metadata.fixed else ((1, *metadata.trained_size),)
    return compare(
        [_both(segmenter, net, case) for case in cases],
        cases,
        reference=f"{name}, pytorch {torch.__version__} in float64",
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def _both(segmenter: Segmenter, net: nn.Module, case: Case) -> tuple[Array, Array]:
    image = sample_image(case)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image).double()).numpy()
    if expected.ndim != 4:
        raise ParityError(f"the reference answers {expected.shape} to {image.shape}")
    return segmenter.logits(image), np.asarray(expected)


def _picture(segmenter: Segmenter, net: nn.Module, file: Path, precision: str) -> PictureVerdict:
    found = segmenter.alpha(file)
    size = segmenter.model_size((found.shape[0], found.shape[1]))
    parity = compare_masks(found, reference_alpha(net, file, size, eight_bits=False))
    return PictureVerdict(file, size, parity, MASK_TOLERANCES[precision], ignored_of(file))


def _plain(verdict: GraphVerdict | PictureVerdict) -> dict[str, Any]:
    """JSON-ready; what is not limited has no entry."""
    allowed = {key: x for key, x in asdict(verdict.tolerance).items() if x < inf}
    return {
        "parity": verdict.parity.to_dict(),
        "tolerance": allowed,
        "problem": verdict.problem,
        "passed": verdict.problem is None,
    }
