"""The network that is trained: the benchmarks' BiRefNet, with side heads and faster forms.

The weights and their names are those that `birefnet_export` describes; what differs is only how the
same sums are carried out in training, and the heads for deep supervision.
"""

import torch
import torch.nn.functional as F
from birefnet_benchmarks.pytorch.birefnet import BiRefNet
from birefnet_benchmarks.pytorch.decoder import Decoder, DeformableConv, resize_as
from birefnet_export.graph.signature import MEAN, STD
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.swin_v1 import SwinV1
from fused_deform import deform
from torch import Tensor, nn

ARCHITECTURE = Architecture(
    SwinV1(embed_dim=32, depths=(2, 2, 2, 1), num_heads=(1, 2, 4, 8), window=4, mlp_hidden=64),
    decoder_width=16,
    aspp_width=12,
    aspp_kernels=(1, 3, 7),
    patch_width=2,
    gradient_width=8,
)


def merged_deformable(layer: DeformableConv, x: Tensor) -> Tensor:
    """A deformable convolution with its offset and modulator convolutions run as one."""
    offset, modulator = layer.offset_conv, layer.modulator_conv
    weight = torch.cat((offset.weight, modulator.weight))
    assert offset.bias is not None
    assert modulator.bias is not None
    both = F.conv2d(x, weight, torch.cat((offset.bias, modulator.bias)), padding=layer.padding)
    shift, scale = both[:, : offset.out_channels], both[:, offset.out_channels :]
    mask = 2.0 * scale.sigmoid()
    return deform(x, layer.regular_conv.weight, shift, mask)


def stages_and_logits(decoder: Decoder, image: Tensor, maps: list[Tensor]) -> list[Tensor]:
    """The decoder, with its last 1 x 1 convolution below the upsampling; logits come last."""
    *stages, finest = decoder.stages(image, maps)
    last = decoder.get_submodule("conv_out1.0")
    assert isinstance(last, nn.Conv2d)
    below, patches = torch.split(last.weight, list(decoder.head_channels), 1)
    logits = resize_as(F.conv2d(finest, below, last.bias), image)
    logits = logits + F.conv2d(decoder.image_branch(1)(image), patches)
    return [*stages, logits]


class TrainingNet(nn.Module):
    """BiRefNet and three side heads, one for each of the deeper decoder blocks."""

    def __init__(self, arch: Architecture = ARCHITECTURE) -> None:
        super().__init__()
        self.net = BiRefNet(arch)
        widths = (arch.channels[2], arch.channels[1], arch.channels[0])
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        for name, module in self.net.named_modules():
            initialize(name, module)
            if isinstance(module, DeformableConv):
                module.forward = merged_deformable.__get__(module)  # type: ignore[method-assign]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits at strides 32, 16, 8 (side heads) and 1, of a normalized image."""
        *stages, logits = stages_and_logits(self.net.decoder, image, self.net.encode(image))
        return [*(head(x) for head, x in zip(self.heads, stages, strict=True)), logits]


def initialize(name: str, module: nn.Module) -> None:
    """Offsets start at zero, modulation at one, and no branch starts louder than another.

    The fan is the incoming one: with the outgoing one, a convolution from thousands of channels to
    six (image patches) drowns the features beside it, and learns slowly.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.04)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        gain = 0.25 if "lateral" in name else 1.0  # the deeper map is to be heard beside it
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        module.weight.data.mul_(gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if name.endswith(("offset_conv", "modulator_conv")) and isinstance(module, nn.Conv2d):
        nn.init.zeros_(module.weight)


def normalized(images: Tensor) -> Tensor:
    """uint8 (batch, height, width, 3) RGB to the network's float32 (batch, 3, height, width)."""
    x = images.permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
