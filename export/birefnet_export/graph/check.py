"""A finished graph, checked in full."""

from __future__ import annotations

import onnx

from ..errors import GraphError
from .signature import check_signature
from .weights import WeightsInGraph, WeightStore


def check_graph(model: onnx.ModelProto, weights: WeightStore | None = None) -> None:
    """onnx.checker with full check, strict shape inference, and the table of inputs and outputs.

    Args:
        model: a whole model.
        weights: what keeps its weights; by default they are in it.

    Raises:
        GraphError: one of them found something; its own message follows.
    """
    try:
        with (weights or WeightsInGraph()).file_of(model) as file:
            onnx.checker.check_model(str(file), full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"the graph is not valid ONNX: {error}") from error
    check_signature(model)
