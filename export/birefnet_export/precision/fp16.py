"""fp16: weights and activations as float16, but float32 where that was measured to matter.

A pass over the finished float32 graph. It decides node by node, so integers (window indices,
shapes) are never touched, and a Cast stands only where two decisions meet, once for all who read
the value. The result is explicitly typed: TensorRT takes it as a strongly typed network, CUDA runs
it as it stands, and ONNX Runtime's CPU provider, which has few float16 kernels, computes in
float32 between roundings.
"""

from __future__ import annotations

from collections.abc import Set
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ..errors import GraphError
from ..graph.weights import WeightStore
from .graph_rewriter import Rewriting, float_values

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
MOVING = frozenset(
    ("Concat", "Expand", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze",
     "Transpose", "Unsqueeze")
)  # fmt: skip
"""Operators that move values without computing: they take them as they come."""
SMALL_CONSTANT = 4096
"""Elements up to which a constant of a float32 node stays float32; larger ones are halved."""
POOR = 2.0**-9
"""What rounding may take of a constant, as a share of its norm; of one that float16 has all digits
for it takes a quarter of that at most."""


def needs_float32(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes that compute in float32.

    Measured (`benchmarks/results/precision.json`): nothing in the network itself needs it. What
    does is `GridSample`'s grid, where a whole map's coordinates share one range: near the edge of
    256 pixels a float16 step is an eighth of a pixel. So do the coordinates by which attention's
    queries and keys are rotated: a float16 step at a whole turn is .004 rad.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    names = _before_rotations(model, makers)
    waiting = [node for node in model.graph.node if node.op_type == "GridSample"]
    while waiting:
        node = waiting.pop()
        names.add(node.name)
        # From a GridSample on the way back through what makes its grid, as far as the convolution.
        sources = node.input[1:2] if node.op_type == "GridSample" else node.input
        makes = [makers[name] for name in sources if name in makers]
        waiting += [m for m in makes if m.op_type != "Conv" and m.name not in names]
    return frozenset(names)


def _before_rotations(model: onnx.ModelProto, makers: dict[str, onnx.NodeProto]) -> set[str]:
    """Sines, cosines and what makes their angles from the size of an image."""
    names: set[str] = set()
    waiting = [node for node in model.graph.node if node.op_type in ("Cos", "Sin")]
    while waiting:
        node = waiting.pop()
        names.add(node.name)
        makes = [makers[name] for name in node.input if name in makers]
        waiting += [m for m in makes if m.op_type != "Shape" and m.name not in names]
    return names


def to_half(
    model: onnx.ModelProto, float32_nodes: Set[str], weights: WeightStore | None = None
) -> onnx.ModelProto:
    """The model in float16, input and output in float32; `model` itself stays as it is.

    Args:
        float32_nodes: names of the nodes that compute in float32.
        weights: what keeps the weights of both; by default the graphs themselves.

    Raises:
        GraphError: a node holds a graph of its own, or a constant is beyond float16's range.
    """
    work = Rewriting(model, weights)
    floats = float_values(model)
    types = {info.name: FLOAT for info in model.graph.input}
    outputs = {info.name for info in model.graph.output}
    for node in work.nodes:
        concerned = {i: name for i, name in enumerate(node.input) if name in floats}
        came = {types[name] for name in concerned.values() if name in types}
        single = node.name in float32_nodes or (node.op_type in MOVING and came == {FLOAT})
        target = FLOAT if single or outputs.intersection(node.output) else HALF
        inputs = {i: _operand(work, name, types.get(name), target) for i, name in concerned.items()}
        copied = work.copy(node, inputs)
        for attribute in copied.attribute:
            if node.op_type == "Cast" and attribute.i == FLOAT:
                attribute.i = target
        types.update((name, target) for name in node.output if name in floats)
    return work.finished()


def poorly_halved(values: NDArray[np.float32]) -> bool:
    """Whether float16 has no room for a constant's values, or few of their digits.

    Below 6e-5 float16 has fewer digits from one power of two to the next, and below 6e-8 none.
    """
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        return True
    lost = np.linalg.norm(values - values.astype(np.float16).astype(np.float32))
    return bool(lost > POOR * np.linalg.norm(values))


def _operand(work: Rewriting, name: str, came: int | None, target: int) -> str:
    """A float value as `target`: itself, a cast of it, or a constant stored anew."""
    suffix = "fp16" if target == HALF else "fp32"
    if came is not None:  # a value that a node or the input gives
        return name if came == target else work.emit("Cast", [name], f"{name}:{suffix}", to=target)
    if target == FLOAT and prod(work.shape(name)) <= SMALL_CONSTANT:
        return name
    values = work.array(name)
    if target == FLOAT and poorly_halved(values):
        return name
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise GraphError(f"{name} holds values beyond float16's range")
    half = work.constant(f"{name}:fp16", values.astype(np.float16))
    # ONNX Runtime folds this cast when it loads the file.
    return half if target == HALF else work.emit("Cast", [half], f"{name}:fp32", to=FLOAT)
