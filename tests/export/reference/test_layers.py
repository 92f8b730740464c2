"""Each layer of the reference against its formula, written out, or against known values."""

import itertools
import math

import numpy as np
import pytest
from birefnet_export.network import nn
from birefnet_export.reference import layers
from birefnet_export.reference.erf import erf

from ..conftest import with_values


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def close(found, expected, tolerance=1e-12):
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def convolved(x, layer):
    """A convolution by its definition: a loop over results, taps and channels."""
    (rows, columns), (stride, _) = layer.kernel_size, layer.stride
    padding, dilation = layer.padding[0], layer.dilation[0]
    weight = np.asarray(layer.weight, np.float64)
    batch, height, width, _ = x.shape
    tall = (height + 2 * padding - dilation * (rows - 1) - 1) // stride + 1
    wide = (width + 2 * padding - dilation * (columns - 1) - 1) // stride + 1
    per_group = weight.shape[1]
    outs = layer.out_channels // layer.groups
    result = np.zeros((batch, tall, wide, layer.out_channels))
    for b, i, j, o in np.ndindex(result.shape):
        for row, column, c in np.ndindex(rows, columns, per_group):
            y = i * stride - padding + row * dilation
            at = j * stride - padding + column * dilation
            if 0 <= y < height and 0 <= at < width:
                value = x[b, y, at, o // outs * per_group + c]
                result[b, i, j, o] += value * weight[o, c, row, column]
    return result + (layer.bias if layer.has_bias else 0)


@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1, "bias": False},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 7, "padding": 3},
        {"kernel_size": 3, "padding": 6, "dilation": 6, "bias": False},
    ],
)
def test_a_convolution_is_its_definition(options, size, rng):
    layer = with_values(nn.Conv2d(2, 3, **options))
    x = rng.standard_normal((2, *size, 2))

    close(layers.conv(x, layer), convolved(x, layer))


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
@pytest.mark.parametrize(
    ("side", "stride", "padding"), [(4, 4, 0), (7, 4, 3), (3, 2, 1), (2, 2, 0)]
)
def test_a_strided_convolution_is_its_definition(side, stride, padding, size, rng):
    """Sides that are no multiple of the stride lose their last rows."""
    layer = with_values(nn.Conv2d(2, 3, side, stride=stride, padding=padding))
    x = rng.standard_normal((2, *size, 2))

    close(layers.conv(x, layer), convolved(x, layer))


def test_a_depthwise_convolution_is_its_definition(rng):
    layer = with_values(nn.Conv2d(3, 3, 3, padding=1, groups=3))
    x = rng.standard_normal((2, 4, 5, 3))

    close(layers.depthwise_conv(x, layer), convolved(x, layer))


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_multiplies_by_the_transposed_weight(bias, rng):
    layer = with_values(nn.Linear(3, 2, bias))
    x = rng.standard_normal((2, 4, 5, 3))

    expected = np.einsum("bhwi,oi->bhwo", x, layer.weight) + (layer.bias if bias else 0)
    close(layers.linear(x, layer), expected)


def test_batch_norm_uses_the_running_statistics(rng):
    layer = with_values(nn.BatchNorm2d(3))
    x = rng.standard_normal((2, 4, 5, 3))

    for c in range(3):
        deviation = math.sqrt(float(layer.running_var[c]) + 1e-5)
        of_channel = (x[..., c] - layer.running_mean[c]) / deviation
        expected = of_channel * layer.weight[c] + layer.bias[c]
        close(layers.batch_norm(x, layer)[..., c], expected)
    assert layers.batch_norm(x, nn.Identity()) is x


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_layer_norm_uses_those_of_each_position(epsilon, rng):
    layer = with_values(nn.LayerNorm(6, epsilon))
    x = rng.standard_normal((2, 3, 6))

    found = layers.layer_norm(x, layer)

    for b, i in np.ndindex(2, 3):
        row = x[b, i]
        normed = (row - row.mean()) / math.sqrt(row.var() + epsilon)
        close(found[b, i], normed * layer.weight + layer.bias)


def test_activations_are_their_formulas():
    x = np.linspace(-8, 8, 33)

    close(layers.relu(x), [max(v, 0) for v in x])
    close(layers.sigmoid(x), [1 / (1 + math.exp(-v)) for v in x])
    close(layers.silu(x), [v / (1 + math.exp(-v)) for v in x])
    close(layers.gelu(x), [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x], 4e-14)


def test_erf_is_that_of_the_standard_library(rng):
    """Between nodes, at nodes, at pieces' ends, and where it is one or zero."""
    x = np.concatenate((rng.uniform(-7, 7, 20_000), [0, -0.0, 1e-300, 6, -6, 40, -np.inf, np.inf]))

    assert max(abs(a - math.erf(b)) for a, b in zip(erf(x), x, strict=True)) < 4e-15
    assert erf(np.zeros((2, 0, 3))).shape == (2, 0, 3)


def test_softmax_neither_overflows_nor_loses_the_small(rng):
    x = np.array([[1000.0, 999.0, -1000.0], [0, 0, 0]])

    found = layers.softmax(x)

    close(found[0], [1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0])
    close(found[1], [1 / 3] * 3)


def test_attention_is_softmax_of_scaled_products(rng):
    q, k, v = rng.standard_normal((3, 2, 3, 5, 4))
    bias = rng.standard_normal((3, 5, 5))

    found = layers.attention(q, k, v, bias)

    assert found.shape == (2, 5, 3 * 4)
    for b, head, token in itertools.product(range(2), range(3), range(5)):
        scores = np.array([q[b, head, token] @ key / 2 for key in k[b, head]])
        shares = np.exp(scores + bias[head, token])
        expected = shares / shares.sum() @ v[b, head]
        close(found[b, token, 4 * head : 4 * head + 4], expected)


def test_heads_are_side_by_side(rng):
    x = rng.standard_normal((2, 3, 5, 8))

    found = layers.by_head(x, 2)

    assert found.shape == (2, 2, 15, 4)
    close(found[1, 1, 7], x[1, 1, 2, 4:])


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (9, 5), (2, 17), (3, 6)])
def test_a_resize_has_aligned_corners(size, rng):
    x = rng.standard_normal((2, 4, 6, 3))

    found = layers.resize(x, size)

    assert found.shape == (2, *size, 3)
    for i, j in np.ndindex(size):
        y, at = ((p * (s - 1) / (t - 1) if t > 1 else 0.0)
                 for p, s, t in zip((i, j), (4, 6), size, strict=True))  # fmt: skip
        rows, columns = (np.maximum(0, 1 - abs(p - np.arange(n))) for p, n in ((y, 4), (at, 6)))
        close(found[:, i, j], np.einsum("bhwc,h,w->bc", x, rows, columns))


def test_a_map_of_one_pixel_fills_any_size():
    x = np.full((1, 1, 1, 2), 3.0)

    close(layers.resize(x, (4, 5)), np.full((1, 4, 5, 2), 3.0))
