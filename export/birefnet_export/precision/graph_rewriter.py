"""Copy a finished graph node by node with changes: the common part of the precision passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, helper

from ..errors import GraphError
from ..graph.weights import WeightsInGraph, WeightStore


class Rewriting:
    """The old graph to read, and the new one under construction.

    A pass walks `nodes` and for each emits the node itself or what takes its place; values keep
    their names, so whoever is not concerned is copied as it stands.

    Args:
        model: the old graph.
        weights: what keeps its constants' values, and those of new ones; by default the graphs.

    Raises:
        GraphError: a node holds a graph of its own.
    """

    def __init__(self, model: onnx.ModelProto, weights: WeightStore | None = None) -> None:
        for node in model.graph.node:
            if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
                raise GraphError(f"{node.name}: {node.op_type} holds a graph of its own")
        self.model = model
        self._weights = weights or WeightsInGraph()
        self.nodes: Sequence[NodeProto] = model.graph.node
        self._old = {tensor.name: tensor for tensor in model.graph.initializer}
        self._new: dict[str, TensorProto] = {}
        self._emitted: list[NodeProto] = []
        self._known: set[str] = set()

    def is_constant(self, name: str) -> bool:
        return name in self._old

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an old constant."""
        return tuple(self._old[name].dims)

    def array(self, name: str) -> NDArray[Any]:
        """The values of an old constant."""
        return self._weights.array(self._old[name])

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """A new constant; one that is there under this name is taken for the same."""
        if name not in self._new:
            self._new[name] = self._weights.tensor(name, np.asarray(values, order="C"))
        return name

    def copy(self, node: NodeProto, inputs: Mapping[int, str] | None = None) -> NodeProto:
        """Emit an old node, with other inputs at the positions given, one behind the last too."""
        copied = NodeProto()
        copied.CopyFrom(node)
        for position, name in (inputs or {}).items():
            copied.input[position : position + 1] = [name]
        self._emitted.append(copied)
        return copied

    def emit(self, op_type: str, operands: Sequence[str], output: str, **attributes: Any) -> str:
        """Emit a node with one output, which names it; one that is there is taken for the same."""
        return self.emit_all(op_type, operands, [output], **attributes)

    def emit_all(
        self, op_type: str, operands: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> str:
        """Emit a node with several outputs, the first of which names it."""
        name = outputs[0]
        if name not in self._known:
            self._known.add(name)
            self._emitted.append(
                helper.make_node(op_type, operands, outputs, name=f"{name}:{op_type}", **attributes)
            )
        return name

    def names(self) -> list[str]:
        """Of the nodes that were emitted so far."""
        return [node.name for node in self._emitted]

    def finished(self) -> onnx.ModelProto:
        """The new model: the old inputs, outputs, opset and facts."""
        used = {name for node in self._emitted for name in node.input}
        kept = [tensor for name, tensor in (self._old | self._new).items() if name in used]
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        for field in ("node", "initializer", "value_info"):
            graph.ClearField(field)
        graph.node.extend(self._emitted)
        graph.initializer.extend(kept)
        return model


def float_values(model: onnx.ModelProto) -> set[str]:
    """Names of everything in the graph that is float32: inputs, constants, and values between."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    infos = [*inferred.input, *inferred.output, *inferred.value_info]
    names = {i.name for i in infos if i.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}


def consumers(model: onnx.ModelProto) -> dict[str, list[NodeProto]]:
    """The nodes that read each value, by its name."""
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers
