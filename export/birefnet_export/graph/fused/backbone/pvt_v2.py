"""The PVT v2 backbone, fused: tokens around LayerNorm and attention, maps around convolutions.

The feed-forward runs on maps from end to end, its linear layers as 1 x 1 convolutions: so only
maps of the block's own channels are ever transposed, never the hidden ones, which are 4 to 8 times
as large, and ONNX Runtime keeps all of it in the layout that its convolutions like. Measured at 64
and 512 channels on 256 x 256 tokens: two thirds of the processor's time that products of tokens
with transposed hidden maps take.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....network import nn
from ....network.backbone.pvt_v2 import (
    SMALLEST_SIDE,
    FeedForward,
    OverlappingPatchEmbed,
    PvtBlock,
    PyramidVisionTransformer,
    ReducedAttention,
)
from ...builder import Graph, Value
from ...kernels import Array, Kernel, float64, kernel_of, split_inputs
from ...layers import after, concat, conv, gelu, layer_norm, resize, spatial
from .projections import Projections, folded

QUERY_PARTS = (8, 4, 4, 1)
"""By stage, in how many parts the queries of the full scale attend, one after the other.

Each number divides the tokens of its stage at every multiple of 32. All scores of the first stage
at once, tokens times a 64th of the tokens, would be the largest tensor of all: 256 MiB at
1024 x 1024. In parts the processor's time is the same.
"""
HIDDEN_PARTS = (4, 2, 1, 1)
"""By stage, in how many parts the hidden channels of the full scale are computed and summed."""
WHOLE = (1, 1, 1, 1)


def maps_of(
    g: Graph, images: dict[str, Value], pvt: PyramidVisionTransformer
) -> dict[str, list[Value]]:
    """Four normalized maps (batch, channels, height, width) of each scale, as the plain module."""
    maps = {}
    for scale, image in images.items():
        with g.scope(scale):
            if scale == "full":
                maps[scale] = backbone(g, image, pvt, QUERY_PARTS, HIDDEN_PARTS)
            else:
                size = g.op("Max", spatial(g, image), SMALLEST_SIDE)
                maps[scale] = backbone(g, resize(g, image, size), pvt, WHOLE, WHOLE)
    return maps


def backbone(
    g: Graph,
    image: Value,
    pvt: PyramidVisionTransformer,
    query_parts: Sequence[int],
    hidden_parts: Sequence[int],
) -> list[Value]:
    """Four normalized maps of `image`, float32 (batch, 3, height, width), sides of 32 or more.

    The parts are those of each stage; the tokens of a stage are a multiple of its `query_parts`.
    """
    maps: list[Value] = []
    x = image
    for stage in range(4):
        with g.scope(f"stage{stage}"):
            x = embedded(g, x, pvt.patch_embed(stage))
            size = spatial(g, x)
            tokens = layer_norm(g, as_tokens(x), pvt.patch_embed(stage).norm)
            for j, block in enumerate(pvt.blocks(stage)):
                with g.scope(f"block{j}"):
                    parts = query_parts[stage], hidden_parts[stage]
                    tokens = pvt_block(g, tokens, size, block, *parts)
            x = as_map(g, layer_norm(g, tokens, pvt.norm(stage)), size)
            maps.append(x)
    return maps


def as_tokens(x: Value) -> Value:
    """(batch, dim, height, width) to (batch, height * width, dim)."""
    return x.reshape([0, 0, -1]).transpose(0, 2, 1)


def as_map(g: Graph, tokens: Value, size: Value) -> Value:
    """(batch, tokens, dim) to (batch, dim, height, width); `size` is int64 (2,)."""
    return tokens.transpose(0, 2, 1).reshape(concat(g, [[0, 0], size], 0))


def embedded(g: Graph, x: Value, embed: OverlappingPatchEmbed) -> Value:
    """Overlapping patches of a map, not yet normalized."""
    stride, padding = embed.proj.stride[0], embed.proj.kernel_size[0] // 2
    return conv(g, x, kernel_of(embed.proj), stride=stride, padding=padding)


def pvt_block(
    g: Graph, x: Value, size: Value, block: PvtBlock, query_parts: int, hidden_parts: int
) -> Value:
    """(batch, tokens, dim) to the same, the tokens of a map of `size`, int64 (2,)."""
    x = x + attention(g, layer_norm(g, x, block.norm1), size, block.attn, query_parts)
    normed = as_map(g, layer_norm(g, x, block.norm2), size)
    return x + as_tokens(feed_forward(g, normed, block.mlp, hidden_parts))


def feed_forward(g: Graph, x: Value, mlp: FeedForward, parts: int) -> Value:
    """(batch, dim, height, width) to the same, the hidden channels part by part.

    Neither the depthwise convolution nor GELU mixes channels, so the last linear layer is a sum
    over the parts.
    """
    widen, narrow = pointwise(mlp.fc1), pointwise(mlp.fc2)
    depthwise = kernel_of(mlp.dwconv.dwconv)
    widened, spread = parted(widen, parts), parted(depthwise, parts)
    narrowed = split_inputs(narrow, [len(kernel.bias) for kernel in widened])
    total: Value | None = None
    for kernels in zip(widened, spread, narrowed, strict=True):
        waiting = x if total is None else after(g, total, x, 1)
        hidden = conv(g, waiting, kernels[0])
        hidden = gelu(g, conv(g, hidden, kernels[1], group=len(kernels[1].bias)))
        part = conv(g, hidden, kernels[2])
        total = part if total is None else total + part
    assert total is not None  # there is a part
    return total


def pointwise(layer: nn.Linear) -> Kernel:
    """A linear layer over channels as a 1 x 1 convolution."""
    return Kernel(float64(layer.weight)[:, :, None, None], float64(layer.bias))


def parted(kernel: Kernel, parts: int) -> list[Kernel]:
    """The output channels of a convolution in parts."""
    weights, biases = np.array_split(kernel.weight, parts), np.array_split(kernel.bias, parts)
    return [Kernel(*part) for part in zip(weights, biases, strict=True)]


def attention(g: Graph, x: Value, size: Value, attn: ReducedAttention, parts: int) -> Value:
    """Attention of normalized tokens (batch, tokens, dim) to those of the reduced map."""
    of = Projections(*g.constants(attn, lambda: projections(attn)))
    reduced = x
    if attn.reduction > 1:
        # A side that is not a multiple of the stride loses its last rows, as in the plain form.
        smaller = conv(g, as_map(g, x, size), kernel_of(attn.sr), stride=attn.reduction)
        reduced = layer_norm(g, as_tokens(smaller), attn.norm)
    q, k, v = x @ of.q + of.q_bias, reduced @ of.k, reduced @ of.v
    attend = one_operator if g.opset >= 23 else by_products
    done: list[Value] = []
    for queries in g.split_evenly(q, parts, axis=1) if parts > 1 else [q]:
        waiting = after(g, done[-1], queries, 1) if done else queries
        done.append(attend(g, waiting, k, v, attn.num_heads))
    heads = concat(g, done, 1) if parts > 1 else done[0]
    return heads @ of.out + of.out_bias


def one_operator(g: Graph, q: Value, k: Value, v: Value, heads: int) -> Value:
    """Softmax(q k) v, each (batch, tokens, dim), by the operator of opset 23.

    In ONNX Runtime on a CPU it holds the scores once, where products hold them twice.
    """
    return g.op("Attention", q, k, v, q_num_heads=heads, kv_num_heads=heads, scale=1.0)


def by_products(g: Graph, q: Value, k: Value, v: Value, heads: int) -> Value:
    """What `one_operator` computes, by operators of every opset."""
    by_head = [0, 0, heads, -1]
    q = q.reshape(by_head).transpose(0, 2, 1, 3)
    k = k.reshape(by_head).transpose(0, 2, 3, 1)
    v = v.reshape(by_head).transpose(0, 2, 1, 3)
    weights = g.op("Softmax", q @ k, axis=-1)
    return (weights @ v).transpose(0, 2, 1, 3).reshape([0, 0, -1])


def projections(attn: ReducedAttention) -> Projections[Array]:
    """`q`, `kv` and `proj`, folded."""
    weight = np.concatenate((attn.q.weight, attn.kv.weight))
    bias = np.concatenate((attn.q.bias, attn.kv.bias))
    scale = (attn.q.in_features // attn.num_heads) ** -0.5
    return folded(weight, bias, attn.proj, scale)
