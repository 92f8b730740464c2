"""Each rewrite alone: its operators in ONNX Runtime against the plain step of the reference."""

from itertools import pairwise
from math import erf, prod, sqrt

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export.graph import layers
from birefnet_export.graph.fused import decoder as fused_decoder
from birefnet_export.graph.fused.backbone import swin_v1 as fused_backbone
from birefnet_export.graph.fused.backbone.windows import MASKED, merge_index, window_index
from birefnet_export.graph.fused.composed_conv import composed_convs
from birefnet_export.graph.fused.model import append_birefnet
from birefnet_export.graph.kernels import kernel_of
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.network import nn
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.options import graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.reference import decoder as plain_decoder
from birefnet_export.reference import layers as plain
from birefnet_export.reference import swin_v1 as plain_backbone

from ..conftest import (
    ancestors,
    channels_first,
    channels_last,
    evaluated,
    expected_logits,
    fill,
    in_order,
    optimized,
    with_values,
)

SIZES = [(4, 4), (8, 12), (5, 4), (1, 7), (9, 10)]
"""Maps of tokens: one window, several, and sides that need padding (the window is 4)."""
NATIVE = LOWERINGS["native"]


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


def close_maps(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    close(found, channels_first(expected), tolerance)


def map_of(*size: int) -> np.ndarray:
    """What a size is read off."""
    return np.zeros((1, 1, *size), np.float32)


def windows_of(g, x, like=None):
    """The layout of a batch as large as x's, of maps as large as `like`, or x."""
    return window_index(
        g, g.op("Shape", x, end=1), layers.spatial(g, x if like is None else like), 4
    )


def rolled(grid: np.ndarray, shift: int, window: int, fill: int) -> np.ndarray:
    """What the plain form does to a (height, width) map before attention."""
    height, width = grid.shape
    grid = np.pad(grid, ((0, -height % window), (0, -width % window)), constant_values=fill)
    grid = np.roll(grid, (-shift, -shift), (0, 1))
    return plain_backbone.windows_of(grid[None, :, :, None], window).ravel()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 2])
def test_one_gather_cuts_windows_and_another_joins_them(size, shift):
    height, width = size
    tokens = np.arange(height * width).reshape(size)
    like = map_of(*size)

    def windows(g, x):
        found = windows_of(g, x)
        return found.shifted if shift else found.still

    cut = evaluated(lambda g, x: windows(g, x).cut, like).astype(int)
    join = evaluated(lambda g, x: windows(g, x).join, like).astype(int)

    assert cut.tolist() == rolled(tokens, shift, 4, fill=height * width).tolist()
    assert cut[join].tolist() == list(range(height * width))


@pytest.mark.parametrize("size", SIZES)
def test_the_shift_mask_bars_whom_the_plain_one_bars_for_each_image(size):
    padded = [side + -side % 4 for side in size]

    like = np.zeros((2, 1, *size), np.float32)
    found = evaluated(lambda g, x: windows_of(g, x).shifted.mask, like)

    mask = plain_backbone.shift_mask(tuple(padded), 4, 2)
    close(found[:, 0], np.tile(np.where(mask < 0, MASKED, 0), (2, 1, 1)))


def test_no_weight_of_attention_is_subnormal():
    """Products of subnormal numbers take several times as long; see `windows.MASKED`."""
    bars = np.array([[MASKED, 0.0, MASKED, -1.0]], np.float32)

    weights = evaluated(lambda g, x: g.op("Softmax", x, axis=-1), bars)

    assert not ((weights > 0) & (weights < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("opset", [20, 23])
def test_a_block_on_tokens_is_the_plain_block(tiny, size, index, opset):
    block = tiny.bb.layers[1].blocks[index]
    assert bool(block.shift) == bool(index)
    x = drawn(2, *size, 32)
    expected = plain_backbone.swin_block(x.astype(np.float64), block).reshape(2, -1, 32)

    def fused(g, tokens, like):
        where = windows_of(g, tokens, like)
        windows = where.shifted if block.shift else where.still
        return fused_backbone.swin_block(g, tokens, block, windows)

    found = evaluated(fused, x.reshape(2, -1, 32), map_of(*size), opset=opset)
    close(found, expected)


def test_a_block_in_parts_is_the_block_whole(tiny):
    block = tiny.bb.layers[1].blocks[0]
    tokens, like = drawn(2, 8 * 12, 32), map_of(8, 12)

    def fused(parts):
        def build(g, tokens, like):
            windows = windows_of(g, tokens, like).still
            return fused_backbone.swin_block(g, tokens, block, windows, parts)

        return build

    whole = evaluated(fused(1), tokens, like)
    assert abs(evaluated(fused(4), tokens, like) - whole).max() < 1e-6


def test_a_part_is_fed_forward_after_the_one_before_it(tiny):
    block = tiny.bb.layers[1].blocks[0]

    def fused(g, tokens, like):
        windows = windows_of(g, tokens, like).still
        return fused_backbone.swin_block(g, tokens, block, windows, 4)

    nodes = optimized(fused, ["batch", "tokens", 32], ["one", "channels", "height", "width"])

    activations = [node for node in nodes if node.op_type.endswith("Gelu")]
    assert len(activations) == 4
    for earlier, later in pairwise(in_order(nodes, activations)):
        assert earlier.output[0] in ancestors(nodes, later)


@pytest.mark.parametrize("size", SIZES)
def test_patch_merging_is_one_gather(tiny, size):
    merging = tiny.bb.layers[0].downsample
    x = drawn(2, *size, 16)

    def fused(g, tokens, like):
        return fused_backbone.merge(g, tokens, merging, layers.spatial(g, like))

    found = evaluated(fused, x.reshape(2, -1, 16), map_of(*size))
    expected = plain_backbone.merged(x.astype(np.float64), merging)
    close(found, expected.reshape(2, -1, 32))


def test_the_merge_index_points_padding_behind_the_last_token():
    found = evaluated(lambda g, x: merge_index(g, layers.spatial(g, x)), map_of(3, 3))

    assert found.astype(int).tolist() == [0, 3, 1, 4, 2, 5, 9, 9, 6, 9, 7, 9, 8, 9, 9, 9]


@pytest.mark.parametrize("size", [(2, 2), (2, 9), (3, 3), (8, 5), (32, 64)])
def test_composed_convolutions_are_exact_up_to_the_border(size):
    convs = with_values(
        nn.Sequential([nn.Conv2d(3, 7, 3, padding=1), nn.Conv2d(7, 2, 3, padding=1)])
    )
    inner, outer = map(kernel_of, convs)
    x = drawn(2, 3, *size)

    found = evaluated(lambda g, v: composed_convs(g, v, inner, outer), x)

    close_maps(found, plain.conv(plain.conv(channels_last(x), convs[0]), convs[1]), 1e-6)


@pytest.mark.parametrize("grid", [1, 2, 8])
def test_image_patches_are_the_plain_ones(grid):
    x = drawn(2, 3, 16, 24)

    found = evaluated(lambda g, v: fused_decoder.image_patches(g, v, grid), x)

    close_maps(found, plain_decoder.patches(channels_last(x), grid))


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (9, 5)])
def test_a_resize_has_aligned_corners(size):
    x = drawn(2, 3, 4, 6)

    found = evaluated(lambda g, v, w: layers.resize(g, v, layers.spatial(g, w)), x, map_of(*size))

    close_maps(found, plain.resize(channels_last(x), size))


@pytest.mark.parametrize("opset", [19, 20])
def test_gelu_is_exact_in_one_operator_or_five(opset):
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    expected = np.array([v / 2 * (1 + erf(v / sqrt(2))) for v in x.tolist()])

    close(evaluated(layers.gelu, x, opset=opset), expected, 1e-6)


@pytest.mark.parametrize("lowering", LOWERINGS.values(), ids=LOWERINGS)
@pytest.mark.parametrize("branch", [0, 1, 2, 3])
def test_a_deformable_branch_predicts_offsets_and_mask_at_once(tiny, branch, lowering):
    module = tiny.squeeze_module[0].dec_att.branches()[branch]
    x = drawn(2, 8, 6, 5)

    found = evaluated(lambda g, v: fused_decoder.deformable_branch(g, v, module, lowering), x)

    close_maps(found, plain_decoder.branch(channels_last(x), module))


def test_the_aspp_sums_what_the_plain_form_concatenates(tiny):
    module = tiny.squeeze_module[0].dec_att
    x = drawn(2, 8, 6, 5)

    found = evaluated(lambda g, v: fused_decoder.aspp(g, v, module, NATIVE), x)

    close_maps(found, plain_decoder.aspp(channels_last(x), module))


def test_a_decoder_block_reads_its_parts_unconcatenated(tiny):
    block, channels = tiny.squeeze_module[0], tiny.arch.channels
    parts = [drawn(2, c, 4, 6) for c in channels]

    def fused(g, *values):
        named = [fused_decoder.Part(*part) for part in zip(values, channels, strict=True)]
        return fused_decoder.decoder_block(g, named, block, NATIVE)

    expected = plain_decoder.block(channels_last(np.concatenate(parts, 1)), block)
    close_maps(evaluated(fused, *parts), expected)


def test_gradient_attention_is_the_plain_one(tiny):
    x = drawn(2, tiny.arch.channels[2], 4, 6)

    found = evaluated(lambda g, v: fused_decoder.gradient_attention(g, v, tiny.decoder, 4), x)

    close_maps(found, plain_decoder.weighed(channels_last(x), tiny.decoder, 4))


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (224, 32)])
def test_the_whole_is_the_plain_network(tiny: BiRefNet, size):
    x = fill.image(2, *size)

    close(
        evaluated(lambda g, v: append_birefnet(g, v, tiny, NATIVE), x),
        expected_logits(tiny, x),
        5e-5,
    )


def test_large_stages_feed_a_quarter_of_the_tokens_forward_at_a_time(tiny: BiRefNet):
    """The hidden maps of the first two stages at full scale are the largest tensors of all."""
    model = build_model(tiny, graph_form("native", 20, "fp32"))
    hidden = [n.output[0] for n in model.graph.node if n.op_type == "Gelu"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in hidden)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    maps = dict(
        zip(hidden, session.run(hidden, {"input_image": fill.image(1, 64, 64)}), strict=True)
    )

    def tokens(stage: str) -> list[int]:
        return [x.shape[1] for name, x in maps.items() if name.startswith(f"{stage}/")]

    # Two blocks a stage, at 64 x 64: maps of 16, 8, 4 and 2 tokens a side, half of that below.
    assert tokens("full/stage0") == [16 * 16 // 4] * 8
    assert tokens("full/stage1") == [8 * 8 // 4] * 8
    assert tokens("full/stage2") == [4 * 4] * 2
    assert tokens("full/stage3") == [2 * 2] * 2
    assert tokens("half/stage0") == [8 * 8] * 2


def test_the_scales_share_weights_and_window_indices(tiny: BiRefNet):
    graph = build_model(tiny, graph_form("native", 20, "fp32")).graph
    weights = sum(len(t.raw_data) for t in graph.initializer)
    parameters = 4 * sum(map(prod, tiny.shapes().values()))
    kinds = [node.op_type for node in graph.node]

    assert weights < 1.6 * parameters  # the bias tables are expanded to windows, nothing else
    assert kinds.count("ScatterElements") == 2 * 5  # five sizes of map, still and shifted
    assert kinds.count("DeformConv") == 4 * 5
