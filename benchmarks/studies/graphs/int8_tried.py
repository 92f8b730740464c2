"""Techniques of int8 that were tried and not taken: `int8_techniques` measures them too.

Each takes the calibration's search, whose model, ranges and rounded weights are today's, and gives
a quantized model.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import onnx
from birefnet_export.graph.signature import INPUT
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision import int8
from birefnet_export.precision.graph_rewriter import consumers
from birefnet_export.precision.int8 import ActivationRange
from birefnet_export.precision.sensitivity import _Search
from birefnet_runtime.session.open import open_session
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SHARES = np.linspace(0.2, 1.1, 19)
"""Of a range, of which the one with the least squared error is taken."""
PASSES, DAMPING = 3, 0.5
"""Rounds of correcting biases, and how much of the mean error each takes away."""
PLACES = 4000
"""Samples of a channel and picture."""
MOVING = {"Reshape", "Transpose", "Pad", "Gather"}
"""What stands between a LayerNormalization and its products, and leaves channels where they are."""
Values = dict[str, NDArray[np.float32]]


def equalized(search: _Search) -> onnx.ModelProto:
    """Each channel of each convolution's output has steps of its own.

    It is the most that scales moved between convolutions could gain (Nagel et al., arXiv
    1906.04721), and costs a product and a sum.
    """
    by_channel = ActivationRange.by_channel

    def with_exact_zero(self: ActivationRange) -> int8.Levels:
        if self.low.min() < 0:
            return by_channel(self)
        step = np.maximum(self.high, self.high.max() / int8.LEAST_SHARE) / 255
        return int8.Levels(step, step * int8.MIDDLE)

    with (
        mock.patch.object(int8, "offset_predictors", return_value=search.convolutions),
        mock.patch.object(ActivationRange, "by_channel", with_exact_zero),
    ):
        return search.tried(()).model


def least_error(search: _Search, all_values: bool = False) -> onnx.ModelProto:
    """Ranges that round the calibration's values best: of offsets, or of all that convolutions
    take and give."""
    rng = np.random.default_rng(0)
    samples: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for found in _observed(search.model, search.images, search._ends()):
        for name, value in found.items():
            channels = value[0].reshape(value.shape[1], -1)
            samples[name].append(channels[:, rng.permutation(channels.shape[1])[:PLACES]])
    offsets = int8.offset_predictors(search.exact)
    by_channel = {n.output[0] for n in search.exact.graph.node if n.name in offsets}
    ranges = dict(search.ranges)
    for name, parts in samples.items():
        whole = np.concatenate(parts, 1)
        known = search._seen[name]
        if name in by_channel:
            rows = [_best_range(v[None], *e) for v, *e in zip(whole, *known, strict=True)]
            low, high = map(np.array, zip(*rows, strict=True))
        elif all_values:
            ends = _best_range(whole, known.low.min(), known.high.max())
            low, high = np.clip(known.low, *ends), np.clip(known.high, *ends)
        else:
            continue
        ranges[name] = ActivationRange(np.asarray(low, np.float32), np.asarray(high, np.float32))
    with mock.patch.object(search, "ranges", ranges):
        return search.tried(()).model


def corrected(search: _Search) -> onnx.ModelProto:
    """Biases take up the mean error of each channel of convolutions and products on the images."""
    readers = consumers(search.exact)
    relus = int8.folded_relus(search.exact)
    constants = {tensor.name for tensor in search.exact.graph.initializer}
    biases: dict[str, str] = {}
    for node in search.exact.graph.node:
        if node.name in search.convolutions and len(node.input) > 2:
            biases[relus.get(node.name, node).output[0]] = node.input[2]
        elif node.name in search.products:
            (after, *others) = readers[node.output[0]]
            added = [name for name in after.input if name in constants]
            if after.op_type == "Add" and added and not others:
                biases[after.output[0]] = added[0]
    exact = _channel_means(search.exact, search.images, biases)
    changed = onnx.ModelProto()
    changed.CopyFrom(search.exact)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    shared = list(biases.values())
    with mock.patch.object(search, "exact", changed):
        for _ in range(PASSES):
            found = _channel_means(search.tried(()).model, search.images, biases)
            for name, bias in biases.items():
                old = numpy_helper.to_array(tensors[bias])
                by = DAMPING / shared.count(bias) * (exact[name] - found[name])
                new = np.asarray(old + by.reshape(old.shape), np.float32)
                tensors[bias].CopyFrom(numpy_helper.from_array(new, bias))
        return search.tried(()).model


def smoothed(search: _Search) -> onnx.ModelProto:
    """Channels of LayerNormalizations that reach far are divided, and the products' weights
    multiplied, by the square root of what each reaches by what its weights do (SmoothQuant, arXiv
    2211.10438, with alpha 1/2). Exact in float32."""
    model = onnx.ModelProto()
    model.CopyFrom(search.model)
    readers = consumers(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    following = {norm.name: _products(norm, readers, set(tensors)) for norm in norms}
    groups: dict[str, list[onnx.NodeProto]] = defaultdict(list)  # both scales share their weights
    for norm in norms:
        groups[norm.input[1]].append(norm)
    alone = [g for g in groups.values() if all(following[norm.name] for norm in g)]
    reach: dict[str, Any] = {}
    for found in _observed(model, search.images, [n.output[0] for group in alone for n in group]):
        for name, value in found.items():
            seen = np.abs(value).reshape(-1, value.shape[-1]).max(0)
            reach[name] = np.maximum(reach.get(name, 0), seen)
    for group in alone:
        names = {name for norm in group for name in following[norm.name]}
        weights = {name: numpy_helper.to_array(tensors[name]) for name in names}
        widest = np.max([np.abs(weight).max(1) for weight in weights.values()], 0)
        farthest = np.max([reach[norm.output[0]] for norm in group], 0)
        share = np.sqrt(np.maximum(farthest, 1e-6) / np.maximum(widest, 1e-6))
        share = (share / np.exp(np.log(share).mean())).astype(np.float32)
        for place in (1, 2):
            new = numpy_helper.to_array(tensors[group[0].input[place]]) / share
            name = f"{group[0].name}:smoothed{place}"
            model.graph.initializer.append(numpy_helper.from_array(new, name))
            for norm in group:
                norm.input[place] = name
        for name, weight in weights.items():
            tensors[name].CopyFrom(numpy_helper.from_array(weight * share[:, None], name))
    return _Search(model, WeightsInGraph(), search.images).tried(()).model


TRIED: dict[str, Callable[[_Search], onnx.ModelProto]] = {
    "with steps for each channel of every convolution": equalized,
    "with offsets' ranges of least squared error": least_error,
    "with all ranges of least squared error": partial(least_error, all_values=True),
    "with biases corrected by the mean error": corrected,
    "with LayerNormalization's outliers in the weights": smoothed,
}
"""What each adds to the calibration as it is."""


def _best_range(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """The share of a range around its middle, or from zero, whose 255 levels round values best."""
    best, least = (low, high), np.inf
    for share in SHARES:
        middle = (low + high) / 2 if low < 0 else low / 2
        ends = middle + (low - middle) * share, middle + (high - middle) * share
        step = (ends[1] - ends[0]) / 255 or 1.0
        rounded = ends[0] + step * np.clip(np.rint((values - ends[0]) / step), 0, 255)
        error = float(np.square(rounded - values).mean())
        if error < least:
            best, least = ends, error
    return best


def _products(
    norm: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]], constants: set[str]
) -> list[str]:
    """The weights that a norm's output is multiplied by; nothing where others read it, too."""
    weights: list[str] = []
    waiting = [norm.output[0]]
    while waiting:
        for reader in readers[waiting.pop()]:
            if reader.op_type in MOVING:
                waiting.append(reader.output[0])
            elif reader.op_type == "MatMul" and reader.input[1] in constants:
                weights.append(reader.input[1])
            else:
                return []
    return list(dict.fromkeys(weights))


def _channel_means(model: onnx.ModelProto, images: Sequence[Any], values: Any) -> Values:
    """The mean of each channel of maps (1, c, h, w), or of the last axis of others, over images."""
    sums: dict[str, Any] = defaultdict(float)
    for found in _observed(model, images, list(values)):
        for name, value in found.items():
            axes = (0, 2, 3) if value.ndim == 4 else tuple(range(value.ndim - 1))
            sums[name] += value.mean(axes)
    return {name: total / len(images) for name, total in sums.items()}


def _observed(model: onnx.ModelProto, images: Sequence[Any], names: Sequence[str]) -> Any:
    """The named values of a model, image by image."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    asked = [name for name in dict.fromkeys(names) if name != INPUT.name]
    for name in asked:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    with WeightsInGraph().file_of(watched) as file:
        session = open_session(file, accepted=False)
        for image in images:
            found = dict(zip(asked, session.run(asked, {INPUT.name: image}), strict=True))
            yield {**found, **({INPUT.name: image} if INPUT.name in names else {})}
