"""Which layers stay in float32: each group of layers is tried alone in int8, the worst go first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx

from ..errors import PrecisionError
from ..graph.weights import WeightStore
from ..verify.logits import Array
from ..verify.quality import Quality, quality
from .calibration import observe
from .feedback import rounded_weights
from .graph_rewriter import Rewriting
from .int8 import (
    ActivationRange,
    Int8Plan,
    RoundedWeight,
    faster_in_int8,
    folded_relus,
    offset_predictors,
    quantized,
    weight_of,
)
from .join_sums import join_sums

PROBES = 4
"""Images on which each group is tried alone; the verdict is over all of them."""
KNOWN = 2 / 3
"""Share of the images that ranges and rounded weights are made from for the verdict, which is over
all; the file itself is then made from all."""
MARGIN = 1.1
"""By how much a range is wider than what the images showed (`int8_techniques.json`).
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

    Ranges are taken from two thirds of the images and masks compared on all of them, so that a
    third of the verdict is over images that the ranges don't know; the model is then made from all.

    Raises:
        PrecisionError: even with every group left out, the mean IoU is below `min_iou`.
    """
    search = _Search(model, weights, images, step)
    full = search.tried(())
    if full.quality.iou_mean >= min_iou:
        return search.of_all(full, min_iou)
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
    return search.of_all(best, min_iou)


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
        self.exact, self.parts = join_sums(model, faster_in_int8(model, "Conv"), weights)
        self.products = faster_in_int8(self.exact, "MatMul")
        self.convolutions = faster_in_int8(self.exact, "Conv")
        self.groups = grouped(self.exact)
        self._known = max(1, round(KNOWN * len(images)))
        self._seen: dict[str, ActivationRange] = {}
        self.ranges: dict[str, ActivationRange] = {}
        self.rounded: dict[str, RoundedWeight] = {}
        self._learn(0, self._known)
        self.reference = observe(model, images, weights=weights).logits

    def _learn(self, first: int, end: int) -> None:
        """Widen the ranges by some images, and round weights by all images up to these."""
        # The graph that isn't joined holds all of these values, and takes less memory.
        found = observe(self.model, self.images[first:end], self._ends(), weights=self.weights)
        for name, new in found.ranges.items():
            old = self._seen.get(name, new)
            low, high = np.minimum(old.low, new.low), np.maximum(old.high, new.high)
            self._seen[name] = ActivationRange(low, high)
            more = np.float32(MARGIN - 1)
            self.ranges[name] = ActivationRange(low - more * abs(low), high + more * abs(high))
        self._step("calibrating int8: rounding weights")
        self.rounded = {}
        plan = self._plan(())
        self.rounded = rounded_weights(self.exact, self.images[:end], plan, self.weights)

    def of_all(self, verdict: Quantized, min_iou: float) -> Quantized:
        """A model that was judged, made anew from all images; the verdict on it stays.

        Where that is worse than what may be, the model is the one that was judged.
        """
        if self._known == len(self.images):
            return verdict
        self._learn(self._known, len(self.images))
        names = verdict.quality.excluded
        again = self.tried([group for group in self.groups if group.name in names])
        return (
            verdict if again.quality.iou_mean < min_iou else again._replace(quality=verdict.quality)
        )

    def tried(self, excluded: Sequence[LayerGroup], images: int | None = None) -> Quantized:
        """All but some groups in int8, and the masks of the first `images`."""
        self._trials += 1
        if self._trials > 1:
            left = ", ".join(group.name for group in excluded) or "nothing"
            self._step(f"calibrating int8, trial {self._trials}: {left} left in float32")
        candidate = quantized(self.exact, self._plan(excluded), self.weights)
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

    def _ends(self) -> list[str]:
        """Values that convolutions take, or that are put together for one, and those they give."""
        relus = folded_relus(self.exact)
        ends: list[str] = []
        for node in self.exact.graph.node:
            if node.name in self.convolutions:
                x = node.input[0]
                ends += (*self.parts.get(x, (x,)), relus.get(node.name, node).output[0])
        return list(dict.fromkeys(ends))

    def _plan(self, excluded: Iterable[LayerGroup]) -> Int8Plan:
        exact = frozenset().union(*(group.nodes for group in excluded))
        return Int8Plan(
            products=self.products - exact,
            convolutions=self.convolutions - exact,
            ranges=self.ranges,
            rounded=self.rounded,
            parts=self.parts,
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
