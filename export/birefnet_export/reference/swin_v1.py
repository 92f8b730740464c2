"""Swin Transformer v1 (arXiv 2103.14030); maps of tokens are (batch, height, width, channels)."""

from __future__ import annotations

import numpy as np

from ..network.backbone.swin_v1 import (
    MASKED,
    PatchMerging,
    SwinBlock,
    SwinTransformer,
    WindowAttention,
)
from .layers import (
    Array,
    Size,
    attention,
    by_head,
    conv,
    gelu,
    layer_norm,
    linear,
    values,
)


def swin_v1(image: Array, net: SwinTransformer) -> list[Array]:
    """Four maps, at strides 4, 8, 16 and 32, each behind its own LayerNorm."""
    x = layer_norm(conv(image, net.patch_embed.proj), net.patch_embed.norm)
    maps = []
    for i, stage in enumerate(net.layers):
        for block in stage.blocks:
            x = swin_block(x, block)
        maps.append(layer_norm(x, net.norm(i)))
        if stage.downsample is not None:
            x = merged(x, stage.downsample)
    return maps


def swin_block(x: Array, block: SwinBlock) -> Array:
    x = x + window_attention(layer_norm(x, block.norm1), block)
    hidden = gelu(linear(layer_norm(x, block.norm2), block.mlp.fc1))
    return x + linear(hidden, block.mlp.fc2)


def window_attention(x: Array, block: SwinBlock) -> Array:
    """Attention within windows, which in every second block are shifted by half a window.

    What the padding adds takes part: its tokens are zeros here, and have the biases of q, k and v.
    """
    _, height, width, _ = x.shape
    window, shift = block.window, block.shift
    x = np.pad(x, ((0, 0), (0, -height % window), (0, -width % window), (0, 0)))
    size = x.shape[1], x.shape[2]
    x = np.roll(x, (-shift, -shift), (1, 2))
    mask = shift_mask(size, window, shift) if shift else None
    x = joined_windows(attended(windows_of(x, window), block.attn, mask), window, size)
    return np.roll(x, (shift, shift), (1, 2))[:, :height, :width]


def attended(x: Array, attn: WindowAttention, mask: Array | None) -> Array:
    """Attend within each window, with a bias for each displacement of two tokens.

    Args:
        x: (batch * windows, window², width).
        mask: (windows, window², window²) to add to the scores, or None.
    """
    bias = values(attn.position_bias())  # (heads, window², window²)
    q, k, v = (by_head(part, attn.num_heads) for part in np.split(linear(x, attn.qkv), 3, -1))
    if mask is not None:
        repeated = np.tile(mask, (len(x) // len(mask), 1, 1))
        bias = bias + repeated[:, None]
    return linear(attention(q, k, v, bias), attn.proj)


def shift_mask(size: Size, window: int, shift: int) -> Array:
    """What keeps tokens apart that the shift brought into one window: 0 or `MASKED`.

    Rolling a map carries its first rows and columns behind its last, so that windows there hold
    parts of the map that are no neighbors. The roll cuts each axis into three bands, and the map
    into nine regions; a token attends to those of its own region.

    Args:
        size: of the padded map.

    Returns:
        (windows, window², window²).
    """
    y, x = (np.digitize(np.arange(side), (side - window, side - shift)) for side in size)
    region = np.asarray(3 * y[:, None] + x[None, :], np.float64)
    tokens = windows_of(region[None, :, :, None], window)[..., 0]  # (windows, window²)
    return np.where(tokens[:, :, None] == tokens[:, None, :], 0.0, MASKED)


def windows_of(x: Array, window: int) -> Array:
    """(batch, height, width, channels) to (batch * windows, window², channels)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.swapaxes(2, 3).reshape(-1, window * window, channels)


def joined_windows(x: Array, window: int, size: Size) -> Array:
    """Windows, put together to a map again."""
    height, width = size
    x = x.reshape(-1, height // window, width // window, window, window, x.shape[-1])
    return x.swapaxes(2, 3).reshape(-1, height, width, x.shape[-1])


def merged(x: Array, merging: PatchMerging) -> Array:
    """Halve a map's sides and double its channels; an odd side is padded with zeros."""
    _, height, width, _ = x.shape
    x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    corners = x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]
    return linear(layer_norm(np.concatenate(corners, -1), merging.norm), merging.reduction)
