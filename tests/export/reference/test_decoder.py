"""The decoder's own steps: patches of the image, the gradient's weight, what an ASPP merges."""

from dataclasses import replace

import numpy as np
from birefnet_export.network import nn
from birefnet_export.reference import decoder, layers

from ..conftest import TINY, TINY_DINO, network

RNG = np.random.default_rng(0)


def test_patches_are_stacked_by_color_row_and_column():
    image = RNG.standard_normal((2, 8, 12, 3))

    found = decoder.patches(image, 4)

    assert found.shape == (2, 2, 3, 3 * 16)
    for color, row, column in np.ndindex(3, 4, 4):
        patch = image[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3, color]
        assert np.array_equal(found[..., 16 * color + 4 * row + column], patch)
    assert np.array_equal(decoder.patches(image, 1), image)


def test_a_map_is_weighed_between_nothing_and_itself(tiny):
    x = RNG.standard_normal((2, 4, 6, tiny.arch.channels[2]))

    weight = decoder.weighed(x, tiny.decoder, 4) / x

    assert (weight.min(), weight.max()) > (0, 0)
    assert weight.max() < 1
    assert np.allclose(weight, weight[..., :1])  # the same for all channels


def test_without_gradient_or_image_a_map_is_left_alone():
    net = network(replace(TINY, gradient_width=0, patch_width=0)).decoder
    x = RNG.standard_normal((1, 2, 3, TINY.channels[2]))

    assert decoder.weighed(x, net, 4) is x
    assert decoder.with_image(x, x, net, 5) is x


def test_an_aspp_merges_its_branches_in_order_and_the_mean_last(tiny):
    layer = tiny.squeeze_module[0].dec_att
    x = RNG.standard_normal((1, 3, 4, 8))

    parts = [decoder.branch(x, each) for each in layer.branches()]
    pool = layer.global_avg_pool
    mean = layers.linear(x.reshape(1, 12, 8).mean(1), as_linear(pool.conv))
    mean = np.maximum(layers.batch_norm(mean, pool.norm), 0)
    joined = np.concatenate((*parts, np.tile(mean[:, None, None], (1, 3, 4, 1))), -1)
    expected = layers.relu(layers.batch_norm(layers.conv(joined, layer.conv1), layer.bn1))

    np.testing.assert_allclose(decoder.aspp(x, layer), expected, atol=1e-12)


def as_linear(conv):
    """A 1 x 1 convolution without a bias as a linear layer."""
    layer = nn.Linear(conv.in_channels, conv.out_channels, bias=False)
    return layer.bind({"weight": conv.weight[:, :, 0, 0]}.__getitem__)


def test_a_pyramid_resizes_before_it_convolves():
    net = network(TINY_DINO).decoder
    image = RNG.standard_normal((1, 96, 64, 3))
    maps = [RNG.standard_normal((1, 6, 4, 64)) for _ in range(4)]

    found = decoder.pyramid(image, maps, net)

    assert [x.shape for x in found] == [
        (1, 24, 16, 16), (1, 12, 8, 32), (1, 6, 4, 64), (1, 3, 2, 128)
    ]  # fmt: skip
    expected = layers.conv(layers.resize(maps[3], (3, 2)), net.neck(4).conv)
    np.testing.assert_allclose(found[3], expected, atol=1e-12)
