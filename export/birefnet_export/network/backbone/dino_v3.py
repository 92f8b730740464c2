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

import numpy as np
from numpy.typing import NDArray

from ...errors import ArchitectureError
from .. import nn
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


def periods(head_width: int) -> NDArray[np.float64]:
    """Of the rotations along one axis, in halves of the map's side: float64 (head width / 4,)."""
    pairs = head_width // 4
    return np.asarray(PERIOD_BASE ** (np.arange(pairs) / pairs), np.float64)


class Attention(nn.Layer):
    """Multi-head self-attention of all tokens, with rotated queries and keys."""

    def __init__(self, width: int, head_width: int) -> None:
        self.num_heads = width // head_width
        self.scale = head_width**-0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)


class GatedMLP(nn.Layer):
    """A linear layer gated by the SiLU of another, then a third (SwiGLU)."""

    def __init__(self, width: int, hidden: int) -> None:
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)


class Block(nn.Layer):
    """Attention, then an MLP, both with a norm before, a factor a channel and a residual."""

    gamma_1 = nn.Parameter()
    gamma_2 = nn.Parameter()

    def __init__(self, record: DinoV3) -> None:
        width = record.width
        self.gamma_1 = (width,)
        self.gamma_2 = (width,)
        self.norm1 = nn.LayerNorm(width, EPS)
        self.attn = Attention(width, record.head_width)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp: MLP | GatedMLP
        if record.gated:
            self.mlp = GatedMLP(width, record.mlp_hidden)
        else:
            self.mlp = MLP(width, record.mlp_hidden)


class DinoPatchEmbed(nn.Layer):
    """Patches of 16 x 16 pixels to tokens."""

    def __init__(self, width: int) -> None:
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)


class VisionTransformer(nn.Layer):
    """An image in; out come the tokens behind each of the blocks that are taken."""

    cls_token = nn.Parameter()
    reg_token = nn.Parameter()

    def __init__(self, record: DinoV3) -> None:
        self.record = record
        self.cls_token = 1, 1, record.width
        self.reg_token = 1, REGISTERS, record.width
        self.patch_embed = DinoPatchEmbed(record.width)
        self.blocks = nn.Sequential(Block(record) for _ in range(record.depth))

    def others(self) -> nn.Array:
        """The tokens before the patches, class and registers: (1, 5, width)."""
        return np.concatenate((self.cls_token, self.reg_token), 1)


class DinoV3Features(nn.Layer):
    """The backbone: an image in, four feature maps at stride 16 out."""

    def __init__(self, record: DinoV3) -> None:
        self.model = VisionTransformer(record)
