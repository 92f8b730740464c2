"""The DINOv3 backbone, fused: tokens stay (batch, tokens, channels) from end to end.

The patches come first and the class token and the registers behind them, which attention cannot
tell, so that a map is one slice. Copies of the class token follow up to a multiple of `parts`: they
ask what it asks, nobody asks them, and so their rows are the class token's from end to end.
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from ....network import nn
from ....network.backbone.dino_v3 import (
    PATCH,
    Attention,
    Block,
    DinoV3Features,
    GatedMLP,
    VisionTransformer,
    periods,
)
from ...builder import Graph, Value
from ...kernels import Array, float64, kernel_of
from ...layers import after, concat, conv, gelu, layer_norm, linear, spatial

HEADS_AT_ONCE = 8
"""Attention is cut so that its scores take no more than those of an eighth as many heads would."""


class Turn(NamedTuple):
    """Cosine and sine of each token's angles, half a head wide: (1, tokens, 1, head width / 2).

    With opset 23 they are (batch, tokens, head width / 2). What is no patch doesn't turn.
    """

    cos: Value
    sin: Value


class TokenGrid(NamedTuple):
    """How many tokens there are, and how they turn."""

    patches: Value
    """int64 (1,)."""
    keys: Value
    """int64 (1,): patches, class token and registers, which are attended to."""
    turn: Turn
    turn_of_keys: Turn
    parts: int
    """Into how many parts queries are cut, one after the other."""


def parts_of(heads: int) -> int:
    """Into how many parts attention at full scale is cut: 8, or 16 from 9 heads on, and so on."""
    return HEADS_AT_ONCE * -(-heads // HEADS_AT_ONCE)


def maps_of(g: Graph, images: dict[str, Value], net: DinoV3Features) -> dict[str, list[Value]]:
    """Four maps (batch, channels, height / 16, width / 16) of each scale, as `DinoV3Features`."""
    parts = parts_of(net.model.blocks[0].attn.num_heads)
    maps = {}
    for scale, image in images.items():
        with g.scope(scale):
            # A quarter of the tokens: parts as large as at full scale take a quarter of the memory.
            maps[scale] = backbone(g, image, net.model, parts if scale == "full" else parts // 4)
    return maps


def backbone(g: Graph, image: Value, vit: VisionTransformer, parts: int) -> list[Value]:
    """Four maps, as `DinoV3Features`; `image` is float32 (batch, 3, height, width)."""
    record = vit.record
    with g.scope("embed"):
        patches = conv(g, image, kernel_of(vit.patch_embed.proj), stride=PATCH)
        size = spatial(g, patches)
        x = patches.reshape([0, 0, -1]).transpose(0, 2, 1)
        tail = np.concatenate((vit.others(), np.repeat(vit.cls_token, parts - 1, 1)), 1)
        x, where = with_tail(g, x, size, tail, parts, record.head_width)
    maps: list[Value] = []
    for i, block in enumerate(vit.blocks):
        with g.scope(f"block{i}"):
            x = transformer_block(g, x, block, where)
            if i in record.taken:
                patches = g.op("Slice", x, [0], where.patches, [1]).transpose(0, 2, 1)
                maps.append(patches.reshape(concat(g, [[0, 0], size], 0)))
    return maps


def with_tail(
    g: Graph, x: Value, size: Value, tail: nn.Array, parts: int, head_width: int
) -> tuple[Value, TokenGrid]:
    """Patches (batch, patches, width) with as much of `tail` behind them as makes parts equal.

    Args:
        size: height and width in patches, int64 (2,).
        tail: class token, registers, and `parts` - 1 more: (1, 4 + parts, width).
    """
    others = tail.shape[1] - (parts - 1)
    patches = g.op("ReduceProd", size)
    keys = patches + others
    tokens = (keys + (parts - 1)) // parts * parts
    batch = g.op("Shape", x, end=1)
    shape = concat(g, [batch, tokens - patches, [tail.shape[2]]], 0)
    behind = g.op("Expand", g.op("Slice", tail, [0], tokens - patches, [1]), shape)
    angle = angles(g, size, head_width)
    angle = g.op("Pad", angle, concat(g, [[0, 0], tokens - patches, [0]], 0))
    turn = Turn(g.op("Cos", angle), g.op("Sin", angle))
    if g.opset >= 23:
        like = concat(g, [batch, [1, 1]], 0)
        turn = Turn(*(g.op("Expand", g.op("Unsqueeze", table, [0]), like) for table in turn))
    else:
        turn = Turn(*(g.op("Unsqueeze", table, [0, 2]) for table in turn))
    of_keys = Turn(*(g.op("Slice", table, [0], keys, [1]) for table in turn))
    return concat(g, [x, behind], 1), TokenGrid(patches, keys, turn, of_keys, parts)


def angles(g: Graph, size: Value, head_width: int) -> Value:
    """The angles by which `dino_v3.rotation` turns a pair of channels, for a symbolic size.

    float32 (patches, head width / 2): by y, then by x.
    """
    lines = []
    for side, place in zip(g.ops("Split", 2, size, [1, 1]), ([-1, 1, 1], [1, -1, 1]), strict=True):
        count = g.op("Squeeze", side)
        odd = g.op("Cast", g.op("Range", 1, count * 2, 2), to=TensorProto.FLOAT)
        centers = g.op("Div", odd, g.op("Cast", count, to=TensorProto.FLOAT)) - 1.0
        line = centers.reshape(place) * (2 * pi / periods(head_width))
        lines.append(g.op("Expand", line, concat(g, [size, [1]], 0)))
    return concat(g, lines, 2).reshape([-1, head_width // 2])


def transformer_block(g: Graph, x: Value, block: Block, where: TokenGrid) -> Value:
    """(batch, tokens, width) to the same; the factors of its channels are in the last weights."""
    x = x + attention(g, layer_norm(g, x, block.norm1), block, where)
    mlp, normed = block.mlp, layer_norm(g, x, block.norm2)
    if isinstance(mlp, GatedMLP):
        gate = linear(g, normed, mlp.fc1_g)
        hidden = gate * g.op("Sigmoid", gate) * linear(g, normed, mlp.fc1_x)
    else:
        hidden = gelu(g, linear(g, normed, mlp.fc1))
    weight, bias = g.constants(mlp.fc2, lambda: scaled(mlp.fc2, block.gamma_2))
    return x + (hidden @ weight + bias)


def scaled(layer: nn.Linear, gamma: nn.Array) -> tuple[Array, Array]:
    """Weight (in, out) and bias of a linear layer whose outputs are multiplied, float64."""
    factor = float64(gamma)
    return layer.weight.T * factor, layer.bias * factor


def attention(g: Graph, x: Value, block: Block, where: TokenGrid) -> Value:
    """A block's attention among normalized tokens, times its factors: (batch, tokens, width).

    The scores of all tokens would be its largest tensor by far, so queries come in parts.
    """
    attn = block.attn
    w_q, w_k, w_v = g.constants(attn.qkv, lambda: queries_keys_values(attn))
    keys = g.op("Slice", x, [0], where.keys, [1])
    q = turned(g, x @ w_q, where.turn, attn.num_heads)
    k = turned(g, keys @ w_k, where.turn_of_keys, attn.num_heads)
    q, k, v = (by_head(g, value, attn.num_heads) for value in (q, k, keys @ w_v))
    if g.opset < 23:
        k = k.transpose(0, 1, 3, 2)
    done: list[Value] = []
    for part in g.split_evenly(q, where.parts, axis=2):
        waiting = after(g, done[-1], part, 2) if done else part
        if g.opset >= 23:
            done.append(g.op("Attention", waiting, k, v, scale=1.0))
        else:
            done.append(g.op("Softmax", waiting @ k, axis=-1) @ v)
    heads = concat(g, done, 2).transpose(0, 2, 1, 3).reshape([0, 0, -1])
    weight, bias = g.constants(attn.proj, lambda: scaled(attn.proj, block.gamma_1))
    return heads @ weight + bias


def queries_keys_values(attn: Attention) -> tuple[Array, Array, Array]:
    """The three parts of `qkv`, (in, out) in float64; the scale of the scores is the first's."""
    q, k, v = np.split(float64(attn.qkv.weight).T, 3, axis=1)
    return q * attn.scale, k, v


def turned(g: Graph, x: Value, turn: Turn, heads: int) -> Value:
    """Queries or keys (batch, tokens, width), rotated as `dino_v3.rotated` does."""
    if g.opset >= 23:
        return g.op("RotaryEmbedding", x, turn.cos, turn.sin, num_heads=heads)
    first, second = g.split_evenly(x.reshape([0, 0, heads, -1]), 2, axis=3)
    rotated = [first * turn.cos - second * turn.sin, second * turn.cos + first * turn.sin]
    return concat(g, rotated, 3).reshape([0, 0, -1])


def by_head(g: Graph, x: Value, heads: int) -> Value:
    """(batch, tokens, width) to (batch, heads, tokens, head width)."""
    return x.reshape([0, 0, heads, -1]).transpose(0, 2, 1, 3)
