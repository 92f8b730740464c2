"""The fused DINOv3 and the pyramid behind it, against the plain steps of the reference."""

from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import onnx
import pytest
from birefnet_export.graph import layers
from birefnet_export.graph.fused import decoder as fused_decoder
from birefnet_export.graph.fused.backbone import dino_v3 as fused
from birefnet_export.graph.fused.model import append_birefnet
from birefnet_export.graph.kernels import kernel_of
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.graph.signature import check_graph
from birefnet_export.network import nn
from birefnet_export.network.backbone.dino_v3 import DinoV3
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.options import graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.precision.fp16 import needs_float32, to_half
from birefnet_export.precision.int8 import Int8Plan, quantized
from birefnet_export.reference import dino_v3 as plain
from birefnet_export.reference.layers import conv, layer_norm
from birefnet_export.verify.logits import mask_of_logits

from ..conftest import (
    TINY_DINO,
    ancestors,
    channels_first,
    channels_last,
    computed,
    evaluated,
    expected_logits,
    fill,
    in_order,
    network,
    optimized,
    with_values,
)

GATED = DinoV3(width=32, mlp_hidden=40, gated=True, head_width=16, taken=(0, 1, 2, 3))


@pytest.fixture(scope="module")
def dino() -> BiRefNet:
    return network(TINY_DINO)


@pytest.fixture(scope="module")
def graph(dino) -> onnx.ModelProto:
    return build_model(dino, graph_form("rows", 23, "fp32"))


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for node in renamed.graph.node:
        node.input[:] = ["x" if name == "input_image" else name for name in node.input]
    renamed.graph.input[0].name = "x"
    return computed(renamed, image)


@pytest.mark.parametrize(
    ("lowering", "opset", "size", "settings"),
    [
        ("rows", 23, (96, 160), {}),
        ("native", 20, (224, 32), {"backbone": GATED}),
        ("gridsample", 17, (32, 32), {"multi_scale": "add", "decoder_block": "ResBlk"}),
        ("rows", 23, (32, 64), {"multi_scale": "none", "backbone": GATED, "attention": "none"}),
    ],
)
def test_the_whole_is_the_plain_network(lowering, opset, size, settings):
    net = network(replace(TINY_DINO, **settings))
    x = fill.image(2, *size)

    logits = evaluated(lambda g, v: append_birefnet(g, v, net, LOWERINGS[lowering]), x, opset=opset)

    assert abs(logits - expected_logits(net, x)).max() < 5e-5


def test_the_graph_is_valid_and_shares_what_it_can(graph, dino):
    check_graph(graph)
    kinds = [node.op_type for node in graph.graph.node]

    assert kinds.count("Cos") == kinds.count("Sin") == 2  # one for each scale, for all blocks
    assert kinds.count("RotaryEmbedding") == 2 * 2 * 5  # queries and keys of five blocks, twice
    assert kinds.count("Attention") == 5 * (8 + 2)  # in eight parts, and in two
    weights = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    assert weights < 1.02 * 4 * sum(map(prod, dino.shapes().values()))


@pytest.mark.parametrize("opset", [20, 23])
def test_attention_in_parts_is_the_plain_one(dino, opset):
    block, vit = dino.bb.model.blocks[0], dino.bb.model
    size = (3, 5)  # with five more tokens 20, in 8 parts of 3
    x = np.random.default_rng(0).standard_normal((1, 5 + 15, 32)).astype(np.float32)
    normed = layer_norm(x.astype(np.float64), block.norm1)
    by = plain.rotation(size, 16)
    expected = block.gamma_1 * plain.self_attention(normed, block.attn, by)
    tail = np.concatenate((x[:, :5], np.repeat(x[:, :1], 7, 1)), 1)

    def attention(g, patches, like):
        tokens, where = fused.with_tail(g, patches, layers.spatial(g, like), tail, 8, 16)
        normed = layers.layer_norm(g, tokens, block.norm1)
        return fused.attention(g, normed, block, where)

    found = evaluated(attention, x[:, 5:], np.zeros((1, 1, *size), np.float32), opset=opset)

    assert found.shape == (1, 24, 32)
    np.testing.assert_allclose(found[0, :15], expected[0, 5:], atol=1e-5)
    np.testing.assert_allclose(found[0, 15:20], expected[0, :5], atol=1e-5)
    assert abs(found[0, 20:] - found[0, 15]).max() < 1e-6  # copies of the class token
    assert vit.others().shape == (1, 5, 32)


def test_a_part_is_attended_to_after_the_one_before_it(dino):
    block = dino.bb.model.blocks[0]

    def attention(g, x, like):
        tail = np.zeros((1, 12, 32))
        tokens, where = fused.with_tail(g, x, layers.spatial(g, like), tail, 8, 16)
        return fused.attention(g, tokens, block, where)

    nodes = optimized(attention, ["batch", "tokens", 32], ["one", "channels", "height", "width"])

    parts = [node for node in nodes if node.op_type == "Attention"]
    assert len(parts) == 8
    for earlier, later in pairwise(in_order(nodes, parts)):
        assert earlier.output[0] in ancestors(nodes, later)


@pytest.mark.parametrize(("heads", "parts"), [(6, 8), (12, 16), (16, 16), (20, 24), (32, 32)])
def test_more_heads_come_in_more_parts(heads, parts):
    assert fused.parts_of(heads) == parts


@pytest.mark.parametrize("side", [1, 3])
def test_a_neck_with_a_bias_is_composed_exactly_up_to_the_border(side):
    convs = nn.Sequential([nn.Conv2d(5, 9, 1), nn.Conv2d(9, 4, side, padding=side // 2)])
    neck, after = with_values(convs)
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype(np.float32)

    def composed(g, v):
        part = fused_decoder.Part(v, 9, kernel_of(neck))
        return fused_decoder.conv_of(g, part, kernel_of(after))

    expected = channels_first(conv(conv(channels_last(x), neck), after))
    assert abs(evaluated(composed, x) - expected).max() < 1e-6


def test_in_fp16_the_angles_stay_float32(graph, dino):
    kept = needs_float32(graph)
    kinds = {node.op_type for node in graph.graph.node if node.name in kept}
    assert {"Cos", "Sin", "Range", "Div"} <= kinds
    assert not {"Conv", "MatMul", "Attention", "Resize"} & kinds

    half = to_half(graph, kept)
    check_graph(half)
    image = fill.image(1, 64, 96)
    masks = [mask_of_logits(run(model, image)) for model in (graph, half)]
    assert abs(masks[0] - masks[1]).max() < 0.05


def test_in_int8_products_of_the_backbone_are_quantized(graph):
    products = frozenset(
        node.name
        for node in graph.graph.node
        if node.op_type == "MatMul" and node.name.startswith(("full/", "half/"))
    )
    assert len(products) == 2 * 5 * 6

    int8 = quantized(graph, Int8Plan(products=products))
    image = fill.image(1, 64, 96)
    masks = [mask_of_logits(run(model, image)) for model in (graph, int8)]
    assert 0 < abs(masks[0] - masks[1]).mean() < 0.05
