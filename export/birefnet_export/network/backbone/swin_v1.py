"""Swin Transformer v1 (arXiv 2103.14030), the backbone, with upstream's state-dict names.

Four stages of transformer blocks attend within windows of a map, every second block in windows
shifted by half. Four maps come out, at strides 4, 8, 16 and 32, each behind its own LayerNorm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...errors import ArchitectureError
from .. import nn
from ..shapes import Shapes, shape_of
from .mlp import MLP

MASKED = -100.0
"""What the shift mask adds to the score of two tokens from different regions (upstream's value)."""
_BLOCK = re.compile(r"bb\.layers\.(\d+)\.blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class SwinV1:
    """A Swin v1 of four stages; stage ``i`` has ``embed_dim * 2**i`` channels."""

    embed_dim: int
    """Channels of the first stage: 96 (T, S), 128 (B), 192 (L)."""
    depths: tuple[int, ...]
    """Transformer blocks per stage."""
    num_heads: tuple[int, ...]
    """Attention heads per stage."""
    window: int
    """Side of an attention window, in tokens."""
    mlp_hidden: int
    """Hidden channels of the first stage's MLP; stage ``i`` has ``mlp_hidden * 2**i``."""

    @property
    def name(self) -> str:
        """Upstream's name, or `swin` for one that has none."""
        return next((name for name, record in SWIN_V1.items() if record == self), "swin")

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.embed_dim << stage for stage in range(4))

    @property
    def strides(self) -> tuple[int, ...]:
        return 4, 8, 16, 32

    def module(self) -> SwinTransformer:
        return SwinTransformer(self)

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> SwinV1 | None:
        """Read it off names and shapes of a state dict; None if they show another backbone.

        Raises:
            ArchitectureError: they contradict each other; the message names the tensor.
        """
        if "bb.patch_embed.proj.weight" not in shapes:
            return None
        tables = [
            shape_of(shapes, f"bb.layers.{i}.blocks.0.attn.relative_position_bias_table", 2)
            for i in range(4)
        ]
        swin = cls(
            embed_dim=shape_of(shapes, "bb.patch_embed.proj.weight", 4)[0],
            depths=_depths(shapes),
            num_heads=tuple(heads for _, heads in tables),
            window=_window(tables[0][0]),
            mlp_hidden=shape_of(shapes, "bb.layers.0.blocks.0.mlp.fc1.weight", 2)[0],
        )
        for width, heads in zip(swin.widths, swin.num_heads, strict=True):
            if width % heads:
                raise ArchitectureError(f"{heads} attention heads can't share {width} channels")
        return swin


SWIN_V1 = {
    "swin_v1_t": SwinV1(96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_s": SwinV1(96, (2, 2, 18, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_b": SwinV1(128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 512),
    "swin_v1_l": SwinV1(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 768),
}
"""Upstream's, by upstream's names."""


def _depths(shapes: Shapes) -> tuple[int, ...]:
    """Transformer blocks per stage, counted from the names."""
    blocks = {(int(match[1]), int(match[2])) for name in shapes if (match := _BLOCK.match(name))}
    stages = {stage for stage, _ in blocks}
    if stages != {0, 1, 2, 3}:
        raise ArchitectureError(f"backbone stages {sorted(stages)} found, expected 0, 1, 2, 3")
    return tuple(1 + max(b for s, b in blocks if s == stage) for stage in range(4))


def _window(rows: int) -> int:
    """Window side from the rows of a relative position bias table, (2 * window - 1) ** 2."""
    side = isqrt(rows)
    if side * side != rows or side % 2 == 0:
        raise ArchitectureError(
            f"a relative position bias table has {rows} rows, which is not (2 * window - 1) ** 2"
        )
    return (side + 1) // 2


@cache
def relative_position_index(window: int) -> NDArray[np.int64]:
    """Row of the bias table for each pair of tokens in a window: int64 (window², window²)."""
    y, x = np.indices((window, window)).reshape(2, -1)
    dy = y[:, None] - y[None, :] + window - 1
    dx = x[:, None] - x[None, :] + window - 1
    return dy * (2 * window - 1) + dx


class WindowAttention(nn.Layer):
    """Multi-head self-attention within windows, with a relative position bias."""

    relative_position_bias_table = nn.Parameter()

    def __init__(self, dim: int, window: int, num_heads: int) -> None:
        self.window = window
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.relative_position_bias_table = (2 * window - 1) ** 2, num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def position_bias(self) -> nn.Array:
        """The bias of each pair of tokens: (heads, window², window²)."""
        table = self.relative_position_bias_table
        return np.asarray(table[relative_position_index(self.window)].transpose(2, 0, 1))


class SwinBlock(nn.Layer):
    """Attention in (shifted) windows, then an MLP, both with a residual and a norm before."""

    def __init__(self, dim: int, num_heads: int, window: int, shift: int, hidden: int) -> None:
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)


class PatchMerging(nn.Layer):
    """Halve a map's sides and double its channels; an odd side is padded with zeros first."""

    def __init__(self, dim: int) -> None:
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)


class Stage(nn.Layer):
    """Blocks at one scale, every second one shifted by half a window, then patch merging."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, hidden: int, last: bool):
        self.window = window
        self.shift = window // 2
        self.blocks = nn.Sequential(
            SwinBlock(dim, heads, window, self.shift if i % 2 else 0, hidden) for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(dim)


class PatchEmbed(nn.Layer):
    """Patches of 4 x 4 pixels to tokens, normalized."""

    def __init__(self, dim: int) -> None:
        self.proj = nn.Conv2d(3, dim, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(dim)


class SwinTransformer(nn.Layer):
    """The backbone: an image in, four normalized feature maps out."""

    def __init__(self, record: SwinV1) -> None:
        self.record = record
        self.window = record.window
        self.patch_embed = PatchEmbed(record.embed_dim)
        self.layers = nn.Sequential(
            Stage(
                width,
                record.depths[i],
                record.num_heads[i],
                record.window,
                record.mlp_hidden << i,
                last=i == 3,
            )
            for i, width in enumerate(record.widths)
        )
        for i, width in enumerate(record.widths):
            self.add(f"norm{i}", nn.LayerNorm(width))

    def norm(self, stage: int) -> nn.LayerNorm:
        """What normalizes the map that leaves a stage."""
        return cast(nn.LayerNorm, self.child(f"norm{stage}"))
