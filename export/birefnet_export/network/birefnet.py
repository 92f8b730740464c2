"""BiRefNet (arXiv 2401.03407) as its layers, with upstream's state-dict names."""

from __future__ import annotations

from . import nn
from .architecture import Architecture
from .decoder import ASPP, BLOCKS, Decoder, DecoderBlock


class BiRefNet(nn.Layer):
    """The layers of inference: `shapes()` are those of a checkpoint, `bind` gives them values.

    The heads that serve training alone (`conv_ms_spvn_*`, `gdt_convs_pred_*`) are not here.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.bb = arch.backbone.module()
        deepest = arch.channels[-1]
        read = deepest + sum(arch.channels[3 - arch.context : 3])
        self.squeeze_module: nn.Sequential[DecoderBlock | ASPP] = nn.Sequential()
        for kind in arch.squeeze:
            self.squeeze_module.append(BLOCKS[kind](arch, read, deepest))
            read = deepest
        self.decoder = Decoder(arch)
