"""Which layers stay in float32: each group of layers is tried alone in int8, the worst go first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx

from ..errors import PrecisionError
from ..graph.weights import WeightStore
from ..verify.logits import Array
from ..verify.quality import Quality, quality
from .calibration import observe
from .graph_rewriter import Rewriting
from .int8 import (
    ActivationRange,
    Int8Plan,
    faster_in_int8,
    folded_relus,
    offset_predictors,
    quantized,
    weight_of,
)

PROBES = 4
"""Images on which each group is tried alone; the verdict is over all of them."""
MARGIN = 1.25
"""By how much a range is wider than what the images showed.

On nano with ranges from 2 photographs, masks of 11 had a mean IoU of .9805 without it and .9850
with it; from 6, .9972 and .9964.
"""


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers that are quantized, or left alone, together."""

    name: str
    """The part of the network, and what kind of layer: `stage2 products`, `block1 offsets`."""
    nodes: frozenset[str]


class Quantized(NamedTuple):
    """A quantized model, and what it does to the masks of the images that it was tried on."""

    model: onnx.ModelProto
    quality: Quality


def quantized_within(
    model: onnx.ModelProto,
    weights: WeightStore,
    images: Sequence[Array],
    min_iou: float,
    step: Callable[[str], None] = lambda what: None,
) -> Quantized:
    """Quantize as much of a model as its masks allow.

    Ranges are taken from every other image and masks compared on all of them, so that half of the
    verdict is over images that the ranges don't know.

    Raises:
        PrecisionError: even with every group left out, the mean IoU is below `min_iou`.
    """
    search = _Search(model, weights, images, step)
    full = search.tried(())
    if full.quality.iou_mean >= min_iou:
        return full
    worst_first = search.ranked()
    # Leaving out more never hurts, so the fewest that suffice are found by halving.
    too_few, enough = 0, len(worst_first)
    best = search.tried(worst_first)
    if best.quality.iou_mean < min_iou:
        raise PrecisionError(
            f"int8 keeps an IoU of {best.quality.iou_mean:.4f} with the float32 masks "
            f"(MAE {best.quality.mae_mean:.4f}), less than the {min_iou} asked for, even with "
            "every sensitive layer left out; lower --min-iou, or export fp16 or fp32"
        )
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        trial = search.tried(worst_first[:middle])
        if trial.quality.iou_mean >= min_iou:
            best, enough = trial, middle
        else:
            too_few = middle
    return best


class _Search:
    """What stays the same between trials: the model, the images, and what float32 gave."""

    def __init__(
        self,
        model: onnx.ModelProto,
        weights: WeightStore,
        images: Sequence[Array],
        step: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._step = step
        self._trials = 0
        self.model = model
        self.weights = weights
        self.images = images
        self.products = faster_in_int8(model, "MatMul")
        self.convolutions = faster_in_int8(model, "Conv")
        self.groups = grouped(model)
        relus = folded_relus(model)
        nodes = [node for node in model.graph.node if node.name in self.convolutions]
        ends = [v for n in nodes for v in (n.input[0], relus.get(n.name, n).output[0])]
        values = list(dict.fromkeys(ends))
        seen = observe(model, images[::2], values, weights=weights).ranges
        self.ranges = {v: ActivationRange(r.low * MARGIN, r.high * MARGIN) for v, r in seen.items()}
        self.reference = observe(model, images, weights=weights).logits

    def tried(self, excluded: Sequence[LayerGroup], images: int | None = None) -> Quantized:
        """All but some groups in int8, and the masks of the first `images`."""
        self._trials += 1
        if self._trials > 1:
            left = ", ".join(group.name for group in excluded) or "nothing"
            self._step(f"calibrating int8, trial {self._trials}: {left} left in float32")
        candidate = quantized(self.model, self._plan(excluded), self.weights)
        logits = observe(candidate, self.images[:images], weights=self.weights).logits
        names = tuple(group.name for group in excluded)
        return Quantized(candidate, quality(logits, self.reference[:images], names))

    def ranked(self) -> list[LayerGroup]:
        """The groups, the one that alone does the masks most harm first."""
        harm = {
            group.name: self.tried([g for g in self.groups if g != group], PROBES).quality.mae_mean
            for group in self.groups
        }
        return sorted(self.groups, key=lambda group: -harm[group.name])

    def _plan(self, excluded: Iterable[LayerGroup]) -> Int8Plan:
        exact = frozenset().union(*(group.nodes for group in excluded))
        return Int8Plan(
            products=self.products - exact,
            convolutions=self.convolutions - exact,
            ranges=self.ranges,
        )


def grouped(model: onnx.ModelProto) -> list[LayerGroup]:
    """Every node with a weight, by the part of the network and the kind of layer."""
    work = Rewriting(model)
    offsets = offset_predictors(model)
    nodes: dict[str, set[str]] = {}
    for node in work.nodes:
        if weight_of(work, node):
            # Both scales share their stages; the patch embedding is in no part.
            parts = [p for p in node.name.split("/")[:-1] if p not in ("full", "half", "decoder")]
            part = parts[0] if parts else "patches"
            kind = {"MatMul": "products"}.get(node.op_type, "convolutions")
            if node.name in offsets:
                kind = "offsets"
            nodes.setdefault(f"{part} {kind}", set()).add(node.name)
    return [LayerGroup(name, frozenset(members)) for name, members in nodes.items()]
