"""PVT v2 (arXiv 2106.13797); maps of tokens are (batch, height, width, channels)."""

from __future__ import annotations

import numpy as np

from ..network.backbone.pvt_v2 import (
    SMALLEST_SIDE,
    FeedForward,
    PvtBlock,
    PyramidVisionTransformer,
    ReducedAttention,
)
from .layers import (
    Array,
    attention,
    by_head,
    conv,
    depthwise_conv,
    gelu,
    layer_norm,
    linear,
    resize,
)


def pvt_v2(image: Array, net: PyramidVisionTransformer) -> list[Array]:
    """Four maps, at strides 4, 8, 16 and 32, each behind its own LayerNorm.

    A side below `SMALLEST_SIDE` is enlarged to it first; upstream fails there.
    """
    height, width = (max(side, SMALLEST_SIDE) for side in image.shape[1:3])
    x = resize(image, (height, width))
    maps = []
    for stage in range(4):
        embed = net.patch_embed(stage)
        x = layer_norm(conv(x, embed.proj), embed.norm)
        for block in net.blocks(stage):
            x = pvt_block(x, block)
        x = layer_norm(x, net.norm(stage))
        maps.append(x)
    return maps


def pvt_block(x: Array, block: PvtBlock) -> Array:
    x = x + reduced_attention(layer_norm(x, block.norm1), block.attn)
    return x + feed_forward(layer_norm(x, block.norm2), block.mlp)


def reduced_attention(x: Array, attn: ReducedAttention) -> Array:
    """Attention of all tokens to those of a map that a strided convolution made smaller."""
    smaller = x
    if attn.reduction > 1:
        smaller = layer_norm(conv(x, attn.sr), attn.norm)
    q = by_head(linear(x, attn.q), attn.num_heads)
    k, v = (by_head(part, attn.num_heads) for part in np.split(linear(smaller, attn.kv), 2, -1))
    return linear(attention(q, k, v).reshape(x.shape), attn.proj)


def feed_forward(x: Array, mlp: FeedForward) -> Array:
    """Two linear layers around a depthwise convolution, which stands for positions, and GELU."""
    return linear(gelu(depthwise_conv(linear(x, mlp.fc1), mlp.dwconv.dwconv)), mlp.fc2)
