"""The Swin backbone, fused: tokens stay (batch, tokens, channels) from end to end."""

from __future__ import annotations

import torch
from torch import nn

from ..fold import kernel_of
from ..graph import Graph, Value
from ..swin import PatchMerging, SwinBlock, SwinTransformer, WindowAttention
from .layers import concat, conv, gelu, layer_norm, linear
from .windows import Layout, Windows, merge_index


def backbone(g: Graph, image: Value, swin: SwinTransformer, layouts: list[Layout]) -> list[Value]:
    """Four normalised maps (batch, channels, height, width), as `SwinTransformer`.

    Args:
        image: float32 (batch, 3, height, width).
        layouts: of the four stages' sizes.
    """
    embed = swin.patch_embed
    x = conv(g, image, kernel_of(embed.proj), stride=4)
    x = layer_norm(g, x.reshape([0, 0, -1]).transpose(0, 2, 1), embed.norm)
    maps: list[Value] = []
    for i, (stage, where) in enumerate(zip(swin.stages(), layouts, strict=True)):
        with g.scope(f"stage{i}"):
            for j, block in enumerate(stage.swin_blocks()):
                with g.scope(f"block{j}"):
                    x = swin_block(g, x, block, where.shifted if block.shift else where.still)
            normed = layer_norm(g, x, swin.norm(i))
            shape = concat(g, [[0, 0], where.size], 0)
            maps.append(normed.transpose(0, 2, 1).reshape(shape))
            if stage.downsample is not None:
                x = merge(g, x, stage.downsample, where.size)
    return maps


def swin_block(g: Graph, x: Value, block: SwinBlock, windows: Windows) -> Value:
    """(batch, tokens, dim) to the same."""
    x = x + attention(g, layer_norm(g, x, block.norm1), block.attn, windows)
    hidden = gelu(g, linear(g, layer_norm(g, x, block.norm2), block.mlp.fc1))
    return x + linear(g, hidden, block.mlp.fc2)


def attention(g: Graph, x: Value, attn: WindowAttention, windows: Windows) -> Value:
    """Window attention on normalised tokens, (batch, tokens, dim) to the same."""
    dim, heads, tokens = attn.proj.in_features, attn.num_heads, attn.window**2
    # One zero row behind the tokens is what every padded window position reads.
    x = g.op("Gather", _with_zero_row(g, x), windows.cut, axis=1).reshape([-1, tokens, dim])
    qkv = linear(g, x, _scaled_qkv(attn)).reshape([0, 0, 3, heads, dim // heads])
    qkv = qkv.transpose(2, 0, 3, 1, 4)  # (3, batch * windows, heads, tokens, dim / heads)
    q, k, v = (g.op("Squeeze", part, [0]) for part in g.ops("Split", 3, qkv, num_outputs=3))
    # The bias looked up in the table depends on weights alone: (heads, tokens, tokens).
    scores = q @ k.transpose(0, 1, 3, 2) + attn.position_bias()
    if windows.mask is not None:
        split = concat(g, [windows.grouped, [heads, tokens, tokens]], 0)
        scores = (scores.reshape(split) + windows.mask).reshape([-1, heads, tokens, tokens])
    x = (g.op("Softmax", scores, axis=-1) @ v).transpose(0, 2, 1, 3)
    # Joined before the projection, which then never sees a padded position.
    whole = concat(g, [g.op("Shape", windows.cut), [dim]], 0)
    x = x.reshape(concat(g, [[-1], whole], 0))
    return linear(g, g.op("Gather", x, windows.join, axis=1), attn.proj)


def merge(g: Graph, x: Value, merging: PatchMerging, size: Value) -> Value:
    """Patch merging: one gather, LayerNorm, one matrix product."""
    width = merging.reduction.in_features
    x = g.op("Gather", _with_zero_row(g, x), merge_index(g, size), axis=1)
    shape = concat(g, [g.op("Shape", x, end=1), [-1, width]], 0)
    return linear(g, layer_norm(g, x.reshape(shape), merging.norm), merging.reduction)


def _scaled_qkv(attn: WindowAttention) -> nn.Linear:
    """`qkv` with q's rows multiplied by the attention scale: softmax(scale * q k)."""
    dim = attn.proj.in_features
    scale = torch.ones(3 * dim)
    scale[:dim] = attn.scale
    folded = nn.Linear(dim, 3 * dim)
    folded.weight = nn.Parameter(attn.qkv.weight.detach() * scale[:, None])
    folded.bias = nn.Parameter(attn.qkv.bias.detach() * scale)
    return folded


def _with_zero_row(g: Graph, x: Value) -> Value:
    """(batch, tokens, dim) to (batch, tokens + 1, dim)."""
    return g.op("Pad", x, [0, 0, 0, 0, 1, 0])
