"""int8: the products that gain by it computed in u8 x s8, and all other weights stored as float16.

A pass over the finished float32 graph.

- Matrix products with a constant are quantized dynamically: `DynamicQuantizeLinear`,
  `MatMulInteger`, and a scale a column, which ONNX Runtime fuses into one operator with the bias.
- Convolutions whose ranges are known are quantized statically, as `QuantizeLinear` and
  `DequantizeLinear` around them, which ONNX Runtime fuses into `QLinearConv`.
- All other weights, those of the deformable convolutions among them, are stored as float16 and a
  `Cast`, which ONNX Runtime folds when it loads the file. As int8 they made the file a tenth
  smaller and the masks twice as wrong.

Activations are uint8, weights int8 and symmetric: u8 x u8 is several times slower on x86. Without
VNNI (before Cascade Lake and Zen 4) ONNX Runtime adds two products u8 x s8 in 16 bits, which
saturate; so the weights of what is computed in int8 keep within `PAIR_LIMIT`, and results are the
same on every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from ..graph.weights import WeightStore
from .graph_rewriter import Rewriting, consumers

CHANNELS = {"MatMul": 1, "Conv": 0, "DeformConv": 0}
"""Operators whose second operand may be a weight, and the axis of its output channels."""
SMALL_WEIGHT = 1024
"""Elements up to which a weight stays float32: nothing to be saved."""
MIN_INTENSITY = {"MatMul": 40.0, "Conv": 50.0}
"""Multiplications for each value read or written from which int8 is faster.

Measured on Swin T at 1024 x 1024 with VNNI: a 1 x 1 convolution of 64 to 256 channels (51) took 1.4
ms instead of 9.9, a product of 96 by 96 channels (48) gained too; the patch embedding (47) lost.
"""
PAIR_LIMIT = 128
"""Largest sum of two neighboring weights of one sign: 255 * 128 is less than 2 ** 15.

AVX2 and AVX-512 without VNNI multiply by `vpmaddubsw`, which adds the products of two neighbors in
a saturating int16 (Intel SDM, volume 2). Few weights come near the bound, so this costs less than
seven bits for all of them would: `benchmarks/results/int8_processors.json`.
"""
MIDDLE = 128
"""Zero of a symmetric uint8."""
LEAST_SHARE = 16
"""No channel's steps are finer than the coarsest channel's by more than this: one that hardly moved
in these images may do so in others."""


class ActivationRange(NamedTuple):
    """The least and the greatest value that an activation took, channel by channel."""

    low: NDArray[np.float32]
    """(channels,)"""
    high: NDArray[np.float32]

    def affine(self) -> tuple[np.float32, np.uint8]:
        """Scale and zero point of uint8 for the range over all, widened to hold zero exactly."""
        low, high = min(float(self.low.min()), 0.0), max(float(self.high.max()), 0.0)
        scale = (high - low) / 255 or 1.0
        return np.float32(scale), np.uint8(round(-low / scale))

    def by_channel(self) -> Levels:
        """Steps of uint8 for each channel, and what its `MIDDLE` stands for."""
        step = (self.high - self.low) / (2 * (255 - MIDDLE))
        step = np.maximum(step, step.max() / LEAST_SHARE)
        step = np.where(step > 0, step, np.float32(1))
        return Levels(step.astype(np.float32), np.asarray((self.low + self.high) / 2, np.float32))


class Levels(NamedTuple):
    """What uint8 stands for, channel by channel: (x - MIDDLE) * step + middle."""

    step: NDArray[np.float32]
    """(channels,)"""
    middle: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Int8Plan:
    """Which nodes, by name, compute in int8; all others keep computing in float32."""

    products: frozenset[str] = frozenset()
    """MatMul nodes."""
    convolutions: frozenset[str] = frozenset()
    """Conv nodes; `ranges` must know their input and, by channel, their (rectified) output."""
    ranges: Mapping[str, ActivationRange] = field(default_factory=dict)
    rounded: Mapping[str, RoundedWeight] = field(default_factory=dict)
    """Weights that were rounded with regard to their inputs, by name; others go to the nearest."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The parts of each concatenation, by its output, that is read by one of `convolutions`: each
    has steps of its own, of its range, and weights are in units of these."""

    def part_steps(self, concatenated: str) -> tuple[NDArray[np.float32], np.uint8]:
        """Steps of each channel of a concatenation, (channels,), and their common zero."""
        ranges = [self.ranges[part] for part in self.parts[concatenated]]
        zero = MIDDLE if any(one.low.min() < 0 for one in ranges) else 0
        steps = []
        for one in ranges:
            reach = max(one.high.max() / (255 - zero), -one.low.min() / zero if zero else 0)
            steps.append(np.full(len(one.high), reach or 1, np.float32))
        return np.concatenate(steps), np.uint8(zero)

    def weight_in_steps(self, node: NodeProto, weight: LayerWeight) -> LayerWeight:
        """A weight in units of its inputs' steps, where these have some of their own."""
        if node.input[0] not in self.parts:
            return weight
        steps, _ = self.part_steps(node.input[0])
        return weight._replace(read=lambda: weight.read() * steps[:, None, None])


class LayerWeight(NamedTuple):
    """The constant that a node multiplies by."""

    name: str
    position: int
    """Which operand it is."""
    axis: int
    """Of its output channels."""
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]
    """Its values."""

    @property
    def inputs(self) -> int:
        """How many values an output is a sum of."""
        return prod(self.shape) // self.shape[self.axis]

    @property
    def intensity(self) -> float:
        """Multiplications for each value that the product reads or writes."""
        outputs, inputs = self.shape[self.axis], self.shape[1 - self.axis]
        return prod(self.shape) / (outputs + inputs)


class RoundedWeight(NamedTuple):
    """A weight as int8 and a scale for each output channel."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    """(channels,)"""


def quantized(
    model: onnx.ModelProto, plan: Int8Plan, weights: WeightStore | None = None
) -> onnx.ModelProto:
    """The model in int8 as `plan` says; input and output stay float32, and `model` as it is.

    Args:
        weights: what keeps the weights of both; by default the graphs themselves.

    Raises:
        GraphError: a node holds a graph of its own.
    """
    work = Rewriting(model, weights)
    relus = folded_relus(model)
    offsets, readers = offset_predictors(model), consumers(model)
    dropped: set[str] = set()
    for node in work.nodes:
        weight = weight_of(work, node)
        if node.name in dropped:
            continue
        if node.output[0] in plan.parts:
            if not {reader.name for reader in readers[node.output[0]]} <= plan.convolutions:
                work.copy(node)
        elif weight is None:
            work.copy(node)
        elif node.name in plan.products:
            _dynamic_product(work, node, weight, plan)
        elif node.name in plan.convolutions:
            relu = relus.get(node.name)
            if relu:
                dropped.add(relu.name)
            output = (relu or node).output[0]
            levels = plan.ranges[output].by_channel() if node.name in offsets else None
            _static_convolution(work, node, weight, output, plan, levels)
        else:
            half = work.constant(f"{weight.name}:fp16", weight.read().astype(np.float16))
            restored = work.emit("Cast", [half], f"{weight.name}:fp32", to=TensorProto.FLOAT)
            work.copy(node, {weight.position: restored})
    return work.finished()


def faster_in_int8(model: onnx.ModelProto, op_type: str) -> frozenset[str]:
    """Names of the MatMul or Conv nodes that are faster in int8, their quantizing included."""
    work = Rewriting(model)
    weights = {n.name: weight_of(work, n) for n in work.nodes if n.op_type == op_type}
    return frozenset(
        name
        for name, weight in weights.items()
        if weight and weight.position == 1 and weight.intensity >= MIN_INTENSITY[op_type]
    )


def weight_of(work: Rewriting, node: NodeProto) -> LayerWeight | None:
    """The constant, of more than a few elements, that a node multiplies by, if it has one."""
    if node.op_type not in CHANNELS:
        return None
    axis = CHANNELS[node.op_type]
    for position, of_channels in ((1, axis), (0, 1 - axis)):
        name = node.input[position]
        if work.is_constant(name) and prod(shape := work.shape(name)) > SMALL_WEIGHT:
            return LayerWeight(name, position, of_channels, shape, partial(work.array, name))
    return None


def folded_relus(model: onnx.ModelProto) -> dict[str, NodeProto]:
    """The Relu behind each Conv whose output nobody else reads."""
    readers = consumers(model)
    relus = {}
    for node in model.graph.node:
        after = readers[node.output[0]]
        if node.op_type == "Conv" and [reader.op_type for reader in after] == ["Relu"]:
            relus[node.name] = after[0]
    return relus


def offset_predictors(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the convolutions that predict offsets and modulation: only theirs are split."""
    readers = consumers(model)
    return frozenset(
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and {r.op_type for r in readers[node.output[0]]} == {"Split"}
    )


def round_for_sums(weight: LayerWeight) -> RoundedWeight:
    """The nearest int8 whose neighbors keep within `PAIR_LIMIT`.

    Rounding adds one half to each of two neighbors at most, so that a sum stays within it.
    """
    values = weight.read()
    channels = np.moveaxis(values, weight.axis, 0)
    sums = largest_sums(channels.reshape(len(channels), -1), neighbors(weight))
    return round_to(values, weight.axis, sums)


def round_to(values: NDArray[np.float32], axis: int, largest: NDArray[np.float32]) -> RoundedWeight:
    """A weight in the `steps_of` the largest of each channel, or of a sum of two."""
    scale = steps_of(largest)
    shape = [1] * values.ndim
    shape[axis] = -1
    return RoundedWeight(np.rint(values / scale.reshape(shape)).astype(np.int8), scale)


def steps_of(largest: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Steps of which the `largest` takes 127, one less than `PAIR_LIMIT`."""
    return np.where(largest > 0, largest / (PAIR_LIMIT - 1), 1).astype(np.float32)


def neighbors(weight: LayerWeight) -> list[NDArray[np.int64]]:
    """The other one of each input's pair in a sum, -1 where it is alone, in each order of sums.

    That is along the rows of a product; for a convolution, which ONNX Runtime unfolds with the
    channels first or last, in both orders.
    """
    inputs = np.arange(weight.inputs)
    orders = [inputs]
    if len(weight.shape) > 2:
        orders.append(np.moveaxis(inputs.reshape(weight.shape[1:]), 0, -1).ravel())
    others = []
    for order in orders:
        other = np.full(len(inputs), -1)
        pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
        other[pairs[:, 0]], other[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        others.append(other)
    return others


def largest_sums(
    rows: NDArray[np.floating[Any]], others: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """The largest weight of each row, (outputs, inputs), or sum of two neighbors of one sign."""
    largest = np.abs(rows).max(1)
    for other in others:
        paired = np.flatnonzero(other >= 0)
        for sign in (1, -1):
            parts = np.maximum(sign * rows, 0)
            sums = parts[:, paired] + parts[:, other[paired]]
            largest = np.maximum(largest, sums.max(1, initial=0))
    return np.asarray(largest, np.float32)


def _dynamic_product(work: Rewriting, node: NodeProto, weight: LayerWeight, plan: Int8Plan) -> None:
    """x @ w, x quantized by the range that it turns out to have."""
    x, (product,) = node.input[0], node.output
    values, scale = plan.rounded.get(weight.name) or round_for_sums(weight)
    x_u8, x_scale, x_zero = (f"{x}:{part}" for part in ("u8", "u8_scale", "u8_zero"))
    work.emit_all("DynamicQuantizeLinear", [x], [x_u8, x_scale, x_zero])
    w = work.constant(f"{weight.name}:int8", values)
    w_scale = work.constant(f"{weight.name}:scale", scale)
    w_zero = work.constant(f"{weight.name}:zero", np.zeros_like(scale, np.int8))
    total = work.emit("MatMulInteger", [x_u8, w, x_zero, w_zero], f"{product}:int32")
    as_float = work.emit("Cast", [total], f"{product}:float", to=TensorProto.FLOAT)
    both = work.emit("Mul", [x_scale, w_scale], f"{product}:scale")
    work.emit("Mul", [as_float, both], product)


def _static_convolution(
    work: Rewriting,
    node: NodeProto,
    weight: LayerWeight,
    output: str,
    plan: Int8Plan,
    levels: Levels | None,
) -> None:
    """Input, weight, bias and output quantized; a Relu is the lower end of the output's range.

    With `levels`, the output is computed in steps of each channel from its middle, which the
    weights' scales and the bias hold, and brought back behind. Offsets of one tap reach ten times
    as far as another's, and further to one side, so one scale for all would round most of them to
    half pixels. (A `DequantizeLinear` by channel would do without the product, and takes longer.)
    """
    x, ranges = node.input[0], plan.ranges
    in_steps = plan.weight_in_steps(node, weight)
    values, scale = plan.rounded.get(weight.name) or round_for_sums(in_steps)
    if x in plan.parts:
        restored, step = _concatenated(work, x, plan), np.float32(1)
    else:
        step = ranges[x].affine()[0]
        restored = _through_u8(work, x, f"{x}:restored", ranges[x].affine())
    bias = work.array(node.input[2]) if len(node.input) > 2 else np.zeros_like(scale)
    if levels is not None:
        scale, bias = scale / levels.step, (bias - levels.middle) / levels.step
    # The bias in units of the products that it is added to.
    unit = scale * step
    limits = np.iinfo(np.int32)
    added = np.clip(np.rint(bias / unit.astype(np.float64)), limits.min, limits.max)
    inputs = {
        0: restored,
        1: _restored_channels(work, weight.name, values, scale),
        2: _restored_channels(work, f"{node.name}:bias", added.astype(np.int32), unit),
    }
    convolved = f"{node.output[0]}:float"
    work.copy(node, inputs).output[0] = convolved
    if levels is None:
        _through_u8(work, convolved, output, ranges[output].affine())
        return
    whole = _through_u8(work, convolved, f"{output}:steps", (np.float32(1), np.uint8(MIDDLE)))
    by_channel = work.constant(f"{output}:step", levels.step[:, None, None])
    scaled = work.emit("Mul", [whole, by_channel], f"{output}:scaled")
    middle = work.constant(f"{output}:middle", levels.middle[:, None, None])
    work.emit("Add", [scaled, middle], output)


def _concatenated(work: Rewriting, x: str, plan: Int8Plan) -> str:
    """Parts rounded to uint8, each in its own steps, put together, and as whole numbers in float32.

    ONNX Runtime fuses what it gives with the convolution behind.
    """
    steps, zero = plan.part_steps(x)
    stored, first = [], 0
    offset = work.constant(f"{x}:zero", np.asarray(zero))
    for part in plan.parts[x]:
        scale = work.constant(f"{x}:scale{first}", np.asarray(steps[first]))
        stored.append(work.emit("QuantizeLinear", [part, scale, offset], f"{x}:u8 at {first}"))
        first += len(plan.ranges[part].low)
    together = work.emit("Concat", stored, f"{x}:u8", axis=1)
    one = work.constant(f"{x}:one", np.ones((), np.float32))
    return work.emit("DequantizeLinear", [together, one, offset], f"{x}:restored")


def _restored_channels(
    work: Rewriting, name: str, values: NDArray[Any], scale: NDArray[np.float32]
) -> str:
    """Integers and their scale a channel, as ONNX Runtime looks for them before a Conv."""
    operands = [
        work.constant(f"{name}:{values.dtype}", values),
        work.constant(f"{name}:scale", scale),
        work.constant(f"{name}:zero", np.zeros_like(scale, values.dtype)),
    ]
    return work.emit("DequantizeLinear", operands, f"{name}:restored", axis=0)


def _through_u8(work: Rewriting, x: str, result: str, affine: tuple[np.float32, np.uint8]) -> str:
    """x rounded to uint8 and back, which ONNX Runtime fuses with its neighbors."""
    scale, zero = affine
    operands = [
        work.constant(f"{result}:scale", np.asarray(scale)),
        work.constant(f"{result}:zero", np.asarray(zero)),
    ]
    stored = work.emit("QuantizeLinear", [x, *operands], f"{result}:u8")
    return work.emit("DequantizeLinear", [stored, *operands], result)
