"""The decoder, fused: BatchNorm folded, concatenations turned into sums, linear chains composed."""

from __future__ import annotations

from typing import NamedTuple

from ...network.decoder import PATCH_GRIDS, Decoder, DecoderBlock, DeformableASPP, DeformableBranch
from ..builder import Graph, Value
from ..kernels import (
    Kernel,
    affine_of,
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


def decoder(g: Graph, image: Value, maps: list[Value], net: Decoder, lower: Lowering) -> Value:
    """Logits (batch, 1, height, width) from the image and four maps, the last one squeezed."""
    *skips, x = maps
    on_features, on_patches = split_inputs(kernel_in(net.conv_out1), net.head_channels)
    for level in (4, 3, 2, 1):
        with g.scope(f"block{level}"):
            block = net.block(level)
            out = with_norm(kernel_of(block.conv_out), block.bn_out)
            if level == 1:
                # The last 1 x 1 convolution commutes with the upsampling, and follows conv_out.
                out = pointwise_after(on_features, out)
            patches = patch_features(g, image, net, level + 1)
            features = Part(x, block.conv_in.in_channels - patches.channels)
            x = decoder_block(g, [features, patches], block, out, lower)
            g.mark(f"decoder.block{level}", x)
            if skips:
                skip = skips.pop()
                x = resize(g, gradient_attention(g, x, net, level), spatial(g, skip))
                x = x + conv(g, skip, kernel_of(net.lateral(level).conv))
    with g.scope("full_resolution"):
        branch = net.patch_branch(1)
        # The last 1 x 1 convolution follows the branch's second one.
        outer = pointwise_after(on_patches, kernel_of(branch.conv_out))
        fine = composed_convs(g, image, kernel_of(branch.conv1), outer)
        return resize(g, x, spatial(g, image)) + fine


def decoder_block(
    g: Graph, parts: list[Part], block: DecoderBlock, out: Kernel, lower: Lowering
) -> Value:
    """A decoder block; a convolution of concatenated `parts` is a sum over them.

    `out` is `conv_out` with its BatchNorm and whatever linear operation follows.
    """
    conv_in = with_norm(kernel_of(block.conv_in), block.bn_in)
    kernels = split_inputs(conv_in, [part.channels for part in parts])
    total = conv(g, parts[0].value, kernels[0])
    for part, kernel in zip(parts[1:], kernels[1:], strict=True):
        total = total + conv(g, part.value, kernel)
    return conv(g, aspp(g, relu(g, total), block.dec_att, lower), out)


def aspp(g: Graph, x: Value, module: DeformableASPP, lower: Lowering) -> Value:
    """Each branch meets its own part of the merging 1 x 1 convolution; the results are summed."""
    branches = module.branches()
    of_mean = kernel_in(module.global_avg_pool, 1)
    merge = with_norm(kernel_of(module.conv1), module.bn1)
    *merges, merge_pooled = split_inputs(merge, [len(of_mean.bias)] * (len(branches) + 1))
    # The pooled branch is constant over the map: (batch, width, 1, 1), broadcast by the sum.
    mean = g.op("GlobalAveragePool", x)
    total = conv(g, relu(g, conv(g, mean, of_mean)), merge_pooled)
    for branch, kernel in zip(branches, merges, strict=True):
        total = total + conv(g, deformable_branch(g, x, branch, lower), kernel)
    return relu(g, total)


def deformable_branch(g: Graph, x: Value, branch: DeformableBranch, lower: Lowering) -> Value:
    """Deformable convolution, BatchNorm and ReLU; one convolution predicts offsets and mask."""
    module = branch.atrous_conv
    predict = stacked(kernel_of(module.offset_conv), kernel_of(module.modulator_conv))
    # The modulation is 2 * sigmoid. The convolution is linear in it, so the 2 moves into the
    # weight, and BatchNorm's scale with it.
    scale, shift = affine_of(branch.bn)
    weight = 2.0 * kernel_of(module.regular_conv).weight * scale[:, None, None, None]
    return relu(g, lower(g, x, predict, Kernel(weight, shift)))


def patch_features(g: Graph, image: Value, net: Decoder, level: int) -> Part:
    """What a decoder block reads of the image's own patches."""
    branch = net.patch_branch(level)
    patches = image_patches(g, image, PATCH_GRIDS[level])
    features = conv(g, conv(g, patches, kernel_of(branch.conv1)), kernel_of(branch.conv_out))
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
    return x * g.op("Sigmoid", conv(g, gradient, kernel_in(net.gradient_attention(level))))
