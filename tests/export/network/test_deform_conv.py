"""The deformable convolution against its definition, written out pixel by pixel."""

import numpy as np
import pytest
import torch
from birefnet_export.network.deform_conv import deform_conv2d


def pixel(plane: np.ndarray, y: float, x: float) -> float:
    """Bilinear reading of (height, width), zero outside."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
        for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += weight_y * weight_x * plane[row, column]
    return total


def by_definition(x, weight, offset, mask, padding):
    batch, channels, _, _ = x.shape
    out, _, kernel_h, kernel_w = weight.shape
    result = np.zeros((batch, out, *offset.shape[2:]))
    for b, i, j in np.ndindex(batch, *offset.shape[2:]):
        for row, column in np.ndindex(kernel_h, kernel_w):
            tap = row * kernel_w + column
            y = i - padding + row + offset[b, 2 * tap, i, j]
            xx = j - padding + column + offset[b, 2 * tap + 1, i, j]
            for c in range(channels):
                value = mask[b, tap, i, j] * pixel(x[b, c], y, xx)
                result[b, :, i, j] += weight[:, c, row, column] * value
    return result


@pytest.mark.parametrize(
    ("batch", "kernel", "height", "width"),
    [(1, (1, 1), 1, 1), (2, (3, 3), 5, 4), (1, (7, 7), 4, 6), (1, (1, 3), 3, 5)],
)
def test_it_is_the_definition(batch, kernel, height, width):
    rng = np.random.default_rng(0)
    taps, padding = kernel[0] * kernel[1], kernel[0] // 2
    out_h, out_w = (
        side + 2 * padding - k + 1 for side, k in zip((height, width), kernel, strict=True)
    )
    x = rng.standard_normal((batch, 2, height, width))
    weight = rng.standard_normal((3, 2, *kernel))
    offset = 2.5 * rng.standard_normal((batch, 2 * taps, out_h, out_w))
    mask = rng.uniform(0, 2, (batch, taps, out_h, out_w))
    bias = rng.standard_normal(3)

    tensors = [torch.from_numpy(v) for v in (x, weight, offset, mask, bias)]
    found = deform_conv2d(*tensors, padding=padding).numpy()

    expected = by_definition(x, weight, offset, mask, padding) + bias[:, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_offsets_and_with_a_full_mask_it_is_a_convolution():
    x, weight = torch.randn(2, 3, 6, 7), torch.randn(4, 3, 3, 3)
    offset, mask = torch.zeros(2, 18, 6, 7), torch.ones(2, 9, 6, 7)

    found = deform_conv2d(x, weight, offset, mask, padding=1)

    torch.testing.assert_close(
        found, torch.nn.functional.conv2d(x, weight, padding=1), atol=2e-5, rtol=1e-4
    )


def test_gradients_reach_every_input():
    torch.manual_seed(0)
    shapes = [(1, 2, 4, 3), (2, 2, 3, 3), (1, 18, 4, 3), (1, 9, 4, 3), (2,)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, padding=1), inputs)
