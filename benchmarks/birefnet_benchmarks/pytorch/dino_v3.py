"""DINOv3 (arXiv 2508.10104) in PyTorch, with upstream's state-dict names.

A plain vision transformer over patches of 16 x 16 pixels: a class token and four registers stand
before the patches, positions enter by rotating queries and keys (RoPE, arXiv 2104.09864). What four
of its blocks give, without the final norm, are the four maps, all at stride 16.
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from birefnet_export.network.backbone.dino_v3 import EPS, PATCH, REGISTERS, DinoV3, periods
from torch import Tensor, nn

from .mlp import MLP


class Rotation(NamedTuple):
    """Cosine and sine by which queries and keys of patches are rotated: (patches, head width)."""

    cos: Tensor
    sin: Tensor


def rotation(height: int, width: int, head_width: int, like: Tensor) -> Rotation:
    """The rotation of each patch of a map of `height` x `width` patches, as `like` in type.

    A patch's coordinates are its center's, each axis running from -1 to 1 over the map, whatever
    its size. The first quarter of a head's channels turns with y, the second with x; each of them
    makes a pair with the channel half a head further on.
    """

    def angles(side: int) -> Tensor:
        centers = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
        return (
            2 * pi * centers[:, None] / torch.from_numpy(periods(head_width))
        )  # (side, head width / 4)

    y = angles(height)[:, None].expand(-1, width, -1)
    x = angles(width)[None].expand(height, -1, -1)
    angle = torch.cat((y, x), -1).flatten(0, 1).tile(1, 2)
    return Rotation(angle.cos().to(like), angle.sin().to(like))


def rotated(x: Tensor, by: Rotation) -> Tensor:
    """Rotate the patches of (batch, heads, tokens, head width), the last tokens, in pairs."""
    others, patches = x[:, :, : -len(by.cos)], x[:, :, -len(by.cos) :]
    first, second = patches.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return torch.cat((others, patches * by.cos + turned * by.sin), 2)


class Attention(nn.Module):
    """Multi-head self-attention of all tokens, with rotated queries and keys."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.num_heads = width // head_width
        self.scale = head_width**-0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, by: Rotation) -> Tensor:
        """(batch, tokens, width) to the same."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(rotated(q, by), rotated(k, by), v, scale=self.scale)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(batch, tokens, width))
        return out


class GatedMLP(nn.Module):
    """A linear layer gated by the SiLU of another, then a third (SwiGLU)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.silu(self.fc1_g(x)) * self.fc1_x(x))
        return out


class Block(nn.Module):
    """Attention, then an MLP, both with a norm before, a factor a channel and a residual."""

    def __init__(self, record: DinoV3) -> None:
        super().__init__()
        width = record.width
        self.gamma_1 = nn.Parameter(torch.ones(width))
        self.gamma_2 = nn.Parameter(torch.ones(width))
        self.norm1 = nn.LayerNorm(width, EPS)
        self.attn = Attention(width, record.head_width)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = (GatedMLP if record.gated else MLP)(width, record.mlp_hidden)

    def forward(self, x: Tensor, by: Rotation) -> Tensor:
        x = x + self.gamma_1 * self.attn(self.norm1(x), by)
        out: Tensor = x + self.gamma_2 * self.mlp(self.norm2(x))
        return out


class DinoPatchEmbed(nn.Module):
    """Patches of 16 x 16 pixels to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, patches, width)."""
        out: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return out


class VisionTransformer(nn.Module):
    """An image in; out come the tokens behind each of the blocks that are taken."""

    def __init__(self, record: DinoV3) -> None:
        super().__init__()
        self.record = record
        self.cls_token = nn.Parameter(torch.zeros(1, 1, record.width))
        self.reg_token = nn.Parameter(torch.zeros(1, REGISTERS, record.width))
        self.patch_embed = DinoPatchEmbed(record.width)
        self.blocks = nn.ModuleList(Block(record) for _ in range(record.depth))

    def transformer_blocks(self) -> list[Block]:
        return [cast(Block, block) for block in self.blocks]

    def others(self) -> Tensor:
        """The tokens before the patches, class and registers: (1, 5, width)."""
        return torch.cat((self.cls_token, self.reg_token), 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(batch, 3, height, width) to four times (batch, 5 + patches, width)."""
        height, width = (side // PATCH for side in image.shape[2:])
        x = torch.cat((self.others().expand(len(image), -1, -1), self.patch_embed(image)), 1)
        by = rotation(height, width, self.record.head_width, like=x)
        tokens: list[Tensor] = []
        for i, block in enumerate(self.transformer_blocks()):
            x = block(x, by)
            if i in self.record.taken:
                tokens.append(x)
        return tokens


class DinoV3Features(nn.Module):
    """The backbone: an image in, four feature maps at stride 16 out."""

    def __init__(self, record: DinoV3) -> None:
        super().__init__()
        self.model = VisionTransformer(record)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(batch, 3, height, width), sides multiples of 16, to maps of the patches alone.

        Each is (batch, width, height / 16, width / 16).
        """
        size = [side // PATCH for side in image.shape[2:]]
        patches = (tokens[:, 1 + REGISTERS :] for tokens in self.model(image))
        return [x.transpose(1, 2).unflatten(2, size) for x in patches]
