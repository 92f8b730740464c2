"""DINOv3 (arXiv 2508.10104); tokens are (batch, tokens, channels)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..network.backbone.dino_v3 import (
    REGISTERS,
    Attention,
    Block,
    DinoV3Features,
    GatedMLP,
    periods,
)
from ..network.backbone.mlp import MLP
from .layers import (
    Array,
    Size,
    attention,
    by_head,
    conv,
    gelu,
    layer_norm,
    linear,
    silu,
    values,
)


def dino_v3(image: Array, net: DinoV3Features) -> list[Array]:
    """Four maps, all at stride 16: the patches behind the blocks that are taken, without a norm."""
    vit = net.model
    patches = conv(image, vit.patch_embed.proj)
    batch, height, width, channels = patches.shape
    others = np.broadcast_to(values(vit.others()), (batch, 1 + REGISTERS, channels))
    x = np.concatenate((others, patches.reshape(batch, -1, channels)), 1)
    by = rotation((height, width), vit.record.head_width)
    maps = []
    for i, block in enumerate(vit.blocks):
        x = transformer_block(x, block, by)
        if i in vit.record.taken:
            maps.append(x[:, 1 + REGISTERS :].reshape(patches.shape))
    return maps


class Rotation(NamedTuple):
    """Cosine and sine by which queries and keys of patches are rotated: (patches, head width)."""

    cos: Array
    sin: Array


def rotation(size: Size, head_width: int) -> Rotation:
    """The rotation of each patch of a map of so many patches (RoPE, arXiv 2104.09864).

    A patch's coordinates are its center's, each axis running from -1 to 1 over the map, whatever
    its size. The first quarter of a head's channels turns with y, the second with x; each of them
    makes a pair with the channel half a head further on.
    """
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in size)
    centers = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2, 1)
    quarters = 2 * np.pi * centers / periods(head_width)  # (patches, 2, head width / 4)
    angle = np.tile(quarters.reshape(len(centers), -1), 2)
    return Rotation(np.cos(angle), np.sin(angle))


def rotated(x: Array, by: Rotation) -> Array:
    """Rotate the patches of (batch, heads, tokens, head width), the last tokens, in pairs."""
    others, patches = np.split(x, [-len(by.cos)], 2)
    first, second = np.split(patches, 2, -1)
    turned = np.concatenate((-second, first), -1)
    return np.concatenate((others, patches * by.cos + turned * by.sin), 2)


def transformer_block(x: Array, block: Block, by: Rotation) -> Array:
    x = x + values(block.gamma_1) * self_attention(layer_norm(x, block.norm1), block.attn, by)
    return x + values(block.gamma_2) * feed_forward(layer_norm(x, block.norm2), block.mlp)


def self_attention(x: Array, attn: Attention, by: Rotation) -> Array:
    q, k, v = (by_head(part, attn.num_heads) for part in np.split(linear(x, attn.qkv), 3, -1))
    return linear(attention(rotated(q, by), rotated(k, by), v), attn.proj)


def feed_forward(x: Array, mlp: MLP | GatedMLP) -> Array:
    """Two linear layers around GELU, or a linear layer gated by another's SiLU, and a third."""
    if isinstance(mlp, GatedMLP):
        return linear(silu(linear(x, mlp.fc1_g)) * linear(x, mlp.fc1_x), mlp.fc2)
    return linear(gelu(linear(x, mlp.fc1)), mlp.fc2)
