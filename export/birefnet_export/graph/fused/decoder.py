"""The decoder, fused: BatchNorm folded, concatenations turned into sums, linear chains composed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ...network.decoder import (
    ASPP,
    PATCH_GRIDS,
    STRIDES,
    Decoder,
    DecoderBlock,
    DeformableBranch,
    DilatedBranch,
    ResidualBlock,
)
from ..builder import Graph, Value
from ..kernels import (
    Kernel,
    kernel_in,
    kernel_of,
    pointwise_after,
    split_inputs,
    stacked,
    with_norm,
)
from ..layers import concat, conv, relu, resize, spatial
from ..lowering import Lowering
from .composed_conv import composed_convs


class Part(NamedTuple):
    """A map that the plain form concatenates with others, and its channels."""

    value: Value
    channels: int
    """In the concatenation, behind `neck`."""
    neck: Kernel | None = None
    """A 1 x 1 convolution that it still has to pass."""


def decoder(g: Graph, image: Value, maps: list[Value], net: Decoder, lowering: Lowering) -> Value:
    """Logits (batch, 1, height, width) from the image and four maps, the last one squeezed."""
    *skips, x = maps
    neck = None
    if net.has_pyramid:
        neck = kernel_of(net.neck(4).conv)
        x = to_stride(g, image, x, net, 4)
    on_features, on_image = split_inputs(kernel_in(net.conv_out1), net.head_channels)
    for level in (4, 3, 2, 1):
        with g.scope(f"block{level}"):
            block = net.block(level)
            features = [image_features(g, image, net, level + 1)] if net.takes_image else []
            own = block.conv_in.in_channels - sum(part.channels for part in features)
            parts = [Part(x, own, neck), *features]
            neck = None
            # The last 1 x 1 convolution commutes with the upsampling, and follows block 1.
            x = decoder_block(g, parts, block, lowering, on_features if level == 1 else None)
            g.mark(f"decoder.block{level}", x)
            if skips:
                skip = lateral(g, image, skips.pop(), net, level)
                g.mark(f"decoder.lateral{level}", skip)
                if net.attends:
                    x = gradient_attention(g, x, net, level)
                x = resize(g, x, spatial(g, skip)) + skip
    with g.scope("full_resolution"):
        if not net.takes_image:
            return resize(g, x, spatial(g, image))
        branch = net.image_branch(1)
        # The last 1 x 1 convolution follows the branch's second one.
        outer = pointwise_after(on_image, kernel_of(branch.conv_out))
        fine = composed_convs(g, image, kernel_of(branch.conv1), outer)
        return resize(g, x, spatial(g, image)) + fine


def lateral(g: Graph, image: Value, x: Value, net: Decoder, level: int) -> Value:
    """A backbone's map on its way to the block below `level`, at that block's size."""
    kernel = kernel_of(net.lateral(level).conv)
    if not net.has_pyramid:
        return conv(g, x, kernel)
    # Of two 1 x 1 convolutions one remains, which commutes with the resizing.
    kernel = pointwise_after(kernel, kernel_of(net.neck(level - 1).conv))
    return to_stride(g, image, conv(g, x, kernel), net, level - 1)


def to_stride(g: Graph, image: Value, x: Value, net: Decoder, i: int) -> Value:
    """Map `i`, 1 to 4 from shallow to deep, at the stride that the decoder has it at."""
    stride = STRIDES[i - 1]
    return x if net.strides[i - 1] == stride else resize(g, x, spatial(g, image) // stride)


def squeeze(
    g: Graph, parts: list[Part], blocks: Iterable[DecoderBlock | ASPP], lowering: Lowering
) -> Value:
    """The deepest map and its context, in `parts`, squeezed by one block after the other."""
    x: Value | None = None
    for block in blocks:
        if isinstance(block, ASPP):
            x = aspp(g, concat(g, [part.value for part in parts], 1), block, lowering)
        else:
            x = decoder_block(g, parts, block, lowering)
        parts = [Part(x, parts[-1].channels)]
    return parts[-1].value


def decoder_block(
    g: Graph, parts: list[Part], block: DecoderBlock, lowering: Lowering, head: Kernel | None = None
) -> Value:
    """A decoder block; a convolution of concatenated `parts` is a sum over them.

    `head` is a 1 x 1 convolution that follows the block.
    """
    x = relu(g, summed_conv(g, parts, with_norm(kernel_of(block.conv_in), block.bn_in)))
    if isinstance(block.dec_att, ASPP):
        x = aspp(g, x, block.dec_att, lowering)
    out = with_norm(kernel_of(block.conv_out), block.bn_out)
    x = conv(g, x, pointwise_after(head, out) if head else out)
    if not isinstance(block, ResidualBlock):
        return x
    around = kernel_of(block.conv_resi)
    if head:
        around = pointwise_after(Kernel(head.weight, 0 * head.bias), around)
    return x + summed_conv(g, parts, around)


def summed_conv(g: Graph, parts: list[Part], kernel: Kernel) -> Value:
    """A convolution of the concatenated `parts`, without concatenating them."""
    first, *others = split_inputs(kernel, [part.channels for part in parts])
    total = conv_of(g, parts[0], first)
    for part, kernel_of_part in zip(parts[1:], others, strict=True):
        total = total + conv_of(g, part, kernel_of_part)
    return total


def conv_of(g: Graph, part: Part, kernel: Kernel) -> Value:
    """A convolution of a part, composed with the part's neck.

    What pads the map is zeros behind the neck, not before it: the neck's bias counts within the map
    alone, and is convolved apart, as a map of ones.
    """
    if part.neck is None:
        return conv(g, part.value, kernel)
    mix = part.neck.weight[:, :, 0, 0]
    weight = np.einsum("omkl,mi->oikl", kernel.weight, mix, optimize=True)
    of_bias = np.einsum("omkl,m->okl", kernel.weight, part.neck.bias)[:, None]
    ones = g.op("Expand", g.constant([[[[1.0]]]]), concat(g, [[1, 1], spatial(g, part.value)], 0))
    within = conv(g, ones, Kernel(of_bias, np.zeros_like(kernel.bias)))
    return conv(g, part.value, Kernel(weight, kernel.bias)) + within


def aspp(g: Graph, x: Value, module: ASPP, lowering: Lowering) -> Value:
    """Each branch meets its own part of the merging 1 x 1 convolution; the results are summed."""
    branches = module.branches()
    of_mean = kernel_in(module.global_avg_pool, 1)
    merge = with_norm(kernel_of(module.conv1), module.bn1)
    *merges, merge_pooled = split_inputs(merge, [len(of_mean.bias)] * (len(branches) + 1))
    # The pooled branch is constant over the map: (batch, width, 1, 1), broadcast by the sum.
    mean = g.op("GlobalAveragePool", x)
    total = conv(g, relu(g, conv(g, mean, of_mean)), merge_pooled)
    for branch, kernel in zip(branches, merges, strict=True):
        if isinstance(branch, DilatedBranch):
            features = dilated_branch(g, x, branch)
        else:
            features = deformable_branch(g, x, branch, lowering)
        total = total + conv(g, features, kernel)
    return relu(g, total)


def dilated_branch(g: Graph, x: Value, branch: DilatedBranch) -> Value:
    """Dilated convolution, BatchNorm and ReLU."""
    kernel = with_norm(kernel_of(branch.atrous_conv), branch.bn)
    return relu(g, conv(g, x, kernel, dilation=branch.atrous_conv.dilation[0]))


def deformable_branch(g: Graph, x: Value, branch: DeformableBranch, lowering: Lowering) -> Value:
    """Deformable convolution, BatchNorm and ReLU; one convolution predicts offsets and mask."""
    module = branch.atrous_conv
    predict = stacked(kernel_of(module.offset_conv), kernel_of(module.modulator_conv))
    # The modulation is 2 * sigmoid. The convolution is linear in it, so the 2 moves into the
    # weight.
    regular = kernel_of(module.regular_conv)
    kernel = with_norm(regular._replace(weight=2.0 * regular.weight), branch.bn)
    return relu(g, lowering.deform_conv(g, x, predict, kernel))


def image_features(g: Graph, image: Value, net: Decoder, level: int) -> Part:
    """What a decoder block reads of the image's own patches, or of the image at the map's size."""
    branch = net.image_branch(level)
    if net.whole_image:
        source = resize(g, image, spatial(g, image) // PATCH_GRIDS[level])
    else:
        source = image_patches(g, image, PATCH_GRIDS[level])
    features = conv(g, conv(g, source, kernel_of(branch.conv1)), kernel_of(branch.conv_out))
    return Part(features, branch.conv_out.out_channels)


def image_patches(g: Graph, image: Value, grid: int) -> Value:
    """`decoder.image_patches` for a symbolic size."""
    shape = g.op("Shape", image)
    batch = g.op("Slice", shape, [0], [1], [0])
    patch = spatial(g, image) // grid
    height, width = g.ops("Split", 2, patch, [1, 1])
    cells = concat(g, [batch, [3, grid], height, [grid], width], 0)
    x = image.reshape(cells).transpose(0, 1, 2, 4, 3, 5)
    return x.reshape(concat(g, [batch, [-1], patch], 0))


def gradient_attention(g: Graph, x: Value, net: Decoder, level: int) -> Value:
    """A block's output weighed by the gradient that it predicts."""
    gradient = relu(g, conv(g, x, kernel_in(net.gradient(level))))
    return x * g.op("Sigmoid", conv(g, gradient, kernel_of(net.gradient_attention(level))))
