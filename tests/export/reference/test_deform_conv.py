"""The deformable convolution against its definition, written out pixel by pixel."""

import numpy as np
import pytest
from birefnet_export.network import nn
from birefnet_export.reference.deform_conv import deform_conv, sampled
from birefnet_export.reference.layers import conv


def pixel(plane: np.ndarray, y: float, x: float) -> float:
    """Bilinear reading of (height, width), zero outside."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += weight_y * weight_x * plane[row, column]
    return total


def by_definition(x, weight, offset, modulation):
    batch, height, width, channels = x.shape
    out, _, rows, columns = weight.shape
    result = np.zeros((batch, height, width, out))
    for b, i, j in np.ndindex(batch, height, width):
        for row, column in np.ndindex(rows, columns):
            tap = row * columns + column
            y = i - rows // 2 + row + offset[b, i, j, 2 * tap]
            at = j - columns // 2 + column + offset[b, i, j, 2 * tap + 1]
            for c in range(channels):
                value = modulation[b, i, j, tap] * pixel(x[b, :, :, c], y, at)
                result[b, i, j] += weight[:, c, row, column] * value
    return result


@pytest.mark.parametrize(
    ("batch", "kernel", "height", "width"),
    [(1, (1, 1), 1, 1), (2, (3, 3), 5, 4), (1, (7, 7), 4, 6), (1, (1, 3), 3, 5)],
)
def test_it_is_the_definition(batch, kernel, height, width):
    rng = np.random.default_rng(0)
    taps = kernel[0] * kernel[1]
    x = rng.standard_normal((batch, height, width, 2))
    weight = rng.standard_normal((3, 2, *kernel))
    offset = 2.5 * rng.standard_normal((batch, height, width, 2 * taps))
    modulation = rng.uniform(0, 2, (batch, height, width, taps))

    found = deform_conv(x, weight, offset, modulation)

    expected = by_definition(x, weight, offset, modulation)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_offsets_and_with_full_modulation_it_is_a_convolution():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 6, 7, 3)), rng.standard_normal((4, 3, 3, 3))
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False).bind({"weight": weight}.__getitem__)

    found = deform_conv(x, weight, np.zeros((2, 6, 7, 18)), np.ones((2, 6, 7, 9)))

    np.testing.assert_allclose(found, conv(x, layer), atol=1e-12)


@pytest.mark.parametrize(
    ("y", "x", "value"),
    [(0, 0, 1.0), (1, 1, 4.0), (0.5, 0.5, 2.5), (-0.5, 0, 0.5), (1.25, 1, 3.0), (-1, 0, 0.0),
     (2, 1, 0.0), (-1e9, 0, 0.0), (0, 1e9, 0.0)],
)  # fmt: skip
def test_positions_outside_fade_to_zero_within_a_pixel(y, x, value):
    plane = np.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]

    found = sampled(plane, np.array([[[y]]], float), np.array([[[x]]], float))

    assert found.shape == (1, 1, 1, 1)
    assert found[0, 0, 0, 0] == pytest.approx(value)
