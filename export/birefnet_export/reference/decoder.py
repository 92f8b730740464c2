"""The decoder of BiRefNet (arXiv 2401.03407): from four maps and the image to logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..network.decoder import (
    ASPP,
    PATCH_GRIDS,
    STRIDES,
    Decoder,
    DecoderBlock,
    DeformableBranch,
    DilatedBranch,
    ResidualBlock,
)
from .deform_conv import deform_conv
from .layers import Array, batch_norm, conv, relu, resize, resize_as, sigmoid, values

Observer = Callable[[str, Array], None]
"""Called with the name of a point in the network and the map there, channels last."""


def decoder(image: Array, maps: list[Array], net: Decoder, observe: Observer) -> Array:
    """Logits (batch, height, width, 1), from the deepest map up to the size of the image.

    Args:
        image: (batch, height, width, 3), normalized.
        maps: four maps, shallow to deep, the last one squeezed; at strides 4, 8, 16, 32, unless
            there is a pyramid.
        observe: called with each block's map and each lateral's.
    """
    *skips, x = pyramid(image, maps, net)
    x = with_image(x, image, net, 5)
    for level in (4, 3, 2, 1):
        x = block(x, net.block(level))
        observe(f"decoder.block{level}", x)
        if level == 1:
            x = resize_as(x, image)
        else:
            lateral = conv(skips.pop(), net.lateral(level).conv)
            observe(f"decoder.lateral{level}", lateral)
            x = resize_as(weighed(x, net, level), lateral) + lateral
        x = with_image(x, image, net, level)
    return conv(x, net.conv_out1[0])


def pyramid(image: Array, maps: list[Array], net: Decoder) -> list[Array]:
    """The maps at strides 4, 8, 16 and 32: as they are, or resized and with other channels."""
    if not net.has_pyramid:
        return maps
    sizes = [(image.shape[1] // stride, image.shape[2] // stride) for stride in STRIDES]
    resized = [resize(x, size) for x, size in zip(maps, sizes, strict=True)]
    return [conv(x, net.neck(i).conv) for i, x in enumerate(resized, 1)]


def weighed(x: Array, net: Decoder, level: int) -> Array:
    """A block's map weighed by the gradient that it predicts (outward reference)."""
    if not net.attends:
        return x
    predict = net.gradient(level)
    gradient = relu(batch_norm(conv(x, predict.conv), predict.norm))
    return x * sigmoid(conv(gradient, net.gradient_attention(level)))


def with_image(x: Array, image: Array, net: Decoder, level: int) -> Array:
    """A map and behind it the image's own features, brought to its size (inward reference)."""
    if not net.takes_image:
        return x
    branch = net.image_branch(level)
    near = resize_as(image, x) if net.whole_image else patches(image, PATCH_GRIDS[level])
    return np.concatenate((x, conv(conv(near, branch.conv1), branch.conv_out)), -1)


def patches(image: Array, grid: int) -> Array:
    """Cut an image into `grid` x `grid` patches and stack them on the channels.

    (batch, height, width, 3) to (batch, height / grid, width / grid, 3 * grid²), channels ordered
    color, row, column.
    """
    batch, height, width, colors = image.shape
    x = image.reshape(batch, grid, height // grid, grid, width // grid, colors)
    return x.transpose(0, 2, 4, 5, 1, 3).reshape(batch, height // grid, width // grid, -1)


def block(x: Array, layer: DecoderBlock | ASPP) -> Array:
    """A block of the decoder, or one that squeezes: by upstream's name BasicDecBlk, ResBlk, ASPP or
    ASPPDeformable."""
    if isinstance(layer, ASPP):
        return aspp(x, layer)
    inner = relu(batch_norm(conv(x, layer.conv_in), layer.bn_in))
    if isinstance(layer.dec_att, ASPP):
        inner = aspp(inner, layer.dec_att)
    y = batch_norm(conv(inner, layer.conv_out), layer.bn_out)
    return y + conv(x, layer.conv_resi) if isinstance(layer, ResidualBlock) else y


def aspp(x: Array, layer: ASPP) -> Array:
    """Convolutions of several reaches and the map's mean, side by side, then merged."""
    pool = layer.global_avg_pool
    mean = relu(batch_norm(conv(x.mean((1, 2), keepdims=True), pool.conv), pool.norm))
    mean = np.broadcast_to(mean, (*x.shape[:3], mean.shape[-1]))
    local = [branch(x, each) for each in layer.branches()]
    return relu(batch_norm(conv(np.concatenate((*local, mean), -1), layer.conv1), layer.bn1))


def branch(x: Array, layer: DeformableBranch | DilatedBranch) -> Array:
    """A dilated convolution, or a deformable one, which predicts its own offsets and modulation."""
    if isinstance(layer, DilatedBranch):
        return relu(batch_norm(conv(x, layer.atrous_conv), layer.bn))
    deformable = layer.atrous_conv
    offset = conv(x, deformable.offset_conv)
    modulation = 2 * sigmoid(conv(x, deformable.modulator_conv))
    y = deform_conv(x, values(deformable.regular_conv.weight), offset, modulation)
    return relu(batch_norm(y, layer.bn))
