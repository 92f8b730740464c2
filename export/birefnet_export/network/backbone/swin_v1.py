"""Swin Transformer v1 (arXiv 2103.14030), the backbone, with upstream's state-dict names.

Tokens are (batch, height * width, channels) or, around the windows, (batch, height, width,
channels). Four maps come out, at strides 4, 8, 16 and 32, each behind its own LayerNorm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ArchitectureError
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
            f"a relative position bias table has {rows} rows, which is no (2 * window - 1) ** 2"
        )
    return (side + 1) // 2


@cache
def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens in a window: int64 (window², window²)."""
    axis = torch.arange(window, device="cpu")
    y, x = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    dy = y[:, None] - y[None, :] + window - 1
    dx = x[:, None] - x[None, :] + window - 1
    return dy * (2 * window - 1) + dx


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
        index = relative_position_index(self.window)
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
