"""PVT v2 (arXiv 2106.13797) in PyTorch, with upstream's state-dict names.

Tokens are (batch, height, width, channels). Each of four stages embeds overlapping patches of the
map before it and runs transformer blocks: attention whose keys and values come from a map reduced
by a strided convolution, and a feed-forward with a depthwise convolution, which stands for a
position embedding. Four maps come out, at strides 4, 8, 16 and 32, each behind its own LayerNorm.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from birefnet_export.network.backbone.pvt_v2 import EPSILON, PATCHES, SMALLEST_SIDE, PvtV2
from torch import Tensor, nn


class ReducedAttention(nn.Module):
    """Multi-head attention of all tokens to the tokens of a reduced map."""

    def __init__(self, dim: int, num_heads: int, reduction: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim)

    def reduced(self, x: Tensor) -> Tensor:
        """(batch, height, width, dim) to what keys and values are made of; sides rounded down."""
        if self.reduction == 1:
            return x
        out: Tensor = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out

    def by_head(self, x: Tensor) -> Tensor:
        """(batch, ..., dim) to (batch, heads, tokens, dim / heads)."""
        return x.reshape(len(x), -1, self.num_heads, x.shape[-1] // self.num_heads).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, height, width, dim) to the same."""
        k, v = self.kv(self.reduced(x)).chunk(2, dim=-1)
        heads = F.scaled_dot_product_attention(
            self.by_head(self.q(x)), self.by_head(k), self.by_head(v)
        )
        out: Tensor = self.proj(heads.transpose(1, 2).reshape(x.shape))
        return out


class DepthwiseConv(nn.Module):
    """A 3 x 3 convolution of each channel by itself, over tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class FeedForward(nn.Module):
    """Two linear layers around a depthwise convolution and an exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x))))
        return out


class PvtBlock(nn.Module):
    """Attention, then a feed-forward, both with a residual and a norm before."""

    def __init__(self, dim: int, num_heads: int, reduction: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.attn = ReducedAttention(dim, num_heads, reduction)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.mlp = FeedForward(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, height, width, dim) to the same."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class OverlappingPatchEmbed(nn.Module):
    """Patches of a map, each overlapping its neighbors, to tokens, normalized."""

    def __init__(self, channels: int, dim: int, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=stride, padding=patch // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, height / stride, width / stride, dim)."""
        out: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return out


class PyramidVisionTransformer(nn.Module):
    """The backbone: an image in, four normalized feature maps out.

    Upstream numbers stages from 1; the methods that take a `stage` count from 0, as elsewhere.
    """

    def __init__(self, record: PvtV2) -> None:
        super().__init__()
        channels = (3, *record.widths[:3])
        for i, width in enumerate(record.widths):
            embed = OverlappingPatchEmbed(channels[i], width, *PATCHES[i])
            self.add_module(f"patch_embed{i + 1}", embed)
            blocks = nn.ModuleList(
                PvtBlock(width, record.num_heads[i], record.reductions[i], record.mlp_hidden[i])
                for _ in range(record.depths[i])
            )
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(width, eps=EPSILON))

    def patch_embed(self, stage: int) -> OverlappingPatchEmbed:
        return cast(OverlappingPatchEmbed, self.get_submodule(f"patch_embed{stage + 1}"))

    def blocks(self, stage: int) -> list[PvtBlock]:
        blocks = cast(nn.ModuleList, self.get_submodule(f"block{stage + 1}"))
        return [cast(PvtBlock, block) for block in blocks]

    def norm(self, stage: int) -> nn.LayerNorm:
        """What normalizes the map that leaves a stage."""
        return cast(nn.LayerNorm, self.get_submodule(f"norm{stage + 1}"))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(batch, 3, height, width), sides multiples of 16, to maps at strides 4, 8, 16, 32.

        Map ``i`` is (batch, ``widths[i]``, height / stride, width / stride), sides rounded up. A
        side below `SMALLEST_SIDE` is enlarged to it first; upstream fails there.
        """
        size = [max(side, SMALLEST_SIDE) for side in image.shape[2:]]
        x = image
        if size != list(image.shape[2:]):
            x = F.interpolate(image, size=size, mode="bilinear", align_corners=True)
        maps: list[Tensor] = []
        for stage in range(4):
            tokens = self.patch_embed(stage)(x)
            for block in self.blocks(stage):
                tokens = block(tokens)
            x = self.norm(stage)(tokens).permute(0, 3, 1, 2)
            maps.append(x)
        return maps
