"""Sums of convolutions as one convolution of their concatenated inputs, for int8.

In float32 a convolution of concatenated maps is a sum over them, which needs no concatenation. In
int8 each summand would be rounded to 255 levels before the sum, with room for both signs; joined
they are rounded once, behind the Relu, and the concatenation is of bytes. Each part has steps of
its own, which lie in the joined weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
import onnx
from onnx import NodeProto

from ..graph.weights import WeightStore
from .graph_rewriter import Rewriting, consumers

Sums = Mapping[str, tuple[NodeProto, ...]]
"""The convolutions of each sum, by the name of its last Add."""


def join_sums(
    model: onnx.ModelProto, convolutions: Set[str], weights: WeightStore | None = None
) -> tuple[onnx.ModelProto, dict[str, tuple[str, ...]]]:
    """A float32 model whose sums of `convolutions` alone are one convolution each.

    Args:
        convolutions: names of Conv nodes; those of 1 x 1 stay as they are.
        weights: what keeps the weights of both models; by default the graphs themselves.

    Returns:
        The model, in which a joined convolution has the name of its last one; and by the name of
        each concatenation's output the values that are its parts.
    """
    work = Rewriting(model, weights)
    sums, gone = _sums(model, convolutions)
    parts: dict[str, tuple[str, ...]] = {}
    for node in work.nodes:
        if node.name in sums:
            convs = sums[node.name]
            last = convs[-1]
            name = f"{last.name}:parts"
            parts[name] = tuple(conv.input[0] for conv in convs)
            kernel = np.concatenate([work.array(conv.input[1]) for conv in convs], 1)
            bias = np.zeros(len(kernel), np.float32)
            for conv in convs:
                bias += work.array(conv.input[2]) if len(conv.input) > 2 else 0
            operands = {
                0: work.emit("Concat", parts[name], name, axis=1),
                1: work.constant(f"{last.name}:joined", kernel),
                2: work.constant(f"{last.name}:joined_bias", bias),
            }
            work.copy(last, operands).output[0] = node.output[0]
        elif node.name not in gone:
            work.copy(node)
    return work.finished(), parts


def _sums(model: onnx.ModelProto, convolutions: Set[str]) -> tuple[Sums, set[str]]:
    """The sums, and the names of all nodes that joining them does without."""
    readers = consumers(model)
    leaves: dict[str, tuple[NodeProto, ...]] = {}
    inner: dict[str, set[str]] = {}
    for node in model.graph.node:
        output = node.output[0] if node.output else ""
        if node.name in convolutions and _is_wide(node):
            leaves[output], inner[output] = (node,), {node.name}
        elif node.op_type == "Add" and all(
            name in leaves and len(readers[name]) == 1 for name in node.input
        ):
            convs = tuple(conv for name in node.input for conv in leaves[name])
            if len({_settings(conv) for conv in convs}) == 1:
                leaves[output] = convs
                inner[output] = set().union({node.name}, *(inner[name] for name in node.input))
    outer = {
        output: convs
        for output, convs in leaves.items()
        if len(convs) > 1 and not any(reader.output[0] in leaves for reader in readers[output])
    }
    makers = {name: node.name for node in model.graph.node for name in node.output}
    sums = {makers[output]: convs for output, convs in outer.items()}
    gone = set().union(*(inner[output] for output in outer)) - set(sums) if outer else set()
    return sums, gone


def _is_wide(conv: NodeProto) -> bool:
    """Whether it reads more than a pixel.

    Sums of 1 x 1 convolutions stay: their maps are made one after the other and would all be held
    at once, and one of them may be the mean of a map, which a sum repeats and a concatenation not.
    """
    return any(a.name == "kernel_shape" and max(a.ints) > 1 for a in conv.attribute)


def _settings(conv: NodeProto) -> bytes:
    """All that convolutions of one sum have to agree in."""
    plain: bytes = NodeProto(attribute=conv.attribute).SerializeToString(deterministic=True)
    return plain
