"""The architecture of a BiRefNet as one frozen record, read off the tensors of a checkpoint."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import ArchitectureError
from .backbone.read import read_backbone
from .backbone.record import Backbone
from .shapes import Shapes, refuse_other_variants, shape_of

_SQUEEZE = re.compile(r"squeeze_module\.(\d+)\.")
_DEFORMABLE = re.compile(r"aspp_deforms\.(\d+)\.atrous_conv\.regular_conv\.weight")


@dataclass(frozen=True, slots=True)
class Architecture:
    """The backbone, and every width and setting that tells one BiRefNet from another.

    The settings are upstream's (`config.py`), the defaults those of the released models.
    """

    backbone: Backbone
    decoder_width: int = 64
    """Channels inside each decoder block."""
    aspp_width: int = 256
    """Output channels of each branch of an ASPP; 0 without any."""
    aspp_kernels: tuple[int, ...] = (1, 3, 7)
    """Kernel sizes of the deformable branches that follow the leading 1 x 1."""
    patch_width: int = 64
    """Channels between the two convolutions of an image branch; 0 where the decoder takes no image
    (`dec_ipt` off)."""
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
    pyramid: tuple[int, ...] = ()
    """Channels to which the decoder brings the four maps, shallow to deep, after resizing them to
    strides 4, 8, 16 and 32 (`pyramid_neck`); empty where the backbone gives such maps itself."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four maps behind the backbone, of one scale or both, shallow to deep."""
        scales = 2 if self.multi_scale == "cat" else 1
        return tuple(scales * width for width in self.backbone.widths)

    @property
    def decoder_channels(self) -> tuple[int, ...]:
        """Channels of the four maps inside the decoder, at strides 4, 8, 16 and 32."""
        return self.pyramid or self.channels

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        backbone = {"name": self.backbone.name, **asdict(self)["backbone"]}
        return {**_listed(asdict(self)), "backbone": _listed(backbone)}

    def settings(self) -> dict[str, str]:
        """Upstream's settings, by its names, that differ from the released models'."""
        values = {
            "mul_scl_ipt": ("cat", self.multi_scale or "none or add"),
            "cxt_num": ("3", str(self.context)),
            "squeeze_block": ("BasicDecBlk", " ".join(self.squeeze) or "none"),
            "dec_blk": ("BasicDecBlk", self.decoder_block),
            "dec_att": ("ASPPDeformable", self.attention),
            "dec_ipt": ("on", "on" if self.patch_width else "off"),
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
            ArchitectureError: the tensors show something other than a BiRefNet of upstream's; the
                message names the tensor that was looked for.
        """
        refuse_other_variants(shapes)
        backbone = read_backbone(shapes)
        # The first map that the decoder sees has the channels of one scale, or of two.
        pyramid = _pyramid(shapes)
        reader = "pyramid_neck_x1" if pyramid else "lateral_block2"
        first = shape_of(shapes, f"decoder.{reader}.conv.weight", 4)[1]
        scales = None if first == backbone.widths[0] else "cat"
        arch = cls(backbone, multi_scale=scales, pyramid=pyramid)
        return replace(arch, **_decoder_settings(shapes, arch.channels))


def _listed(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in record.items()
    }


def _pyramid(shapes: Shapes) -> tuple[int, ...]:
    """Channels behind the necks of a pyramid, if there is one."""
    necks = [f"decoder.pyramid_neck_x{i}.conv.weight" for i in (1, 2, 3, 4)]
    if not any(neck in shapes for neck in necks):
        return ()
    return tuple(shape_of(shapes, neck, 4)[0] for neck in necks)


def _decoder_settings(shapes: Shapes, channels: tuple[int, ...]) -> dict[str, Any]:
    """The fields of the squeeze blocks and of the decoder."""
    count = len({match[1] for name in shapes if (match := _SQUEEZE.match(name))})
    squeeze = tuple(_kind(shapes, f"squeeze_module.{i}.") for i in range(count))
    attention = _kind(shapes, "decoder.decoder_block4.dec_att.")
    if "none" in squeeze or attention in ("BasicDecBlk", "ResBlk"):
        raise ArchitectureError("its squeeze_module or its dec_att is none of upstream's")
    kernels = {
        int(match[1]): shape_of(shapes, name, 4)[-1]
        for name in shapes
        if (match := _DEFORMABLE.search(name))
    }
    pooled = [name for name in shapes if name.endswith("global_avg_pool.1.weight")]
    branch = "decoder.ipt_blk5.conv1.weight"
    image = shape_of(shapes, branch, 4)[:2] if branch in shapes else (0, 0)
    gradient = "decoder.gdt_convs_4.0.weight"
    return {
        "decoder_width": shape_of(shapes, "decoder.decoder_block4.conv_in.weight", 4)[0],
        "aspp_width": shape_of(shapes, pooled[0], 4)[0] if pooled else 0,
        "aspp_kernels": tuple(kernels[branch] for branch in sorted(kernels)),
        "patch_width": image[0],
        "gradient_width": shape_of(shapes, gradient, 4)[0] if gradient in shapes else 0,
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
    total = shape_of(shapes, name, 4)[1]
    for count in range(4):
        if total == channels[3] + sum(channels[3 - count : 3]):
            return count
    raise ArchitectureError(f"tensor {name} reads {total} channels, no context ('cxt_num') fits")
