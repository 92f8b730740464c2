"""The whole pipeline in one graph: pixels in, alpha out.

Around a finished graph from normalized tensors to logits, of any precision, stand the steps of the
runtime in float32: before it the stretch of `model/preprocess.py` and normalization, behind it the
sigmoid and the way back of `model/postprocess.py`. The network itself isn't looked into.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from .builder import Graph, Value
from .resample import BICUBIC, BILINEAR, resize_by_products
from .signature import ALPHA, IMAGE, INPUT, MEAN, OUTPUT, STD, check_signature

_SIZE = "image_size"
"""Height and width of the image, int64 (2,): between the two ends of the pipeline."""


def enclose(network: onnx.ModelProto, size: tuple[int, int]) -> None:
    """Put a finished graph between pixels and alpha, in place.

    Args:
        network: normalized tensors to logits, as `signature` has it; then `IMAGE` to `ALPHA`.
        size: (height, width) at which it runs.

    Raises:
        GraphError: `network` isn't such a graph.
    """
    check_signature(network)
    opset = next(entry.version for entry in network.opset_import if not entry.domain)
    before, behind, graph = _before(opset, size).graph, _behind(opset, size).graph, network.graph
    nodes = [*before.node, *graph.node, *behind.node]
    # What was said of the network's own axes: they are fixed now.
    for field in ("node", "input", "output", "value_info"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend([*before.initializer, *behind.initializer])
    graph.input.extend(before.input)
    graph.output.extend(behind.output)


def _before(opset: int, size: tuple[int, int]) -> onnx.ModelProto:
    """Pixels to the network's input."""
    g = Graph(opset)
    with g.scope("before"):
        image = g.input(IMAGE.name, IMAGE.axes, IMAGE.dtype)
        image_size = g.op("Shape", image, start=1, end=3)
        planes = image.transpose(0, 3, 1, 2)
        pixels = resize_by_products(
            g, planes, _sides(g, image_size), _fixed(g, size), BILINEAR, parts=(4, 8)
        )
        # In the runtime's order: an int8 network turns the last bit of its input into levels.
        mean, std = (np.asarray(each).reshape(3, 1, 1) for each in (MEAN, STD))
        tensor = g.op("Div", g.op("Div", pixels, 255.0) - mean, std)
        g.output(INPUT.name, ("batch", 3, *size), tensor)
        g.output(_SIZE, (2,), image_size, TensorProto.INT64)
    return g.model()


def _behind(opset: int, size: tuple[int, int]) -> onnx.ModelProto:
    """Logits to the alpha of the image's own size."""
    g = Graph(opset)
    logits = g.input(OUTPUT.name, ("batch", 1, *size))
    image_size = g.input(_SIZE, (2,), TensorProto.INT64)
    with g.scope("behind"):
        levels = resize_by_products(
            g, g.op("Sigmoid", logits), _fixed(g, size), _sides(g, image_size), BICUBIC, (4, 2),
            lambda mask: g.op("Cast", g.op("Floor", mask * 255.0 + 0.5), to=ALPHA.dtype),
        )  # fmt: skip
        g.output(ALPHA.name, ALPHA.axes, g.op("Squeeze", levels, [1]), ALPHA.dtype)
    return g.model()


def _sides(g: Graph, size: Value) -> tuple[Value, Value]:
    """Height and width, int64 (1,) each."""
    height, width = g.ops("Split", 2, size, [1, 1], axis=0)
    return height, width


def _fixed(g: Graph, size: tuple[int, int]) -> tuple[Value, Value]:
    return g.constant([size[0]]), g.constant([size[1]])
