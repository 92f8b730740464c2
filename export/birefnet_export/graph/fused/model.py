"""The whole network, fused, from `input_image` to `output_image`."""

from __future__ import annotations

from ...network.birefnet import BiRefNet
from ..builder import Graph, Value
from ..kernels import kernel_of, with_norm
from ..layers import concat, resize, spatial
from ..lowering import Lowering
from .backbone import backbone
from .decoder import Part, decoder, decoder_block
from .windows import layout


def build(g: Graph, image: Value, net: BiRefNet, lower: Lowering) -> Value:
    """Append the network to `g`: image (batch, 3, height, width) to logits, one channel."""
    size = spatial(g, image)
    half = resize(g, image, size // 2)

    # Map i of the half scale has the size of map i + 1 of the full one; the last halves rounded up.
    sizes = [size // stride for stride in (4, 8, 16, 32)]
    sizes.append((sizes[-1] + 1) // 2)
    layouts = []
    for i, map_size in enumerate(sizes):
        with g.scope(f"windows{i}"):
            layouts.append(layout(g, map_size, net.arch.window))
    with g.scope("full"):
        full_maps = backbone(g, image, net.bb, layouts[:4], quartered=2)
    with g.scope("half"):
        half_maps = backbone(g, half, net.bb, layouts[1:])

    for scale, scale_maps in (("full", full_maps), ("half", half_maps)):
        for i, x in enumerate(scale_maps):
            g.mark(f"backbone.{scale}.stage{i}", x)

    maps = [
        concat(g, [full, resize(g, small, map_size)], 1)
        for full, small, map_size in zip(full_maps, half_maps, sizes[:4], strict=True)
    ]
    with g.scope("squeeze"):
        block = net.squeeze()
        context = [resize(g, x, sizes[3]) for x in maps[:3]]
        parts = [Part(*x) for x in zip([*context, maps[3]], net.arch.channels, strict=True)]
        out = with_norm(kernel_of(block.conv_out), block.bn_out)
        squeezed = decoder_block(g, parts, block, out, lower)
        g.mark("squeeze", squeezed)
    with g.scope("decoder"):
        return decoder(g, image, [*maps[:3], squeezed], net.decoder, lower)
