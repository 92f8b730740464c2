"""What goes into the graph and what comes out: the one table that everything derives from, and the
check of a finished graph."""

from __future__ import annotations

from typing import NamedTuple

import onnx
from onnx import TensorProto

from ..errors import GraphError
from .weights import WeightsInGraph, WeightStore


class TensorSpec(NamedTuple):
    """An input or output of the graph."""

    name: str
    axes: tuple[int | str, ...]
    """Fixed sizes, and the names of dynamic ones."""
    dtype: int = TensorProto.FLOAT


INPUT = TensorSpec("input_image", ("batch", 3, "height", "width"))
"""RGB, normalized; height and width multiples of `SIZE_MULTIPLE`."""
OUTPUT = TensorSpec("output_image", ("batch", 1, "height", "width"))
"""Logits; their sigmoid is the alpha."""
IMAGE = TensorSpec("image", ("batch", "height", "width", 3), TensorProto.UINT8)
"""RGB of any size, 0-255: the input of a graph that holds the whole pipeline."""
ALPHA = TensorSpec("alpha", ("batch", "height", "width"), TensorProto.UINT8)
"""Its output, of the same size: 255 is subject, 0 background."""
SIZE_MULTIPLE = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, per channel in RGB order, of values in [0, 1]."""


def check_signature(
    model: onnx.ModelProto, image: TensorSpec = INPUT, result: TensorSpec = OUTPUT
) -> None:
    """Compare the input and the output of a finished model with the table.

    Raises:
        GraphError: a name, a type or an axis differs.
    """
    for kind, expected, infos in (
        ("input", [image], model.graph.input),
        ("output", [result], model.graph.output),
    ):
        actual = [
            TensorSpec(
                info.name,
                tuple(axis.dim_param or axis.dim_value for axis in info.type.tensor_type.shape.dim),
                info.type.tensor_type.elem_type,
            )
            for info in infos
        ]
        if actual != expected:
            raise GraphError(f"the graph's {kind}s are {actual}, expected {expected}")


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
