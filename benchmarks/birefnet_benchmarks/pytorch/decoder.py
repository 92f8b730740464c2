"""The decoder of BiRefNet (arXiv 2401.03407) in PyTorch, with upstream's state-dict names.

Deep to shallow, each of four blocks refines a map, with deformable ASPP in the released models; the
image's patches enter every block (inward reference), predicted gradients weigh what leaves it
(outward reference). Which kinds of block there are, and what is optional, `Architecture` says.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.decoder import PATCH_GRIDS, STRIDES
from torch import Tensor, nn

from .deform_conv import deform_conv2d


def resize_as(x: Tensor, reference: Tensor) -> Tensor:
    """Bilinear with aligned corners, as every resize in BiRefNet, to `reference`'s size."""
    return F.interpolate(x, size=reference.shape[2:], mode="bilinear", align_corners=True)


def image_patches(image: Tensor, grid: int) -> Tensor:
    """Cut `image` into `grid` x `grid` patches and stack them on the channel axis.

    (batch, 3, height, width) to (batch, 3 * grid², height / grid, width / grid), channels ordered
    color, row, column.
    """
    batch, colors, height, width = image.shape
    x = image.reshape(batch, colors, grid, height // grid, grid, width // grid)
    return x.transpose(3, 4).flatten(1, 3)


def batch_norm(arch: Architecture, channels: int) -> nn.Module:
    """BatchNorm, or nothing where the network was trained without."""
    return nn.BatchNorm2d(channels) if arch.batch_norm else nn.Identity()


class DeformableConv(nn.Module):
    """A deformable convolution that predicts its own offsets and modulation."""

    def __init__(self, width: int, out: int, kernel: int) -> None:
        super().__init__()
        self.padding = kernel // 2
        taps = kernel * kernel
        self.offset_conv = nn.Conv2d(width, 2 * taps, kernel, padding=self.padding)
        self.modulator_conv = nn.Conv2d(width, taps, kernel, padding=self.padding)
        self.regular_conv = nn.Conv2d(width, out, kernel, padding=self.padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mask = 2.0 * self.modulator_conv(x).sigmoid()
        weight = self.regular_conv.weight
        return deform_conv2d(x, weight, self.offset_conv(x), mask, padding=self.padding)


class DeformableBranch(nn.Module):
    """One branch of the deformable ASPP: deformable convolution, BatchNorm, ReLU."""

    def __init__(self, arch: Architecture, width: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv(width, arch.aspp_width, kernel)
        self.bn = batch_norm(arch, arch.aspp_width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class DilatedBranch(nn.Module):
    """One branch of the plain ASPP: dilated convolution, BatchNorm, ReLU."""

    def __init__(self, arch: Architecture, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.atrous_conv = nn.Conv2d(
            width, arch.aspp_width, kernel,
            padding=dilation * (kernel // 2), dilation=dilation, bias=False,
        )  # fmt: skip
        self.bn = batch_norm(arch, arch.aspp_width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class ASPP(nn.Module):
    """Convolutions of several reaches and a global mean, side by side, then merged."""

    def __init__(self, arch: Architecture, width: int, out: int, branches: int) -> None:
        super().__init__()
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, arch.aspp_width, 1, bias=False),
            batch_norm(arch, arch.aspp_width),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d((branches + 1) * arch.aspp_width, out, 1, bias=False)
        self.bn1 = batch_norm(arch, out)

    def branches(self) -> list[DeformableBranch | DilatedBranch]:
        """The convolutions side by side, in the order in which they are concatenated."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        local = [branch(x) for branch in self.branches()]
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        return F.relu(self.bn1(self.conv1(torch.cat([*local, mean], 1))))


class DeformableASPP(ASPP):
    """ASPP of deformable convolutions of several sizes (upstream's ASPPDeformable)."""

    def __init__(self, arch: Architecture, width: int, out: int) -> None:
        super().__init__(arch, width, out, branches=1 + len(arch.aspp_kernels))
        self.aspp1 = DeformableBranch(arch, width, 1)
        self.aspp_deforms = nn.ModuleList(
            DeformableBranch(arch, width, kernel) for kernel in arch.aspp_kernels
        )

    def branches(self) -> list[DeformableBranch | DilatedBranch]:
        return [self.aspp1, *(cast(DeformableBranch, branch) for branch in self.aspp_deforms)]


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


class DecoderBlock(nn.Module):
    """3 x 3 in, an ASPP if there is one, 3 x 3 out, all at one scale (upstream's BasicDecBlk)."""

    def __init__(self, arch: Architecture, channels: int, out: int) -> None:
        super().__init__()
        width = arch.decoder_width
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.bn_in = batch_norm(arch, width)
        if arch.attention == "none":
            self.dec_att: nn.Module = nn.Identity()
        else:
            self.dec_att = BLOCKS[arch.attention](arch, width, width)
        self.conv_out = nn.Conv2d(width, out, 3, padding=1)
        self.bn_out = batch_norm(arch, out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn_in(self.conv_in(x)))
        out: Tensor = self.bn_out(self.conv_out(self.dec_att(x)))
        return out


class ResidualBlock(DecoderBlock):
    """A decoder block with a 1 x 1 convolution around it (upstream's ResBlk)."""

    def __init__(self, arch: Architecture, channels: int, out: int) -> None:
        super().__init__(arch, channels, out)
        self.conv_resi = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) + self.conv_resi(x)
        return out


BLOCKS = {
    "BasicDecBlk": DecoderBlock,
    "ResBlk": ResidualBlock,
    "ASPP": DilatedASPP,
    "ASPPDeformable": DeformableASPP,
}
"""By upstream's names. Each is made from an architecture and its channels, in and out."""


class ImageBranch(nn.Module):
    """Two 3 x 3 convolutions over the image or its patches, nothing between (SimpleConvs)."""

    def __init__(self, channels: int, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, out, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.conv_out(self.conv1(image))
        return out


class Lateral(nn.Module):
    """1 x 1 convolution of a backbone map on its way to the decoder."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Decoder(nn.Module):
    """Four decoder blocks from the squeezed deepest map up to logits at the image's size.

    Upstream numbers blocks, laterals and image branches 4 to 1, deep to shallow; the methods that
    take a `level` look a module up by that number.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.takes_image = arch.patch_width > 0
        self.whole_image = arch.whole_image
        self.attends = arch.gradient_width > 0
        self.strides = arch.backbone.strides
        self.has_pyramid = bool(arch.pyramid)
        for i, (channels, out) in enumerate(zip(arch.channels, arch.pyramid, strict=False), 1):
            self.add_module(f"pyramid_neck_x{i}", Lateral(channels, out))
        features = dict.fromkeys(PATCH_GRIDS, 0)
        if self.takes_image:
            w1, w2, w3, w4 = (channels // 8 for channels in arch.channels)
            features = {5: w4, 4: w4, 3: w3, 2: w2, 1: w1}
            for level, grid in PATCH_GRIDS.items():
                channels = 3 if arch.whole_image else 3 * grid * grid
                self.add_module(
                    f"ipt_blk{level}", ImageBranch(channels, arch.patch_width, features[level])
                )
        c1, c2, c3, c4 = arch.decoder_channels
        for level, channels, out in ((4, c4, c3), (3, c3, c2), (2, c2, c1), (1, c1, c1 // 2)):
            block = BLOCKS[arch.decoder_block](arch, channels + features[level + 1], out)
            self.add_module(f"decoder_block{level}", block)
        self.head_channels = (c1 // 2, features[1])
        self.conv_out1 = nn.Sequential(nn.Conv2d(sum(self.head_channels), 1, 1))
        for level, channels in ((4, c3), (3, c2), (2, c1)):
            self.add_module(f"lateral_block{level}", Lateral(channels, channels))
            if self.attends:
                gradient = nn.Sequential(
                    nn.Conv2d(channels, arch.gradient_width, 3, padding=1),
                    batch_norm(arch, arch.gradient_width),
                    nn.ReLU(),
                )
                self.add_module(f"gdt_convs_{level}", gradient)
                attention = nn.Sequential(nn.Conv2d(arch.gradient_width, 1, 1))
                self.add_module(f"gdt_convs_attn_{level}", attention)

    def block(self, level: int) -> DecoderBlock:
        return cast(DecoderBlock, self.get_submodule(f"decoder_block{level}"))

    def image_branch(self, level: int) -> ImageBranch:
        return cast(ImageBranch, self.get_submodule(f"ipt_blk{level}"))

    def lateral(self, level: int) -> Lateral:
        return cast(Lateral, self.get_submodule(f"lateral_block{level}"))

    def neck(self, i: int) -> Lateral:
        """The convolution that brings map `i`, 1 to 4 from shallow to deep, to its channels."""
        return cast(Lateral, self.get_submodule(f"pyramid_neck_x{i}"))

    def gradient(self, level: int) -> nn.Sequential:
        """Convolution, BatchNorm and ReLU that predict the gradient's features."""
        return cast(nn.Sequential, self.get_submodule(f"gdt_convs_{level}"))

    def gradient_attention(self, level: int) -> nn.Sequential:
        """The 1 x 1 convolution from those features to the attention's logits."""
        return cast(nn.Sequential, self.get_submodule(f"gdt_convs_attn_{level}"))

    def attend(self, x: Tensor, level: int) -> Tensor:
        """Weigh a block's output by the gradient that it predicts (outward reference)."""
        if not self.attends:
            return x
        attention = self.gradient_attention(level)(self.gradient(level)(x))
        return x * cast(Tensor, attention).sigmoid()

    def with_image(self, x: Tensor, image: Tensor, level: int) -> Tensor:
        """Append the features of the image itself, brought to the map's size (inward reference)."""
        if not self.takes_image:
            return x
        if self.whole_image:
            image = resize_as(image, x)
        else:
            image = image_patches(image, PATCH_GRIDS[level])
        return torch.cat((x, self.image_branch(level)(image)), 1)

    def pyramid(self, image: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """The maps at strides 4, 8, 16 and 32: as they are, or resized and with other channels."""
        if not self.has_pyramid:
            return maps
        necks = []
        for i, (stride, x) in enumerate(zip(STRIDES, maps, strict=True), 1):
            size = (image.shape[2] // stride, image.shape[3] // stride)
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
            necks.append(self.neck(i)(x))
        return necks

    def stages(self, image: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """Outputs of blocks 4 to 1, at strides 32, 16, 8 and 4.

        Args:
            image: (batch, 3, height, width), the network's input.
            maps: four maps, shallow to deep, the last one squeezed; at strides 4, 8, 16, 32,
                unless there is a pyramid.
        """
        *skips, x = self.pyramid(image, maps)
        outputs = [self.block(4)(self.with_image(x, image, 5))]
        for level in (4, 3, 2):
            skip = skips.pop()
            x = resize_as(self.attend(outputs[-1], level), skip) + self.lateral(level)(skip)
            outputs.append(self.block(level - 1)(self.with_image(x, image, level)))
        return outputs

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """Logits (batch, 1, height, width); arguments as of `stages`."""
        finest = resize_as(self.stages(image, maps)[-1], image)
        return cast(Tensor, self.conv_out1(self.with_image(finest, image, 1)))
