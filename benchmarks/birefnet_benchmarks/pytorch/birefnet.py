"""BiRefNet (arXiv 2401.03407) for inference, in plain PyTorch, with upstream's state-dict names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from birefnet_export.checkpoint.read import Checkpoint
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.dino_v3 import DinoV3
from birefnet_export.network.backbone.pvt_v2 import PvtV2
from birefnet_export.network.backbone.swin_v1 import SwinV1
from numpy.typing import NDArray
from torch import Tensor, nn

from .decoder import BLOCKS, Decoder, resize_as
from .dino_v3 import DinoV3Features
from .pvt_v2 import PyramidVisionTransformer
from .swin_v1 import SwinTransformer

BACKBONES: dict[type, Callable[[Any], nn.Module]] = {
    SwinV1: SwinTransformer,
    PvtV2: PyramidVisionTransformer,
    DinoV3: DinoV3Features,
}
"""By the type of their record.

Each takes an image, float (batch, 3, height, width), sides multiples of 16, and gives four maps,
shallow to deep: (batch, ``widths[i]``, height / ``strides[i]``, width / ``strides[i]``), sides
rounded up.
"""


class BiRefNet(nn.Module):
    """A normalized image in, one map of logits out.

    The heads that serve training alone (`conv_ms_spvn_*`, `gdt_convs_pred_*`) are not here.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.bb = BACKBONES[type(arch.backbone)](arch.backbone)
        deepest = arch.channels[-1]
        read = deepest + sum(arch.channels[3 - arch.context : 3])
        self.squeeze_module = nn.Sequential()
        for kind in arch.squeeze:
            self.squeeze_module.append(BLOCKS[kind](arch, read, deepest))
            read = deepest
        self.decoder = Decoder(arch)

    def backbone_maps(self, image: Tensor) -> list[Tensor]:
        """Four maps, shallow to deep, of one scale of the image or both."""
        multi_scale = self.arch.with_multi_scale(None).multi_scale  # known, that is
        full_maps: list[Tensor] = self.bb(image)
        if multi_scale == "none":
            return full_maps
        half = F.interpolate(
            image,
            size=(image.shape[2] // 2, image.shape[3] // 2),
            mode="bilinear",
            align_corners=True,
        )
        pairs = [
            (full, resize_as(small, full))
            for full, small in zip(full_maps, self.bb(half), strict=True)
        ]
        if multi_scale == "add":
            return [full + small for full, small in pairs]
        return [torch.cat(pair, 1) for pair in pairs]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Backbone maps with the deepest one given its context and squeezed."""
        *shallow, deepest = self.backbone_maps(image)
        context = [resize_as(x, deepest) for x in shallow[3 - self.arch.context :]]
        return [*shallow, self.squeeze_module(torch.cat((*context, deepest), 1))]

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float (batch, 1, height, width), of `image`, float (batch, 3, height, width).

        The image is RGB, normalized with ImageNet's mean and deviation; its sides are multiples
        of 32. The sigmoid of the logits is the alpha.
        """
        out: Tensor = self.decoder(image, self.encode(image))
        return out


def module_of(arch: Architecture, read: Callable[[str], NDArray[Any]]) -> BiRefNet:
    """The network in evaluation mode, in float32.

    Args:
        arch: its architecture.
        read: from the name of a tensor to its values.
    """
    with torch.device("meta"):  # no time spent on random weights
        net = BiRefNet(arch)
    values = {
        name: torch.zeros((), dtype=torch.long)
        if name.endswith("num_batches_tracked")
        else torch.from_numpy(np.array(read(name), np.float32))
        for name in net.state_dict()
    }
    net.load_state_dict(values, assign=True)
    return net.eval().requires_grad_(False)


def load(checkpoint: Checkpoint) -> BiRefNet:
    """The network of a checkpoint, in evaluation mode, in float32."""
    return module_of(checkpoint.arch, checkpoint.read)
