"""The architecture of a BiRefNet as one frozen record, read off the tensors of a checkpoint."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from math import isqrt
from typing import Any

from ..errors import ArchitectureError
from .unsupported import Shapes, refuse_other_variants

_BLOCK = re.compile(r"bb\.layers\.(\d+)\.blocks\.(\d+)\.")
_SQUEEZE = re.compile(r"squeeze_module\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Every width, depth and setting that tells one BiRefNet from another.

    The backbone is Swin v1 with four stages; stage ``i`` has ``embed_dim * 2**i`` channels. The
    settings below it are upstream's (`config.py`), the defaults those of the released models.
    """

    embed_dim: int
    """Channels of the first backbone stage: 96 (T, S), 128 (B), 192 (L)."""
    depths: tuple[int, ...]
    """Transformer blocks per stage."""
    num_heads: tuple[int, ...]
    """Attention heads per stage."""
    window: int
    """Side of an attention window, in tokens."""
    mlp_hidden: int
    """Hidden channels of the first stage's MLP; stage ``i`` has ``mlp_hidden * 2**i``."""
    decoder_width: int = 64
    """Channels inside each decoder block."""
    aspp_width: int = 256
    """Output channels of each branch of an ASPP; 0 without any."""
    aspp_kernels: tuple[int, ...] = (1, 3, 7)
    """Kernel sizes of the deformable branches that follow the leading 1 x 1."""
    patch_width: int = 64
    """Channels between the two convolutions of an image branch."""
    gradient_width: int = 16
    """Channels of the gradient attention; 0 without it (`out_ref`)."""
    multi_scale: str | None = "cat"
    """What becomes of the maps of the image at half its size: `cat`, `add`, or there are `none`
    (`mul_scl_ipt`). None: one of the last two, which tensors can't tell apart."""
    context: int = 3
    """How many of the shallower maps join the deepest one, deep ones first (`cxt_num`)."""
    squeeze: tuple[str, ...] = ("BasicDecBlk",)
    """The blocks that squeeze the deepest map, by upstream's class names (`squeeze_block`)."""
    decoder_block: str = "BasicDecBlk"
    """`BasicDecBlk`, or `ResBlk` with a convolution around each block (`dec_blk`)."""
    attention: str = "ASPPDeformable"
    """Inside decoder blocks: `ASPPDeformable`, `ASPP` or `none` (`dec_att`)."""
    whole_image: bool = False
    """Decoder blocks see the resized image, not its patches (`dec_ipt_split` off)."""
    batch_norm: bool = True
    """False for what was trained with a batch size of 1, where upstream leaves BatchNorm out."""

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of the four backbone stages, shallow to deep."""
        return tuple(self.embed_dim << stage for stage in range(4))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four feature maps that the decoder sees, shallow to deep."""
        scales = 2 if self.multi_scale == "cat" else 1
        return tuple(scales * width for width in self.stage_widths)

    @property
    def backbone(self) -> str:
        """Upstream's name of the backbone (`swin_v1_l`), or `swin` for one that has no name."""
        parts = (self.embed_dim, self.depths, self.num_heads, self.window)
        for name, arch in SWIN_V1.items():
            if parts == (arch.embed_dim, arch.depths, arch.num_heads, arch.window):
                return name
        return "swin"

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def settings(self) -> dict[str, str]:
        """Upstream's settings, by its names, that differ from the released models'."""
        values = {
            "mul_scl_ipt": ("cat", self.multi_scale or "none or add"),
            "cxt_num": ("3", str(self.context)),
            "squeeze_block": ("BasicDecBlk", " ".join(self.squeeze) or "none"),
            "dec_blk": ("BasicDecBlk", self.decoder_block),
            "dec_att": ("ASPPDeformable", self.attention),
            "dec_ipt_split": ("on", "off" if self.whole_image else "on"),
            "out_ref": ("on", "on" if self.gradient_width else "off"),
            "batch_size": ("more than 1", "more than 1" if self.batch_norm else "1"),
        }
        return {name: value for name, (released, value) in values.items() if value != released}

    def with_multi_scale(self, stated: str | None) -> Architecture:
        """Return the architecture with `multi_scale` as it is stated, where tensors can't tell.

        Raises:
            ArchitectureError: they can't tell and nothing is stated, or they tell otherwise.
        """
        if self.multi_scale is None and stated in ("none", "add"):
            return replace(self, multi_scale=stated)
        if self.multi_scale is None:
            raise ArchitectureError(
                "its backbone runs at one scale (mul_scl_ipt 'none'), or the maps of both are "
                "added ('add'), which its tensors can't tell apart; say which with --multi-scale "
                "none or --multi-scale add"
            )
        if stated not in (None, self.multi_scale):
            raise ArchitectureError(
                f"its tensors show mul_scl_ipt {self.multi_scale!r}, not {stated!r}; leave out "
                "--multi-scale"
            )
        return self

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> Architecture:
        """Infer the architecture from state-dict names and shapes.

        Raises:
            ArchitectureError: the tensors show something other than a Swin v1 BiRefNet; the message
                names the tensor that was looked for.
        """
        refuse_other_variants(shapes)
        embed_dim = _shape(shapes, "bb.patch_embed.proj.weight", 4)[0]
        tables = [
            _shape(shapes, f"bb.layers.{i}.blocks.0.attn.relative_position_bias_table", 2)
            for i in range(4)
        ]
        backbone = cls(
            embed_dim=embed_dim,
            depths=_depths(shapes),
            num_heads=tuple(heads for _, heads in tables),
            window=_window(tables[0][0]),
            mlp_hidden=_shape(shapes, "bb.layers.0.blocks.0.mlp.fc1.weight", 2)[0],
            # The first map that the decoder sees has the channels of one scale, or of two.
            multi_scale=None
            if _shape(shapes, "decoder.lateral_block2.conv.weight", 4)[1] == embed_dim
            else "cat",
        )
        return replace(backbone, **_decoder_settings(shapes, backbone.channels))


SWIN_V1 = {
    "swin_v1_t": Architecture(96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_s": Architecture(96, (2, 2, 18, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_b": Architecture(128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 512),
    "swin_v1_l": Architecture(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 768),
}
"""The released backbones by upstream's names, with upstream's decoder."""


def _decoder_settings(shapes: Shapes, channels: tuple[int, ...]) -> dict[str, Any]:
    """The fields of the squeeze blocks and of the decoder."""
    count = len({match[1] for name in shapes if (match := _SQUEEZE.match(name))})
    squeeze = tuple(_kind(shapes, f"squeeze_module.{i}.") for i in range(count))
    attention = _kind(shapes, "decoder.decoder_block4.dec_att.")
    aspp = "squeeze_module.0." if attention == "none" else "decoder.decoder_block4.dec_att."
    pooled = f"{aspp}global_avg_pool.1.weight"
    deformable = sorted(name for name in shapes if name.startswith(aspp) and "regular_conv" in name)
    image = _shape(shapes, "decoder.ipt_blk5.conv1.weight", 4)
    gradient = "decoder.gdt_convs_4.0.weight"
    return {
        "decoder_width": _shape(shapes, "decoder.decoder_block4.conv_in.weight", 4)[0],
        "aspp_width": _shape(shapes, pooled, 4)[0] if pooled in shapes else 0,
        "aspp_kernels": tuple(shapes[name][-1] for name in deformable if "aspp_deforms" in name),
        "patch_width": image[0],
        "gradient_width": _shape(shapes, gradient, 4)[0] if gradient in shapes else 0,
        "context": _context(shapes, squeeze[0], channels) if squeeze else 0,
        "squeeze": squeeze,
        "decoder_block": _kind(shapes, "decoder.decoder_block4."),
        "attention": attention,
        "whole_image": image[1] == 3,
        "batch_norm": "decoder.decoder_block4.bn_in.weight" in shapes,
    }


def _kind(shapes: Shapes, prefix: str) -> str:
    """Upstream's class of the block whose tensors have a prefix; `none` if there are none."""
    for tensor, kind in (
        ("conv_resi", "ResBlk"),
        ("conv_in", "BasicDecBlk"),
        ("aspp2.atrous_conv", "ASPP"),
        ("aspp1.atrous_conv.regular_conv", "ASPPDeformable"),
    ):
        if f"{prefix}{tensor}.weight" in shapes:
            return kind
    if any(name.startswith(prefix) for name in shapes):
        raise ArchitectureError(f"its {prefix[:-1]} is none of upstream's blocks")
    return "none"


def _context(shapes: Shapes, kind: str, channels: tuple[int, ...]) -> int:
    """How many maps join the deepest one, told by what the first squeeze block reads."""
    convolution = "global_avg_pool.1" if kind.startswith("ASPP") else "conv_in"
    name = f"squeeze_module.0.{convolution}.weight"
    total = _shape(shapes, name, 4)[1]
    for count in range(4):
        if total == channels[3] + sum(channels[3 - count : 3]):
            return count
    raise ArchitectureError(f"tensor {name} reads {total} channels, no context ('cxt_num') fits")


def _shape(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of tensor `name`, which must be there and have `rank` dimensions."""
    if name not in shapes:
        raise ArchitectureError(f"tensor {name} is missing: not a Swin v1 BiRefNet")
    shape = tuple(shapes[name])
    if len(shape) != rank:
        raise ArchitectureError(f"tensor {name} has shape {shape}, expected {rank} dimensions")
    return shape


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
