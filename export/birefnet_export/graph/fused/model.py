"""The whole network, fused, from `input_image` to `output_image`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...network import nn
from ...network.backbone.dino_v3 import DinoV3Features
from ...network.backbone.pvt_v2 import PyramidVisionTransformer
from ...network.backbone.swin_v1 import SwinTransformer
from ...network.birefnet import BiRefNet
from ..builder import Graph, Value
from ..layers import concat, resize, spatial
from ..lowering import Lowering
from .backbone import dino_v3, pvt_v2, swin_v1
from .decoder import Part, decoder, squeeze

Fused = Callable[[Graph, dict[str, Value], Any], dict[str, list[Value]]]
"""(graph, image by scale: `full` and perhaps `half`, module) to the module's four maps by scale."""
BACKBONES: dict[type[nn.Layer], Fused] = {
    SwinTransformer: swin_v1.maps_of,
    PyramidVisionTransformer: pvt_v2.maps_of,
    DinoV3Features: dino_v3.maps_of,
}


def append_birefnet(g: Graph, image: Value, net: BiRefNet, lowering: Lowering) -> Value:
    """Append the network to `g`: image (batch, 3, height, width) to logits, one channel."""
    maps = backbone_maps(g, image, net)
    arch = net.arch
    with g.scope("squeeze"):
        context = [resize(g, x, spatial(g, maps[3])) for x in maps[3 - arch.context : 3]]
        channels = arch.channels[3 - arch.context :]
        parts = [Part(*x) for x in zip([*context, maps[3]], channels, strict=True)]
        squeezed = squeeze(g, parts, net.squeeze_module, lowering)
        if arch.squeeze:
            g.mark("squeeze", squeezed)
    with g.scope("decoder"):
        return decoder(g, image, [*maps[:3], squeezed], net.decoder, lowering)


def backbone_maps(g: Graph, image: Value, net: BiRefNet) -> list[Value]:
    """The backbone's four maps, of one scale of the image or both."""
    multi_scale = net.arch.with_multi_scale(None).multi_scale  # known, that is
    images = {"full": image}
    if multi_scale != "none":
        images["half"] = resize(g, image, spatial(g, image) // 2)
    scales = BACKBONES[type(net.bb)](g, images, net.bb)
    for scale, maps in scales.items():
        for i, x in enumerate(maps):
            g.mark(f"backbone.{scale}.stage{i}", x)
    if multi_scale == "none":
        return scales["full"]
    pairs = [
        (full, resize(g, small, spatial(g, full)))
        for full, small in zip(scales["full"], scales["half"], strict=True)
    ]
    if multi_scale == "add":
        return [full + small for full, small in pairs]
    return [concat(g, pair, 1) for pair in pairs]
