"""Faults put into graphs, and that an export's check notices each of them.

The shapes at which exports are compared (`logits.INPUT_SHAPES`) were chosen by this table:
they are the smallest set found that notices what (1, 32, 32), (1, 96, 160), (2, 224, 160),
(1, 256, 256) and (1, 192, 352) notice. Some faults show at odd maps alone, some in a batch, some
where height and width differ, some below a window.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import onnxruntime
import pytest
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.fused import composed_conv, decoder, model
from birefnet_export.graph.fused.backbone import dino_v3, pvt_v2, swin_v1, windows
from birefnet_export.graph.layers import END, concat, spatial
from birefnet_export.graph.lowering import rows
from birefnet_export.network import nn
from birefnet_export.network.backbone.swin_v1 import WindowAttention
from birefnet_export.options import graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.reference.birefnet import logits
from birefnet_export.verify.logits import INPUT_SHAPES, LOGITS_TOLERANCES, sample_image

from ..conftest import TINY, TINY_DINO, TINY_PVT, network

NETWORKS = {
    "swin": TINY,
    "swin of window 7": replace(TINY, backbone=replace(TINY.backbone, window=7)),
    "pvt": TINY_PVT,
    "dino": TINY_DINO,
}
SWINS = ("swin", "swin of window 7")


def changed_ops(op_type, change):
    """Every node of a type made otherwise: `change` takes operands and attributes."""
    made = Graph.ops

    def ops(g, kind, outputs, *operands, **attributes):
        if kind == op_type:
            operands, attributes = change(operands, attributes)
        return made(g, kind, outputs, *operands, **attributes)

    return patch.object(Graph, "ops", ops)


def with_attribute(op_type, **attributes):
    return changed_ops(op_type, lambda operands, known: (operands, known | attributes))


def changed_call(home, name, change):
    """A function whose result is changed: `change` takes the function and its arguments."""
    return patch.object(home, name, partial(change, getattr(home, name)))


def rolled_back(g, grid, shift, axis):
    behind = g.op("Slice", grid, [-shift], [END], [axis])
    return concat(g, [behind, g.op("Slice", grid, [0], [-shift], [axis])], axis)


def transposed_mask(made, g, padded, cells, *rest):
    order = g.op("Gather", padded, [1, 0]), g.op("Gather", cells, [2, 1, 0, 3])
    return made(g, *order, *rest)


def other_merge_order(made, g, size):
    """The second and the third of the four tokens that are merged, changed over."""
    return g.op("Gather", made(g, size).reshape([-1, 4]), [0, 2, 1, 3], axis=1).reshape([-1])


def mean_over_batch(operands, attributes):
    (x,) = operands
    mean = x.graph.op("ReduceMean", x, [0], keepdims=1)
    return (x.graph.op("Expand", mean, x.graph.op("Shape", x)),), attributes


def padded_further(operands, attributes):
    """Strided convolutions of PVT's attention see a row and a column beyond the map."""
    stride = attributes["strides"][0]
    if stride > 1 and attributes["kernel_shape"][0] == stride:
        attributes = attributes | {"pads": [0, 0, stride - 1, stride - 1]}
    return operands, attributes


def other_batch_norm(made, layer, channels, eps=1e-3):
    made(layer, channels, eps)


class Fault(NamedTuple):
    """What is wrong, in which networks it can be, and how it is put in."""

    name: str
    networks: tuple[str, ...]
    put_in: Callable


FAULTS = [
    Fault("tokens of other regions are seen", SWINS, lambda: patch.object(windows, "MASKED", 0.0)),
    Fault("the shift's mask is transposed", SWINS,
          lambda: changed_call(windows, "_shift_mask", transposed_mask)),
    Fault("the roll goes backwards", SWINS, lambda: patch.object(windows, "_roll", rolled_back)),
    Fault("padding repeats the last token", SWINS,
          lambda: patch.object(swin_v1, "_with_zero_row",
                               lambda g, x: g.op("Pad", x, [0, 0, 0, 0, 1, 0], mode="edge"))),
    Fault("tokens are merged in another order", SWINS,
          lambda: changed_call(swin_v1, "merge_index", other_merge_order)),
    Fault("position biases are transposed", SWINS,
          lambda: patch.object(WindowAttention, "position_bias",
                               lambda attn, made=WindowAttention.position_bias:
                               made(attn).swapaxes(1, 2))),
    Fault("GELU by tanh", tuple(NETWORKS), lambda: with_attribute("Gelu", approximate="tanh")),
    Fault("LayerNorm's epsilon", tuple(NETWORKS),
          lambda: with_attribute("LayerNormalization", epsilon=1e-4)),
    Fault("BatchNorm's epsilon", tuple(NETWORKS),
          lambda: changed_method(nn.BatchNorm2d, "__init__", other_batch_norm)),
    Fault("scores are scaled", tuple(NETWORKS), lambda: with_attribute("Attention", scale=1.02)),
    Fault("pixels are resized by their centers", tuple(NETWORKS),
          lambda: with_attribute("Resize", coordinate_transformation_mode="half_pixel")),
    Fault("the half scale is two pixels larger", ("swin", "dino"),
          lambda: patch.object(model, "spatial", lambda g, x: spatial(g, x) + 2
                               if x.name == "input_image" else spatial(g, x))),
    Fault("patches of the image in another order", tuple(NETWORKS),
          lambda: changed_call(decoder, "image_patches",
                               lambda made, g, image, grid: g.op(
                                   "Concat", *reversed(g.split_evenly(made(g, image, grid), 3, 1)),
                                   axis=1))),
    Fault("the ring around composed convolutions", ("swin",),
          lambda: changed_call(composed_conv, "_ring", lambda made, *a, **k: made(*a, **k) * 0.0)),
    Fault("the corners of that ring", ("swin",),
          lambda: changed_call(composed_conv, "_corners", lambda made, *a: made(*a) * 0.0)),
    Fault("sides of that ring changed over", ("swin",),
          lambda: changed_call(composed_conv, "_spread", lambda made, g, pair, size, axis:
                               made(g, pair, g.op("Gather", size, [1, 0]), axis))),
    Fault("rows of taps stay in the middle", ("swin",),
          lambda: patch.object(rows, "_with_rows_moved", lambda predict, side: predict)),
    Fault("means over the batch", ("swin", "pvt"),
          lambda: changed_ops("GlobalAveragePool", mean_over_batch)),
    Fault("small images stay small", ("pvt",), lambda: patch.object(pvt_v2, "SMALLEST_SIDE", 16)),
    Fault("reductions see beyond the map", ("pvt",), lambda: changed_ops("Conv", padded_further)),
    Fault("angles of rows and columns changed over", ("dino",),
          lambda: changed_call(dino_v3, "angles", lambda made, *a: a[0].op(
              "Concat", *reversed(a[0].split_evenly(made(*a), 2, 1)), axis=1))),
    Fault("rotation periods", ("dino",),
          lambda: changed_call(dino_v3, "periods", lambda made, width: made(width) ** 1.02)),
]  # fmt: skip


def changed_method(home, name, change):
    made = getattr(home, name)
    return patch.object(home, name, lambda *a, **k: change(made, *a, **k))


@cache
def expected(name, shape):
    return logits(sample_image(shape), network(NETWORKS[name]))


def noticed(name):
    """The shapes at which a graph that is built now differs too much, or fails."""
    built = build_model(network(NETWORKS[name]), graph_form("rows", 23, "fp32"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails here is meant to
    session = onnxruntime.InferenceSession(
        built.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = []
    for shape in INPUT_SHAPES:
        try:
            (output,) = session.run(None, {"input_image": sample_image(shape)})
        except Exception:  # noqa: BLE001 - any error of ONNX Runtime's own
            found.append(shape)
            continue
        difference = np.abs(output - expected(name, shape)).max()
        if not difference <= LOGITS_TOLERANCES["fp32"].logits_max_abs:
            found.append(shape)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_without_faults_passes(name):
    assert noticed(name) == []


@pytest.mark.parametrize(
    ("fault", "name"),
    [pytest.param(f, name, id=f"{f.name} in {name}") for f in FAULTS for name in f.networks],
)
def test_a_fault_is_noticed(fault, name):
    with fault.put_in():
        assert noticed(name)
