"""The Swin backbone, fused: tokens stay (batch, tokens, channels) from end to end."""

from __future__ import annotations

from ....network.backbone.swin_v1 import (
    PatchMerging,
    SwinBlock,
    SwinTransformer,
    WindowAttention,
)
from ...builder import Graph, Value
from ...kernels import Array, kernel_of
from ...layers import after, concat, conv, gelu, layer_norm, linear, spatial
from .projections import Projections, folded
from .windows import WindowIndex, Windows, merge_index, window_index


def maps_of(g: Graph, images: dict[str, Value], swin: SwinTransformer) -> dict[str, list[Value]]:
    """Four normalized maps (batch, channels, height, width) of each scale, as `SwinTransformer`."""
    size = spatial(g, images["full"])
    sizes = [size // stride for stride in (4, 8, 16, 32)]
    if "half" in images:
        # Map i of the half scale has the size of map i + 1 of the full one; the last halves
        # rounded up.
        sizes.append((sizes[3] + 1) // 2)
    batch = g.op("Shape", images["full"], end=1)
    layouts = []
    for i, map_size in enumerate(sizes):
        with g.scope(f"windows{i}"):
            layouts.append(window_index(g, batch, map_size, swin.window))
    maps = {}
    for scale, image in images.items():
        with g.scope(scale):
            if scale == "full":
                maps[scale] = backbone(g, image, swin, layouts[:4], quartered=2)
            else:
                maps[scale] = backbone(g, image, swin, layouts[1:])
    return maps


def backbone(
    g: Graph, image: Value, swin: SwinTransformer, layouts: list[WindowIndex], quartered: int = 0
) -> list[Value]:
    """Four normalized maps (batch, channels, height, width), as `SwinTransformer`.

    Args:
        image: float32 (batch, 3, height, width).
        layouts: of the four stages' sizes.
        quartered: how many stages, the first of them, feed a quarter of the tokens forward at a
            time. The hidden maps of large stages, on both sides of GELU, are the largest of all.
    """
    embed = swin.patch_embed
    x = conv(g, image, kernel_of(embed.proj), stride=4)
    x = layer_norm(g, x.reshape([0, 0, -1]).transpose(0, 2, 1), embed.norm)
    maps: list[Value] = []
    for i, (stage, where) in enumerate(zip(swin.layers, layouts, strict=True)):
        with g.scope(f"stage{i}"):
            for j, block in enumerate(stage.blocks):
                with g.scope(f"block{j}"):
                    windows = where.shifted if block.shift else where.still
                    x = swin_block(g, x, block, windows, parts=4 if i < quartered else 1)
            normed = layer_norm(g, x, swin.norm(i))
            shape = concat(g, [[0, 0], where.size], 0)
            maps.append(normed.transpose(0, 2, 1).reshape(shape))
            if stage.downsample is not None:
                x = merge(g, x, stage.downsample, where.size)
    return maps


def swin_block(g: Graph, x: Value, block: SwinBlock, windows: Windows, parts: int = 1) -> Value:
    """(batch, tokens, dim) to the same; the number of tokens is a multiple of `parts`."""
    x = x + attention(g, layer_norm(g, x, block.norm1), block.attn, windows)
    if parts == 1:
        return feed_forward(g, x, block)
    done: list[Value] = []
    for tokens in g.split_evenly(x, parts, axis=1):
        waiting = after(g, done[-1], tokens, 1) if done else tokens
        done.append(feed_forward(g, waiting, block))
    return concat(g, done, 1)


def feed_forward(g: Graph, x: Value, block: SwinBlock) -> Value:
    """The second half of a block, token by token."""
    hidden = gelu(g, linear(g, layer_norm(g, x, block.norm2), block.mlp.fc1))
    return x + linear(g, hidden, block.mlp.fc2)


def attention(g: Graph, x: Value, attn: WindowAttention, windows: Windows) -> Value:
    """Window attention on normalized tokens, (batch, tokens, dim) to the same."""
    dim, tokens = attn.proj.in_features, attn.window**2
    # One zero row behind the tokens is what every padded window position reads.
    cut = g.op("Gather", _with_zero_row(g, x), windows.cut, axis=1).reshape([-1, tokens, dim])
    of = Projections(*g.constants(attn, lambda: projections(attn)))
    attend = one_operator if g.opset >= 23 else by_products
    heads = attend(g, cut @ of.q + of.q_bias, cut @ of.k, cut @ of.v, attn, windows)
    # Joined before the projection, which then never sees a padded position.
    heads = heads.reshape(concat(g, [[-1], g.op("Shape", windows.cut), [dim]], 0))
    return g.op("Gather", heads, windows.join, axis=1) @ of.out + of.out_bias


def projections(attn: WindowAttention) -> Projections[Array]:
    """`qkv` and `proj`, folded."""
    return folded(attn.qkv.weight, attn.qkv.bias, attn.proj, attn.scale)


def one_operator(
    g: Graph, q: Value, k: Value, v: Value, attn: WindowAttention, windows: Windows
) -> Value:
    """Softmax(q k + bias) v, each (batch * windows, tokens, dim), by the operator of opset 23.

    In ONNX Runtime on a CPU it takes half the time of products and transpositions.
    """
    # Looked up in the table, it depends on weights alone: (1, heads, tokens, tokens).
    (bias,) = g.constants((attn, "position bias"), lambda: [attn.position_bias()[None]])
    if windows.mask is not None:
        bias = windows.mask + bias
    count = attn.num_heads
    return g.op("Attention", q, k, v, bias, q_num_heads=count, kv_num_heads=count, scale=1.0)


def by_products(
    g: Graph, q: Value, k: Value, v: Value, attn: WindowAttention, windows: Windows
) -> Value:
    """What `one_operator` computes, by operators of every opset."""
    dim, heads = attn.proj.in_features, attn.num_heads
    by_head = [0, 0, heads, dim // heads]
    q = q.reshape(by_head).transpose(0, 2, 1, 3)
    k = k.reshape(by_head).transpose(0, 2, 3, 1)
    v = v.reshape(by_head).transpose(0, 2, 1, 3)
    (bias,) = g.constants((attn, "position bias"), lambda: [attn.position_bias()])
    scores = q @ k + bias
    if windows.mask is not None:
        scores = scores + windows.mask
    return (g.op("Softmax", scores, axis=-1) @ v).transpose(0, 2, 1, 3).reshape([0, 0, dim])


def merge(g: Graph, x: Value, merging: PatchMerging, size: Value) -> Value:
    """Patch merging: one gather, LayerNorm, one matrix product."""
    width = merging.reduction.in_features
    x = g.op("Gather", _with_zero_row(g, x), merge_index(g, size), axis=1)
    shape = concat(g, [g.op("Shape", x, end=1), [-1, width]], 0)
    return linear(g, layer_norm(g, x.reshape(shape), merging.norm), merging.reduction)


def _with_zero_row(g: Graph, x: Value) -> Value:
    """(batch, tokens, dim) to (batch, tokens + 1, dim)."""
    return g.op("Pad", x, [0, 0, 0, 0, 1, 0])
