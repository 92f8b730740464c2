"""DINOv3 (arXiv 2508.10104), the backbone, with upstream's state-dict names.

A plain vision transformer over patches of 16 x 16 pixels: a class token and four registers stand
before the patches, positions enter by rotating queries and keys (RoPE, arXiv 2104.09864). What four
of its blocks give, without the final norm, are the four maps, all at stride 16.

Upstream takes it from timm (`vit_*_patch16_dinov3`, `features_only`, `dynamic_img_size`). What no
tensor shows, `EPS`, `PERIOD_BASE`, the width of a head and which blocks feed the maps, is from
there and from upstream's `config.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import pi
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ArchitectureError
from ..shapes import Shapes, shape_of
from .mlp import MLP

PATCH = 16
"""Pixels to a side of a patch."""
REGISTERS = 4
EPS = 1e-5
"""Of every LayerNorm (timm: ``norm_layer=partial(LayerNorm, eps=1e-5)``)."""
PERIOD_BASE = 100.0
"""Rotation periods run from 1 up to it (timm: ``rope_temperature=100``)."""
_BLOCK = re.compile(r"bb\.model\.blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class DinoV3:
    """A DINOv3; the first three fields are read off the tensors, the others looked up."""

    width: int
    """Channels of a token."""
    mlp_hidden: int
    """Hidden channels of the MLP, or of each of the two factors of a gated one."""
    gated: bool
    """The MLP is a SwiGLU (arXiv 2002.05202)."""
    head_width: int
    """Channels of an attention head."""
    taken: tuple[int, ...]
    """The four blocks, counted from 0, that give the maps; the last of them is the last block."""

    @property
    def name(self) -> str:
        """Upstream's name, or `dino_v3` for one that has none."""
        return next((name for name, record in DINO_V3.items() if record == self), "dino_v3")

    @property
    def depth(self) -> int:
        """Transformer blocks."""
        return self.taken[-1] + 1

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.width,) * 4

    @property
    def strides(self) -> tuple[int, ...]:
        return (PATCH,) * 4

    def module(self) -> DinoV3Features:
        return DinoV3Features(self)

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> DinoV3 | None:
        """Read it off names and shapes of a state dict; None if they show another backbone.

        Raises:
            ArchitectureError: it is none of upstream's sizes; the message says what was found.
        """
        if "bb.model.reg_token" not in shapes:
            return None
        first = "bb.model.blocks.0.mlp."
        gated = f"{first}fc1_g.weight" in shapes
        width = shape_of(shapes, "bb.model.patch_embed.proj.weight", 4)[0]
        hidden = shape_of(shapes, f"{first}fc1{'_g' if gated else ''}.weight", 2)[0]
        depth = len({match[1] for name in shapes if (match := _BLOCK.match(name))})
        for record in DINO_V3.values():
            shown = (record.width, record.mlp_hidden, record.gated, record.depth)
            if shown == (width, hidden, gated, depth):
                return record
        raise ArchitectureError(
            f"its backbone is a DINOv3 of {depth} blocks of {width} channels with "
            f"{'a gated' if gated else 'an'} MLP of {hidden}, which is none of upstream's "
            f"({', '.join(DINO_V3)}); which of its blocks feed the maps is not known"
        )


DINO_V3 = {
    "dino_v3_s": DinoV3(384, 1536, False, 64, (3, 5, 7, 11)),
    "dino_v3_s_plus": DinoV3(384, 1536, True, 64, (3, 5, 7, 11)),
    "dino_v3_b": DinoV3(768, 3072, False, 64, (3, 5, 7, 11)),
    "dino_v3_l": DinoV3(1024, 4096, False, 64, (5, 11, 17, 23)),
    "dino_v3_h_plus": DinoV3(1280, 5120, True, 64, (7, 15, 23, 31)),
    "dino_v3_7b": DinoV3(4096, 8192, True, 128, (9, 19, 29, 39)),
}
"""Upstream's, by upstream's names."""


class Rotation(NamedTuple):
    """Cosine and sine by which queries and keys of patches are rotated: (patches, head width)."""

    cos: Tensor
    sin: Tensor


def periods(head_width: int) -> Tensor:
    """Of the rotations along one axis, in halves of the map's side: float64 (head width / 4,)."""
    pairs = head_width // 4
    return PERIOD_BASE ** (torch.arange(pairs, dtype=torch.float64) / pairs)


def rotation(height: int, width: int, head_width: int, like: Tensor) -> Rotation:
    """The rotation of each patch of a map of `height` x `width` patches, as `like` in type.

    A patch's coordinates are its center's, each axis running from -1 to 1 over the map, whatever
    its size. The first quarter of a head's channels turns with y, the second with x; each of them
    makes a pair with the channel half a head further on.
    """

    def angles(side: int) -> Tensor:
        centers = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
        return 2 * pi * centers[:, None] / periods(head_width)  # (side, head width / 4)

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


class PatchEmbed(nn.Module):
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
        self.patch_embed = PatchEmbed(record.width)
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
