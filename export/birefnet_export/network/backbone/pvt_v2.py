"""PVT v2 (arXiv 2106.13797), the backbone, with upstream's state-dict names.

Each of four stages embeds overlapping patches of the
map before it and runs transformer blocks: attention whose keys and values come from a map reduced
by a strided convolution, and a feed-forward with a depthwise convolution, which stands for a
position embedding. Four maps come out, at strides 4, 8, 16 and 32, each behind its own LayerNorm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import cast

from ...errors import ArchitectureError
from .. import nn
from ..shapes import Shapes, shape_of

HEADS = (1, 2, 5, 8)
"""Attention heads per stage, of all that upstream has (`pvt_v2.py`); no tensor shows them."""
PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))
"""Side and stride of the patches that each stage embeds (the paper, section 3.2)."""
EPSILON = 1e-6
"""Of the LayerNorms of blocks and stages; those behind a convolution have PyTorch's own, 1e-5."""
SMALLEST_SIDE = 32
"""Pixels below which a reduction's kernel is larger than its map."""
_BLOCK = re.compile(r"bb\.block(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class PvtV2:
    """A PVT v2 of four stages."""

    widths: tuple[int, ...]
    """Channels per stage."""
    depths: tuple[int, ...]
    """Transformer blocks per stage."""
    mlp_hidden: tuple[int, ...]
    """Hidden channels of the feed-forward per stage."""
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """Per stage, by how much keys and values are reduced in height and in width."""
    num_heads: tuple[int, ...] = HEADS
    """Attention heads per stage."""

    @property
    def name(self) -> str:
        """Upstream's name, or `pvt_v2` for one that has none."""
        return next((name for name, record in PVT_V2.items() if record == self), "pvt_v2")

    @property
    def strides(self) -> tuple[int, ...]:
        return 4, 8, 16, 32

    def module(self) -> PyramidVisionTransformer:
        return PyramidVisionTransformer(self)

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> PvtV2 | None:
        """Read it off names and shapes of a state dict; None if they show another backbone.

        Raises:
            ArchitectureError: they contradict each other; the message names the tensor.
        """
        if "bb.patch_embed1.proj.weight" not in shapes:
            return None
        stages = range(1, 5)
        pvt = cls(
            widths=tuple(shape_of(shapes, f"bb.patch_embed{i}.proj.weight", 4)[0] for i in stages),
            depths=_depths(shapes),
            mlp_hidden=tuple(
                shape_of(shapes, f"bb.block{i}.0.mlp.fc1.weight", 2)[0] for i in stages
            ),
            reductions=tuple(_reduction(shapes, i) for i in stages),
        )
        for width, heads in zip(pvt.widths, pvt.num_heads, strict=True):
            if width % heads:
                raise ArchitectureError(f"{heads} attention heads can't share {width} channels")
        return pvt


def _of(widths: tuple[int, ...], *depths: int) -> PvtV2:
    """One of the paper's: the feed-forward widens 8 times in two stages, then 4 times."""
    ratios = (8, 8, 4, 4)
    return PvtV2(widths, depths, tuple(w * r for w, r in zip(widths, ratios, strict=True)))


_WIDE = (64, 128, 320, 512)
PVT_V2 = {
    "pvt_v2_b0": _of((32, 64, 160, 256), 2, 2, 2, 2),
    "pvt_v2_b1": _of(_WIDE, 2, 2, 2, 2),
    "pvt_v2_b2": _of(_WIDE, 3, 4, 6, 3),
    "pvt_v2_b3": _of(_WIDE, 3, 4, 18, 3),
    "pvt_v2_b4": _of(_WIDE, 3, 8, 27, 3),
    "pvt_v2_b5": replace(_of(_WIDE, 3, 6, 40, 3), mlp_hidden=tuple(4 * w for w in _WIDE)),
}
"""The paper's (table 1), by upstream's names; upstream offers b0, b1, b2 and b5."""


def _depths(shapes: Shapes) -> tuple[int, ...]:
    """Transformer blocks per stage, counted from the names."""
    blocks = {(int(match[1]), int(match[2])) for name in shapes if (match := _BLOCK.match(name))}
    stages = {stage for stage, _ in blocks}
    if stages != {1, 2, 3, 4}:
        raise ArchitectureError(f"backbone stages {sorted(stages)} found, expected 1, 2, 3, 4")
    return tuple(1 + max(b for s, b in blocks if s == stage) for stage in sorted(stages))


def _reduction(shapes: Shapes, stage: int) -> int:
    """The side of the kernel that reduces keys and values; 1 where there is none."""
    name = f"bb.block{stage}.0.attn.sr.weight"
    return shape_of(shapes, name, 4)[-1] if name in shapes else 1


class ReducedAttention(nn.Layer):
    """Multi-head attention of all tokens to the tokens of a reduced map."""

    def __init__(self, dim: int, num_heads: int, reduction: int) -> None:
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim)


class DepthwiseConv(nn.Layer):
    """A 3 x 3 convolution of each channel by itself, over tokens."""

    def __init__(self, dim: int) -> None:
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)


class FeedForward(nn.Layer):
    """Two linear layers around a depthwise convolution and an exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)


class PvtBlock(nn.Layer):
    """Attention, then a feed-forward, both with a residual and a norm before."""

    def __init__(self, dim: int, num_heads: int, reduction: int, hidden: int) -> None:
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.attn = ReducedAttention(dim, num_heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.mlp = FeedForward(dim, hidden)


class OverlappingPatchEmbed(nn.Layer):
    """Patches of a map, each overlapping its neighbors, to tokens, normalized."""

    def __init__(self, channels: int, dim: int, patch: int, stride: int) -> None:
        self.proj = nn.Conv2d(channels, dim, patch, stride=stride, padding=patch // 2)
        self.norm = nn.LayerNorm(dim)


class PyramidVisionTransformer(nn.Layer):
    """The backbone: an image in, four normalized feature maps out.

    Upstream numbers stages from 1; the methods that take a `stage` count from 0, as elsewhere.
    """

    def __init__(self, record: PvtV2) -> None:
        self.record = record
        channels = (3, *record.widths[:3])
        for i, width in enumerate(record.widths):
            embed = OverlappingPatchEmbed(channels[i], width, *PATCHES[i])
            self.add(f"patch_embed{i + 1}", embed)
            blocks = nn.Sequential(
                PvtBlock(width, record.num_heads[i], record.reductions[i], record.mlp_hidden[i])
                for _ in range(record.depths[i])
            )
            self.add(f"block{i + 1}", blocks)
            self.add(f"norm{i + 1}", nn.LayerNorm(width, eps=EPSILON))

    def patch_embed(self, stage: int) -> OverlappingPatchEmbed:
        return cast(OverlappingPatchEmbed, self.child(f"patch_embed{stage + 1}"))

    def blocks(self, stage: int) -> nn.Sequential[PvtBlock]:
        return cast("nn.Sequential[PvtBlock]", self.child(f"block{stage + 1}"))

    def norm(self, stage: int) -> nn.LayerNorm:
        """What normalizes the map that leaves a stage."""
        return cast(nn.LayerNorm, self.child(f"norm{stage + 1}"))
