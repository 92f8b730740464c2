"""Algebra on weights, each identity against running the layers one after the other."""

import numpy as np
import pytest
from birefnet_export.graph.kernels import (
    Kernel,
    kernel_in,
    kernel_of,
    pointwise_after,
    split_inputs,
    stacked,
    with_norm,
)
from birefnet_export.network import nn
from birefnet_export.reference import layers


@pytest.fixture
def drawn():
    return np.random.default_rng(0)


def bound(layer, drawn):
    """The layer with values: of variances between 1/2 and 2, of others normally distributed."""
    values = {
        name: drawn.uniform(0.5, 2, shape)
        if name.endswith("running_var")
        else drawn.standard_normal(shape)
        for name, shape in layer.shapes().items()
    }
    return layer.bind(values.__getitem__)


def conv(channels, out, kernel, bias=True):
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=bias)


def run(kernel: Kernel, x):
    out, channels, side, _ = kernel.weight.shape
    layer = conv(channels, out, side)
    return layers.conv(x, layer.bind({"weight": kernel.weight, "bias": kernel.bias}.__getitem__))


def image(channels, drawn):
    return drawn.standard_normal((2, 5, 6, channels))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution_before_it(bias, drawn):
    both = bound(nn.Sequential((conv(3, 4, 3, bias), nn.BatchNorm2d(4))), drawn)
    x = image(3, drawn)

    expected = layers.batch_norm(layers.conv(x, both[0]), both[1])
    close(run(with_norm(kernel_of(both[0]), both[1]), x), expected)
    close(run(kernel_in(both), x), expected)


def test_a_network_without_batch_norm_has_nothing_to_fold(drawn):
    kernel = kernel_of(bound(conv(3, 4, 3), drawn))

    assert with_norm(kernel, nn.Identity()) is kernel


def test_a_pointwise_convolution_joins_the_one_before_it(drawn):
    inner, outer, x = bound(conv(3, 5, 3), drawn), bound(conv(5, 2, 1), drawn), image(3, drawn)

    composed = pointwise_after(kernel_of(outer), kernel_of(inner))

    close(run(composed, x), layers.conv(layers.conv(x, inner), outer))


def test_a_convolution_of_a_concatenation_is_a_sum(drawn):
    layer, parts = bound(conv(7, 4, 3), drawn), [image(3, drawn), image(4, drawn)]

    kernels = split_inputs(kernel_of(layer), [3, 4])

    total = sum(run(kernel, part) for kernel, part in zip(kernels, parts, strict=True))
    close(total, layers.conv(np.concatenate(parts, -1), layer))


def test_two_convolutions_of_one_input_stack(drawn):
    first, second = bound(conv(3, 4, 3), drawn), bound(conv(3, 2, 3, bias=False), drawn)
    x = image(3, drawn)

    found = run(stacked(kernel_of(first), kernel_of(second)), x)

    close(found, np.concatenate((layers.conv(x, first), layers.conv(x, second)), -1))


def test_what_is_no_batch_norm_is_not_folded(drawn):
    with pytest.raises(TypeError, match="LayerNorm"):
        with_norm(kernel_of(bound(conv(3, 4, 1), drawn)), nn.LayerNorm(4))
