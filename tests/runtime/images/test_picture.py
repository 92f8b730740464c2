import numpy as np
import pytest
from birefnet_runtime.images.picture import (
    full_scale,
    image_strips,
    quantize,
    to_depth,
    to_eight_bits,
)
from PIL import Image


def test_white_is_white_at_every_depth():
    for kind in (np.uint8, np.uint16):
        white = np.full((1, 1, 3), np.iinfo(kind).max, kind)
        assert full_scale(white) == white[0, 0, 0]
        assert to_depth(white, 8)[0, 0, 0] == 255
        assert to_depth(white, 16)[0, 0, 0] == 65535


def test_every_level_of_8_bits_survives_16():
    levels = np.arange(256, dtype=np.uint8).reshape(1, -1)

    np.testing.assert_array_equal(to_eight_bits(to_depth(levels, 16)), levels)


def test_16_bits_are_rounded_to_the_nearest_8():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, -1)

    np.testing.assert_array_equal(to_eight_bits(levels), np.rint(levels / 257))


@pytest.mark.parametrize(("depth", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_shares_are_rounded(depth, kind):
    share = np.array([[0, 0.4999, 0.25, 0.9999999, 1]], np.float32)

    quantized = quantize(share, depth)

    assert quantized.dtype == kind
    np.testing.assert_array_equal(quantized, np.rint(share * (2**depth - 1)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 400_000), (700, 1000), (3, 1 << 20)])
def test_strips_are_the_whole_picture(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    joined = np.zeros_like(pixels)
    for rows, strip in image_strips(Image.fromarray(pixels)):
        joined[rows] = np.asarray(strip)

    np.testing.assert_array_equal(joined, pixels)
