"""The whole network, fused, from `input_image` to `output_image`."""

from __future__ import annotations

from ...network.birefnet import BiRefNet
from ..builder import Graph, Value
from ..layers import concat, resize, spatial
from ..lowering import Lowering
from .backbone import backbone
from .decoder import Part, decoder, squeeze
from .windows import layout


def build(g: Graph, image: Value, net: BiRefNet, lower: Lowering) -> Value:
    """Append the network to `g`: image (batch, 3, height, width) to logits, one channel."""
    size = spatial(g, image)
    sizes = [size // stride for stride in (4, 8, 16, 32)]
    maps = backbone_maps(g, image, net, sizes)
    arch = net.arch
    with g.scope("squeeze"):
        context = [resize(g, x, sizes[3]) for x in maps[3 - arch.context : 3]]
        channels = arch.channels[3 - arch.context :]
        parts = [Part(*x) for x in zip([*context, maps[3]], channels, strict=True)]
        squeezed = squeeze(g, parts, net.squeeze_module, lower)
        if arch.squeeze:
            g.mark("squeeze", squeezed)
    with g.scope("decoder"):
        return decoder(g, image, [*maps[:3], squeezed], net.decoder, lower)


def backbone_maps(g: Graph, image: Value, net: BiRefNet, sizes: list[Value]) -> list[Value]:
    """Four maps of these `sizes`, of one scale of the image or both."""
    multi_scale = net.arch.with_multi_scale(None).multi_scale  # known, that is
    both = multi_scale != "none"
    if both:
        half = resize(g, image, spatial(g, image) // 2)
        # Map i of the half scale has the size of map i + 1 of the full one; the last halves
        # rounded up.
        sizes = [*sizes, (sizes[3] + 1) // 2]
    layouts = []
    for i, map_size in enumerate(sizes):
        with g.scope(f"windows{i}"):
            layouts.append(layout(g, map_size, net.arch.window))
    with g.scope("full"):
        full_maps = backbone(g, image, net.bb, layouts[:4], quartered=2)
    scales = {"full": full_maps}
    if both:
        with g.scope("half"):
            scales["half"] = backbone(g, half, net.bb, layouts[1:])
    for scale, maps in scales.items():
        for i, x in enumerate(maps):
            g.mark(f"backbone.{scale}.stage{i}", x)
    if not both:
        return full_maps
    pairs = [
        (full, resize(g, small, map_size))
        for full, small, map_size in zip(full_maps, scales["half"], sizes[:4], strict=True)
    ]
    if multi_scale == "add":
        return [full + small for full, small in pairs]
    return [concat(g, pair, 1) for pair in pairs]
