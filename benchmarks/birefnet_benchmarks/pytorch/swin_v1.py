"""Swin Transformer v1 (arXiv 2103.14030) in PyTorch, with upstream's state-dict names.

Tokens are (batch, height * width, channels) or, around the windows, (batch, height, width,
channels). Four maps come out, at strides 4, 8, 16 and 32, each behind its own LayerNorm.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from birefnet_export.network.backbone.swin_v1 import MASKED, SwinV1, relative_position_index
from torch import Tensor, nn

from .mlp import MLP


def partition(x: Tensor, window: int) -> Tensor:
    """Cut (batch, height, width, channels) into (batch * windows, window², channels)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def reverse(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Inverse of `partition`: back to (batch, height, width, channels)."""
    channels = windows.shape[-1]
    x = windows.view(-1, height // window, width // window, window, window, channels)
    return x.transpose(2, 3).reshape(-1, height, width, channels)


def shift_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """Scores to add in shifted windows: float32 (windows, window², window²), 0 or `MASKED`.

    `height` and `width` are those of the padded map. Shifting it cyclically brings three bands
    of each axis together; tokens attend only within their own of the nine regions.
    """

    def band(size: int) -> Tensor:
        position = torch.arange(size)
        return (position >= size - window).long() + (position >= size - shift).long()

    region = 3 * band(height)[:, None] + band(width)[None, :]
    windows = partition(region[None, :, :, None], window).squeeze(-1)  # (windows, window²)
    return torch.where(windows[:, :, None] == windows[:, None, :], 0.0, MASKED)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a relative position bias."""

    def __init__(self, dim: int, window: int, num_heads: int) -> None:
        super().__init__()
        self.window = window
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window - 1) ** 2, num_heads)
        )
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def position_bias(self) -> Tensor:
        """The bias of each pair of tokens: (heads, window², window²)."""
        index = torch.from_numpy(relative_position_index(self.window))
        return self.relative_position_bias_table[index].permute(2, 0, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each window.

        Args:
            x: (batch * windows, window², dim).
            mask: (windows, window², window²) to add to the scores, or None.
        """
        count, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(count, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * self.scale) @ k.transpose(-2, -1)  # (count, heads, tokens, tokens)
        scores = scores + self.position_bias()
        if mask is not None:
            scores = scores.view(-1, len(mask), self.num_heads, tokens, tokens)
            scores = (scores + mask[:, None]).view(count, self.num_heads, tokens, tokens)
        x = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, tokens, dim)
        out: Tensor = self.proj(x)
        return out


class SwinBlock(nn.Module):
    """Attention in (shifted) windows, then an MLP, both with a residual and a norm before."""

    def __init__(self, dim: int, num_heads: int, window: int, shift: int, hidden: int) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, height, width, dim) to the same; `mask` is `shift_mask` of the padded map."""
        x = x + self.attend(self.norm1(x), mask)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        # Padded positions take part in attention: they hold zeros here and qkv's bias later.
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded_h, padded_w = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows = self.attn(partition(x, self.window), mask if self.shift else None)
        x = reverse(windows, self.window, padded_h, padded_w)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halve a map's sides and double its channels; an odd side is padded with zeros first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        out: Tensor = self.reduction(self.norm(torch.cat(corners, -1)))
        return out


class Stage(nn.Module):
    """Blocks at one scale, every second one shifted by half a window, then patch merging."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, hidden: int, last: bool):
        super().__init__()
        self.window = window
        self.shift = window // 2
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, window, self.shift if i % 2 else 0, hidden) for i in range(depth)
        )
        self.downsample = None if last else PatchMerging(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, height, width, dim) to the same, before patch merging."""
        height, width = (side + -side % self.window for side in x.shape[1:3])
        mask = shift_mask(height, width, self.window, self.shift).to(x)
        for block in self.swin_blocks():
            x = block(x, mask)
        return x

    def swin_blocks(self) -> list[SwinBlock]:
        return [cast(SwinBlock, block) for block in self.blocks]


class PatchEmbed(nn.Module):
    """Patches of 4 x 4 pixels to tokens, normalized."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, height / 4, width / 4, dim)."""
        out: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return out


class SwinTransformer(nn.Module):
    """The backbone: an image in, four normalized feature maps out."""

    def __init__(self, record: SwinV1) -> None:
        super().__init__()
        self.window = record.window
        self.patch_embed = PatchEmbed(record.embed_dim)
        self.layers = nn.ModuleList(
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
            self.add_module(f"norm{i}", nn.LayerNorm(width))

    def stages(self) -> list[Stage]:
        return [cast(Stage, stage) for stage in self.layers]

    def norm(self, stage: int) -> nn.LayerNorm:
        """What normalizes the map that leaves a stage."""
        return cast(nn.LayerNorm, self.get_submodule(f"norm{stage}"))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(batch, 3, height, width), sides multiples of 16, to maps at strides 4, 8, 16, 32.

        Map ``i`` is (batch, embed_dim * 2**i, height / stride, width / stride), sides rounded up.
        """
        maps: list[Tensor] = []
        x = self.patch_embed(image)
        for i, stage in enumerate(self.stages()):
            x = stage(x)
            maps.append(self.norm(i)(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps
