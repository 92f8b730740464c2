"""A finished `.onnx` compared with a reference: a checkpoint, computed by NumPy or otherwise.

Two figures, never one. *Graph*: the same tensors through both sides. *Pipeline*: the same image
file through both whole pipelines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.text import format_size
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.model.locate import ModelFile, find_model
from birefnet_runtime.model.metadata import model_facts, read_properties
from birefnet_runtime.model.signature import read_signature
from birefnet_runtime.session.open import open_session

from ..errors import ExportError, ParityError
from .export_check import logits_parity
from .layer_diff import BOUNDS, LayerDifferences, compare_layers
from .logits import INPUT_SHAPES, LOGITS_TOLERANCES, LogitsTolerance, Parity, sample_image
from .masks import MaskParity, MaskTolerance, compare_masks, mask_tolerance
from .reference import OpenReference, Reference, open_numpy_reference
from .upstream_pipeline import brought_back, ignored_of, reference_mask

CARD_LEVELS = 2
"""What the model card's lines may differ by from the same in float32, in levels of 255."""


@dataclass(frozen=True, slots=True)
class GraphComparison:
    """The same tensors through both sides."""

    parity: Parity
    tolerance: LogitsTolerance

    @property
    def problem(self) -> str | None:
        """What is beyond the tolerance; None if nothing is."""
        return self.tolerance.problem(self.parity)


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """One image file through both whole pipelines."""

    file: Path
    network_size: tuple[int, int]
    """(height, width) at which the network ran on both sides."""
    parity: MaskParity
    """To upstream's steps with the mask in float32 throughout."""
    tolerance: MaskTolerance
    card_levels: float
    """The largest difference to the 8-bit mask of the model card's lines, in levels of 255, both
    rounded: up to `CARD_LEVELS` are the card's own, which cuts the mask to 8 bits early."""
    ignored: str | None
    """What of the file upstream's pipeline ignores and the runtime does not."""

    @property
    def problem(self) -> str | None:
        """What is beyond the tolerance; None if nothing is."""
        problem = self.tolerance.problem(self.parity)
        if problem is None and self.card_levels > CARD_LEVELS + self.tolerance.max_levels:
            return f"a difference of {self.card_levels:g} levels to the model card's 8-bit mask"
        return problem


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """How far a model is from its reference."""

    model: Path
    reference: str
    graph: GraphComparison | None
    """None of a model that takes pixels: its logits stay inside."""
    images: tuple[ImageComparison, ...]
    layers: LayerDifferences | None
    """Layer by layer; None if that was not asked for."""
    precision: str = "fp32"
    """What the model computes in, by its own word: the tolerances are this one's."""

    @property
    def passed(self) -> bool:
        """Whether every figure is within its tolerance, and every layer within its bound."""
        problems = [each.problem for each in (self.graph, *self.images) if each]
        return not any(problems) and not (self.layers and self.layers.first)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "model": str(self.model),
            "reference": self.reference,
            "precision": self.precision,
            "graph": self.graph and _plain(self.graph),
            "pictures": [
                {
                    "file": str(image.file),
                    "network_size": image.network_size,
                    "card_levels": image.card_levels,
                    "ignored": image.ignored,
                    **_plain(image),
                }
                for image in self.images
            ],
            "layers": self.layers and self.layers.to_dict(),
            "passed": self.passed,
        }


def compare_models(
    model: str | Path,
    reference: str,
    *,
    images: Sequence[Path] = (),
    layers: bool = False,
    tolerance: float | None = None,
    multi_scale: str | None = None,
    fetching: FetchOptions = DEFAULT_OPTIONS,
    open_reference: OpenReference = open_numpy_reference,
) -> ModelComparison:
    """Run a model and its reference on the same tensors, and on the same image files.

    On tensors the reference computes in float64, on image files in float32, as upstream does, or in
    a better type.

    Args:
        model: as `Segmenter` takes it.
        reference: a checkpoint as `export_onnx` takes it, or what else `open_reference` opens.
        images: files for the pipeline figure, run at the size that the model was trained at.
        layers: look for the first layer that differs, too; only for our own exports.
        tolerance: largest difference of logits that passes (of masks, where the graph gives
            masks); by default what an export of that precision must keep.
        multi_scale: as `export_onnx` takes it; by default what the model's metadata says.
        fetching: how a checkpoint from elsewhere is fetched and pinned; its `step` is called with
            what is being compared.
        open_reference: what computes the reference; by default NumPy.

    Raises:
        ExportError: the tolerance is no finite number, or negative; or a model that takes pixels
            is to be compared on anything but images.
        ModelError: no such model.
        CheckpointError, FetchError, PinError: no such reference.
        ImageError: an image can't be read.
        ParityError: nothing can be compared: NaN, another shape, layers without names.
    """
    if tolerance is not None and not 0 <= tolerance < inf:
        raise ExportError(f"tolerance {tolerance:g}: give a finite number that is not negative")
    step = fetching.step or (lambda what: None)
    found = find_model(model, fetching)
    file = found.path
    step(f"opening {file.name} and its reference")
    # What it answers is judged here, so a wrong file has to open.
    session = open_session(found, accepted=False)
    stated = model_facts(read_properties(session, found), read_signature(session), found)
    segmenter = Segmenter.from_session(session, metadata=stated)
    gives_alpha = segmenter.metadata.output == "alpha"
    if gives_alpha and (layers or not images):
        raise ExportError(f"{file} takes pixels: it is compared on images (--image FILE) alone")
    precision = _precision(found, segmenter)
    multi_scale = multi_scale or _stated_multi_scale(found)
    against = open_reference(reference, multi_scale, fetching)
    if layers:
        step("comparing layers")
    differences = compare_layers(file, against, precision) if layers else None
    on_images = []
    for number, image in enumerate(images, 1):
        step(f"image {number} of {len(images)}: {image.name}")
        on_images.append(_on_image(segmenter, against, image, precision))
    if gives_alpha:
        return ModelComparison(file, against.name, None, tuple(on_images), None, precision)
    metadata = segmenter.metadata
    shapes = ((1, *metadata.trained_size),) if metadata.fixed else INPUT_SHAPES
    expected = []
    for shape in shapes:
        step(f"{against.name} at {format_size(shape)}, by {against.computed_by}")
        expected.append(against.logits(sample_image(shape).astype(np.float64)))
    step("the graph on the same tensors")
    try:
        parity = logits_parity(
            segmenter.logits, expected, shapes, f"{against.name}, {against.computed_by}"
        )
    except (ModelError, ParityError) as error:
        if differences is None or differences.first is None:
            raise
        raise ParityError(f"{error}; first layer that differs: {differences.first}") from error
    graph = GraphComparison(parity, _tolerance(precision, segmenter, tolerance))
    return ModelComparison(file, against.name, graph, tuple(on_images), differences, precision)


def _stated_multi_scale(file: ModelFile) -> str | None:
    """What an export says of its architecture; None of other files."""
    text = file.graph.properties.get(f"{METADATA_PREFIX}architecture", "{}")
    with suppress(ValueError, AttributeError, RecursionError):
        stated = json.loads(text).get("multi_scale")
        return stated if stated in ("none", "add") else None
    return None


def _precision(file: ModelFile, segmenter: Segmenter) -> str:
    """What an export says of itself; of other files whether they take float16."""
    stated = file.graph.properties.get(f"{METADATA_PREFIX}precision")
    precision = stated or ("fp16" if segmenter.is_half else "fp32")
    return precision if precision in BOUNDS else "fp32"


def _tolerance(precision: str, segmenter: Segmenter, largest: float | None) -> LogitsTolerance:
    """What passes: as in an export of this precision; masks alone where the graph gives masks."""
    known = LOGITS_TOLERANCES[precision]
    if largest is None and segmenter.metadata.output == "mask":
        largest = known.logits_max_abs if precision == "fp32" else None
    if largest is None:
        return known
    if segmenter.metadata.output == "mask":
        return LogitsTolerance(mask_max_abs=largest)
    return LogitsTolerance(logits_max_abs=largest)


def _on_image(
    segmenter: Segmenter, reference: Reference, file: Path, precision: str
) -> ImageComparison:
    alpha = segmenter.alpha(file)
    size = segmenter.model_size((alpha.shape[0], alpha.shape[1]))
    mask, image_size = reference_mask(reference.logits, file, size)
    parity = compare_masks(alpha, brought_back(mask, image_size, eight_bits=False))
    card = brought_back(mask, image_size, eight_bits=True)
    card_levels = float(np.abs(np.rint(alpha * 255) - np.rint(card * 255)).max())
    tolerance = mask_tolerance(precision, segmenter.metadata.output == "alpha")
    return ImageComparison(file, size, parity, tolerance, card_levels, ignored_of(file))


def _plain(comparison: GraphComparison | ImageComparison) -> dict[str, Any]:
    """JSON-ready; what is not limited has no entry."""
    allowed = {key: x for key, x in asdict(comparison.tolerance).items() if x < inf}
    return {
        "parity": comparison.parity.to_dict(),
        "tolerance": allowed,
        "problem": comparison.problem,
        "passed": comparison.problem is None,
    }
