"""The fused PVT v2 against its plain form, part by part and whole."""

import itertools
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import onnx
import pytest
from birefnet_export.export import export_onnx
from birefnet_export.graph import layers
from birefnet_export.graph.fused.backbone import pvt_v2
from birefnet_export.graph.fused.model import append_birefnet
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.graph.signature import check_graph
from birefnet_export.network.backbone.pvt_v2 import OverlappingPatchEmbed
from birefnet_export.options import PRECISIONS, graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.reference import pvt_v2 as plain
from birefnet_export.reference.layers import conv
from PIL import Image

from ..conftest import (
    TINY_PVT,
    ancestors,
    channels_first,
    channels_last,
    evaluated,
    expected_logits,
    fill,
    in_order,
    network,
    optimized,
    saved,
    with_values,
)


@pytest.fixture(scope="module")
def tiny_pvt():
    return network(TINY_PVT)


def drawn(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def close(found, expected, tolerance=2e-5):
    assert found.shape == expected.shape
    assert abs(found - expected).max() < tolerance


@pytest.mark.parametrize("opset", [20, 23])
@pytest.mark.parametrize(
    ("stage", "size", "parts"),
    [(0, (8, 16), (8, 4)), (0, (20, 12), (1, 1)), (1, (7, 5), (1, 2)), (2, (6, 2), (4, 3)),
     (3, (1, 1), (1, 1)), (3, (3, 2), (1, 1))],
)  # fmt: skip
def test_a_block_on_tokens_is_the_plain_block(tiny_pvt, stage, size, parts, opset):
    block = tiny_pvt.bb.blocks(stage)[0]
    width = TINY_PVT.backbone.widths[stage]
    x = drawn(2, *size, width)

    def fused(g, tokens, like):
        return pvt_v2.pvt_block(g, tokens, layers.spatial(g, like), block, *parts)

    like = np.zeros((1, 1, *size), np.float32)
    found = evaluated(fused, x.reshape(2, -1, width), like, opset=opset)

    close(found, plain.pvt_block(x.astype(np.float64), block).reshape(2, -1, width))


@pytest.mark.parametrize(("patch", "stride"), [(7, 4), (3, 2)])
@pytest.mark.parametrize("size", [(16, 48), (3, 5), (1, 2)])
def test_overlapping_patches_are_padded_on_both_sides(patch, stride, size):
    embed = with_values(OverlappingPatchEmbed(3, 4, patch, stride))
    x = drawn(2, 3, *size)

    found = evaluated(lambda g, v: pvt_v2.embedded(g, v, embed), x)

    close(found, channels_first(conv(channels_last(x), embed.proj)), 1e-5)


@pytest.mark.parametrize(("count", "parts"), [(9, pvt_v2.QUERY_PARTS), (4, pvt_v2.HIDDEN_PARTS)])
def test_parts_divide_what_they_are_parts_of(count, parts):
    """Tokens at every multiple of 32: of the first ones the number of parts knows no other."""
    for height, width in itertools.product(range(32, 32 * count, 32), repeat=2):
        tokens = [height // stride * (width // stride) for stride in TINY_PVT.backbone.strides]
        assert [n % p for n, p in zip(tokens, parts, strict=True)] == [0, 0, 0, 0]


def test_queries_attend_and_hidden_channels_follow_one_part_after_the_other(tiny_pvt):
    block = tiny_pvt.bb.blocks(0)[0]

    def fused(g, tokens, like):
        return pvt_v2.pvt_block(g, tokens, layers.spatial(g, like), block, 8, 4)

    nodes = optimized(fused, ["batch", "tokens", 8], ["one", "channels", "height", "width"])

    for kind, count in (("Attention", 8), ("Gelu", 4)):
        found = [node for node in nodes if node.op_type == kind]
        assert len(found) == count
        for earlier, later in pairwise(in_order(nodes, found)):
            assert earlier.output[0] in ancestors(nodes, later)


SETTINGS = {
    "released": {},
    "one_scale": {"multi_scale": "none"},
    "no_image": {"patch_width": 0},
    "all": {
        "multi_scale": "add",
        "context": 1,
        "squeeze": ("ASPP",),
        "decoder_block": "ResBlk",
        "attention": "none",
        "aspp_kernels": (),
        "whole_image": True,
        "gradient_width": 0,
        "batch_norm": False,
    },
}


@pytest.mark.parametrize(
    ("settings", "lowering", "size"),
    [
        ("released", "native", (96, 160)),
        ("released", "rows", (224, 32)),
        ("released", "gridsample", (32, 32)),
        ("one_scale", "rows", (32, 160)),
        ("no_image", "rows", (96, 32)),
        ("all", "gridsample", (96, 160)),
    ],
)
def test_the_fused_form_is_the_plain_network(settings, lowering, size):
    net = network(replace(TINY_PVT, **SETTINGS[settings]))
    x = fill.image(2, *size)
    opset = 17 if lowering == "gridsample" else 23

    logits = evaluated(lambda g, v: append_birefnet(g, v, net, LOWERINGS[lowering]), x, opset=opset)

    close(logits, expected_logits(net, x), 5e-5)


def test_the_graph_is_valid_and_holds_each_weight_once(tiny_pvt):
    model = build_model(tiny_pvt, graph_form("rows", 23, "fp32"))

    check_graph(model)
    weights = sum(len(t.raw_data) for t in model.graph.initializer)
    assert weights < 1.2 * 4 * sum(map(prod, tiny_pvt.shapes().values()))
    # Blocks times parts at full scale, and blocks at half.
    depths = TINY_PVT.backbone.depths
    kinds = [node.op_type for node in model.graph.node]
    parts = zip(depths, pvt_v2.QUERY_PARTS, strict=True)
    assert kinds.count("Attention") == sum(d * p for d, p in parts) + sum(depths)
    # Of the maps with hidden channels none is transposed: two transpositions a feed-forward, two
    # around each reduction, two a stage, and those of the decoder.
    assert kinds.count("Transpose") < 2 * (4 * sum(depths) + 2 * 4) + 40


@pytest.mark.slow
@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "fp32"])
def test_other_precisions_are_exported_and_keep_the_mask(tmp_path, precision):
    """int8 leaves depthwise convolutions in float32: a channel's nine products gain nothing."""
    record = replace(TINY_PVT.backbone, mlp_hidden=(128, 128, 80, 128))
    net = network(replace(TINY_PVT, backbone=record))
    saved(net, tmp_path / "model.safetensors")
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "photos" / f"{i}.png")
    int8 = {"calibrate": tmp_path / "photos", "min_iou": 0.5}

    report = export_onnx(
        tmp_path,
        tmp_path / "out",
        precision=precision,
        trained_size=(64, 64),
        verify=precision == "fp16",
        **(int8 if precision == "int8" else {}),
    )

    assert report.parity or (report.quality and report.quality.iou_mean > 0.9)
    for node in onnx.load(report.file).graph.node:
        if any(a.name == "group" for a in node.attribute):
            assert not any(name.endswith("restored") for name in node.input)
