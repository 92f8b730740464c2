"""The decoder of BiRefNet (arXiv 2401.03407) as its layers, with upstream's state-dict names.

Deep to shallow, each of four blocks refines a map, with deformable ASPP in the released models; the
image's patches enter every block (inward reference), predicted gradients weigh what leaves it
(outward reference). Which kinds of block there are, and what is optional, `Architecture` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from . import nn
from .architecture import Architecture

STRIDES = (4, 8, 16, 32)
"""Of the four maps that the decoder works on, shallow to deep."""
PATCH_GRIDS = {5: 32, 4: 16, 3: 8, 2: 4, 1: 1}
"""Patches a side that the image is cut into, so that one has the size of the level's map."""


def batch_norm(arch: Architecture, channels: int) -> nn.BatchNorm2d | nn.Identity:
    """BatchNorm, or nothing where the network was trained without."""
    return nn.BatchNorm2d(channels) if arch.batch_norm else nn.Identity()


class ConvNorm(nn.Sequential[nn.Layer]):
    """A convolution, BatchNorm and ReLU by number, perhaps behind something without tensors."""

    def __init__(self, arch: Architecture, conv: nn.Conv2d, *before: nn.Layer) -> None:
        self.conv = conv
        self.norm = batch_norm(arch, conv.out_channels)
        super().__init__((*before, self.conv, self.norm, nn.ReLU()))


class DeformableConv(nn.Layer):
    """A deformable convolution that predicts its own offsets and modulation.

    `offset_conv` gives each tap of the kernel, row by row, its (y, x) in pixels; `modulator_conv`
    gives the logit of half of its modulation.
    """

    def __init__(self, width: int, out: int, kernel: int) -> None:
        taps, padding = kernel * kernel, kernel // 2
        self.offset_conv = nn.Conv2d(width, 2 * taps, kernel, padding=padding)
        self.modulator_conv = nn.Conv2d(width, taps, kernel, padding=padding)
        self.regular_conv = nn.Conv2d(width, out, kernel, padding=padding, bias=False)


class DeformableBranch(nn.Layer):
    """One branch of the deformable ASPP: deformable convolution, BatchNorm, ReLU."""

    def __init__(self, arch: Architecture, width: int, kernel: int) -> None:
        self.atrous_conv = DeformableConv(width, arch.aspp_width, kernel)
        self.bn = batch_norm(arch, arch.aspp_width)


class DilatedBranch(nn.Layer):
    """One branch of the plain ASPP: dilated convolution, BatchNorm, ReLU."""

    def __init__(self, arch: Architecture, width: int, kernel: int, dilation: int) -> None:
        self.atrous_conv = nn.Conv2d(
            width, arch.aspp_width, kernel,
            padding=dilation * (kernel // 2), dilation=dilation, bias=False,
        )  # fmt: skip
        self.bn = batch_norm(arch, arch.aspp_width)


class ASPP(nn.Layer):
    """Convolutions of several reaches and a global mean, side by side, then merged."""

    def __init__(self, arch: Architecture, width: int, out: int, branches: int) -> None:
        pooled = nn.Conv2d(width, arch.aspp_width, 1, bias=False)
        self.global_avg_pool = ConvNorm(arch, pooled, nn.GlobalAveragePool())
        self.conv1 = nn.Conv2d((branches + 1) * arch.aspp_width, out, 1, bias=False)
        self.bn1 = batch_norm(arch, out)

    def branches(self) -> list[DeformableBranch | DilatedBranch]:
        """The convolutions side by side, in the order in which they are concatenated."""
        raise NotImplementedError


class DeformableASPP(ASPP):
    """ASPP of deformable convolutions of several sizes (upstream's ASPPDeformable)."""

    def __init__(self, arch: Architecture, width: int, out: int) -> None:
        super().__init__(arch, width, out, branches=1 + len(arch.aspp_kernels))
        self.aspp1 = DeformableBranch(arch, width, 1)
        self.aspp_deforms = nn.Sequential(
            DeformableBranch(arch, width, kernel) for kernel in arch.aspp_kernels
        )

    def branches(self) -> list[DeformableBranch | DilatedBranch]:
        return [self.aspp1, *self.aspp_deforms]


class DilatedASPP(ASPP):
    """ASPP of a 1 x 1 convolution and 3 x 3 ones, dilated by 6, 12 and 18 (upstream's ASPP)."""

    def __init__(self, arch: Architecture, width: int, out: int) -> None:
        super().__init__(arch, width, out, branches=4)
        self.aspp1 = DilatedBranch(arch, width, 1, 1)
        self.aspp2 = DilatedBranch(arch, width, 3, 6)
        self.aspp3 = DilatedBranch(arch, width, 3, 12)
        self.aspp4 = DilatedBranch(arch, width, 3, 18)

    def branches(self) -> list[DeformableBranch | DilatedBranch]:
        return [self.aspp1, self.aspp2, self.aspp3, self.aspp4]


class DecoderBlock(nn.Layer):
    """3 x 3 in, an ASPP if there is one, 3 x 3 out, all at one scale (upstream's BasicDecBlk)."""

    def __init__(self, arch: Architecture, channels: int, out: int) -> None:
        width = arch.decoder_width
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.bn_in = batch_norm(arch, width)
        self.dec_att: nn.Layer = nn.Identity()
        if arch.attention != "none":
            self.dec_att = BLOCKS[arch.attention](arch, width, width)
        self.conv_out = nn.Conv2d(width, out, 3, padding=1)
        self.bn_out = batch_norm(arch, out)


class ResidualBlock(DecoderBlock):
    """A decoder block with a 1 x 1 convolution around it (upstream's ResBlk)."""

    def __init__(self, arch: Architecture, channels: int, out: int) -> None:
        super().__init__(arch, channels, out)
        self.conv_resi = nn.Conv2d(channels, out, 1)


BLOCKS: dict[str, Callable[[Architecture, int, int], DecoderBlock | ASPP]] = {
    "BasicDecBlk": DecoderBlock,
    "ResBlk": ResidualBlock,
    "ASPP": DilatedASPP,
    "ASPPDeformable": DeformableASPP,
}
"""By upstream's names. Each is made from an architecture and its channels, in and out."""


class ImageBranch(nn.Layer):
    """Two 3 x 3 convolutions over the image or its patches, nothing between (SimpleConvs)."""

    def __init__(self, channels: int, width: int, out: int) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, out, 3, padding=1)


class Lateral(nn.Layer):
    """1 x 1 convolution of a backbone map on its way to the decoder."""

    def __init__(self, channels: int, out: int) -> None:
        self.conv = nn.Conv2d(channels, out, 1)


class Decoder(nn.Layer):
    """Four decoder blocks from the squeezed deepest map up to logits at the image's size.

    Upstream numbers blocks, laterals and image branches 4 to 1, deep to shallow; the methods that
    take a `level` look a layer up by that number.
    """

    def __init__(self, arch: Architecture) -> None:
        self.takes_image = arch.patch_width > 0
        self.whole_image = arch.whole_image
        self.attends = arch.gradient_width > 0
        self.strides = arch.backbone.strides
        self.has_pyramid = bool(arch.pyramid)
        for i, (channels, out) in enumerate(zip(arch.channels, arch.pyramid, strict=False), 1):
            self.add(f"pyramid_neck_x{i}", Lateral(channels, out))
        features = dict.fromkeys(PATCH_GRIDS, 0)
        if self.takes_image:
            w1, w2, w3, w4 = (channels // 8 for channels in arch.channels)
            features = {5: w4, 4: w4, 3: w3, 2: w2, 1: w1}
            for level, grid in PATCH_GRIDS.items():
                colors = 3 if arch.whole_image else 3 * grid * grid
                self.add(f"ipt_blk{level}", ImageBranch(colors, arch.patch_width, features[level]))
        c1, c2, c3, c4 = arch.decoder_channels
        for level, channels, out in ((4, c4, c3), (3, c3, c2), (2, c2, c1), (1, c1, c1 // 2)):
            block = BLOCKS[arch.decoder_block](arch, channels + features[level + 1], out)
            self.add(f"decoder_block{level}", block)
        self.head_channels = (c1 // 2, features[1])
        self.conv_out1 = nn.Sequential((nn.Conv2d(sum(self.head_channels), 1, 1),))
        for level, channels in ((4, c3), (3, c2), (2, c1)):
            self.add(f"lateral_block{level}", Lateral(channels, channels))
            if self.attends:
                width = arch.gradient_width
                predict = nn.Conv2d(channels, width, 3, padding=1)
                self.add(f"gdt_convs_{level}", ConvNorm(arch, predict))
                self.add(f"gdt_convs_attn_{level}", nn.Sequential((nn.Conv2d(width, 1, 1),)))

    def block(self, level: int) -> DecoderBlock:
        return cast(DecoderBlock, self.child(f"decoder_block{level}"))

    def image_branch(self, level: int) -> ImageBranch:
        return cast(ImageBranch, self.child(f"ipt_blk{level}"))

    def lateral(self, level: int) -> Lateral:
        return cast(Lateral, self.child(f"lateral_block{level}"))

    def neck(self, i: int) -> Lateral:
        """The convolution that brings map `i`, 1 to 4 from shallow to deep, to its channels."""
        return cast(Lateral, self.child(f"pyramid_neck_x{i}"))

    def gradient(self, level: int) -> ConvNorm:
        """What predicts the gradient's features."""
        return cast(ConvNorm, self.child(f"gdt_convs_{level}"))

    def gradient_attention(self, level: int) -> nn.Conv2d:
        """The 1 x 1 convolution from those features to the attention's logits."""
        return cast("nn.Sequential[nn.Conv2d]", self.child(f"gdt_convs_attn_{level}"))[0]
