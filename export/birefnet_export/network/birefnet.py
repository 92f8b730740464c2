"""BiRefNet (arXiv 2401.03407) for inference, in plain PyTorch, with upstream's state-dict names."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import Architecture
from .decoder import Decoder, DecoderBlock, resize_as
from .swin import SwinTransformer


class BiRefNet(nn.Module):
    """A normalized image in, one map of logits out.

    The heads that serve training alone (`conv_ms_spvn_*`, `gdt_convs_pred_*`) are not here.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.bb = SwinTransformer(arch)
        deepest = arch.channels[-1]
        self.squeeze_module = nn.Sequential(DecoderBlock(arch, sum(arch.channels), deepest))
        self.decoder = Decoder(arch)

    def squeeze(self) -> DecoderBlock:
        """The block that squeezes the deepest map with its context."""
        return cast(DecoderBlock, self.squeeze_module[0])

    def backbone_maps(self, image: Tensor) -> list[Tensor]:
        """Four maps at strides 4, 8, 16 and 32: both scales of the backbone, concatenated."""
        half = F.interpolate(
            image,
            size=(image.shape[2] // 2, image.shape[3] // 2),
            mode="bilinear",
            align_corners=True,
        )
        full_maps, half_maps = self.bb(image), self.bb(half)
        return [
            torch.cat((full, resize_as(small, full)), 1)
            for full, small in zip(full_maps, half_maps, strict=True)
        ]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Backbone maps with the deepest one given its context and squeezed."""
        *shallow, deepest = self.backbone_maps(image)
        context = [resize_as(x, deepest) for x in shallow]
        return [*shallow, self.squeeze()(torch.cat((*context, deepest), 1))]

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float (batch, 1, height, width), of `image`, float (batch, 3, height, width).

        The image is RGB, normalized with ImageNet's mean and deviation; its sides are multiples
        of 32. The sigmoid of the logits is the alpha.
        """
        out: Tensor = self.decoder(image, self.encode(image))
        return out
