"""The tensor is compared with one computed by other means: plain numpy, in double precision."""

import math

import numpy as np
import pytest
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.model.graph_io import to_tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def triangle_weights(source: int, target: int) -> np.ndarray:
    """(target, source) matrix of the antialiased triangle filter, by its definition."""
    scale = source / target
    support = max(scale, 1.0)
    centers = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None] + 0.5 - centers[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


def independent_tensor(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Along the width first: with 8 bits between the two, the order shows at a quarter of values.

    Pillow by itself took the width first always, and since version 13 the height where that
    shrinks much more.
    """
    along_width = ("hwc,xw->hxc", triangle_weights(image.shape[1], size[1]))
    along_height = ("hwc,yh->ywc", triangle_weights(image.shape[0], size[0]))
    pixels = image.astype(np.float64)
    for product, weights in (along_width, along_height):
        pixels = np.floor(np.einsum(product, pixels, weights) + 0.5)
    normalized = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return np.moveaxis(normalized, 2, 0)[None]


@pytest.mark.parametrize(
    ("image_size", "size"),
    [
        ((300, 451), (96, 160)),  # both shrink
        ((31, 57), (64, 96)),  # both grow
        ((200, 41), (64, 64)),  # one of each
        ((41, 200), (64, 64)),
        ((64, 64), (64, 64)),  # nothing to do
        ((1, 1), (32, 32)),
        ((1, 700), (32, 64)),
    ],
)
def test_the_tensor_equals_one_computed_independently(image_size, size):
    image = np.random.default_rng(7).integers(0, 256, (*image_size, 3), dtype=np.uint8)

    tensor = to_tensor(Picture(image), size, MEAN, STD)

    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 3, *size)
    assert tensor.flags.c_contiguous
    to_levels = 255 * np.array(STD)[:, None, None]
    levels = np.abs(tensor - independent_tensor(image, size)) * to_levels
    # Pillow's fixed-point weights may round a value the other way, by one level of 255, rarely.
    assert levels.max() < 1.01
    assert (levels > 0.01).mean() < 0.01


def test_channels_keep_their_order():
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 0] = 255

    red, green, blue = to_tensor(Picture(image), (32, 32), MEAN, STD)[0]

    np.testing.assert_allclose(red, (1 - MEAN[0]) / STD[0], rtol=1e-6)
    np.testing.assert_allclose(green, -MEAN[1] / STD[1], rtol=1e-6)
    np.testing.assert_allclose(blue, -MEAN[2] / STD[2], rtol=1e-6)


def test_height_comes_first():
    image = np.zeros((10, 50, 3), np.uint8)

    assert to_tensor(Picture(image), (32, 96), MEAN, STD).shape == (1, 3, 32, 96)


def test_shrinking_is_antialiased():
    """A checkerboard of single pixels becomes even gray; without a wide filter it would not."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, axis=2)

    tensor = to_tensor(Picture(image), (32, 32), (0, 0, 0), (1, 1, 1))

    assert math.isclose(float(tensor.mean()), 0.5, abs_tol=0.01)
    assert float(np.ptp(tensor)) < 0.05


def test_existing_alpha_is_composited_over_white():
    pixels = np.full((32, 32, 3), 100, np.uint8)
    opacity = np.full((32, 32), 51, np.uint8)

    tensor = to_tensor(Picture(pixels, opacity), (32, 32), (0, 0, 0), (1, 1, 1))

    np.testing.assert_allclose(tensor * 255, 0.2 * 100 + 0.8 * 255, atol=0.6)


def test_sixteen_bits_look_like_eight_to_the_network():
    image = np.random.default_rng(8).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    np.testing.assert_array_equal(
        to_tensor(Picture(image.astype(np.uint16) * 257), (32, 64), MEAN, STD),
        to_tensor(Picture(image), (32, 64), MEAN, STD),
    )
