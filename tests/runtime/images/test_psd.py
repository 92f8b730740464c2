"""Photoshop files made from their specification: which channels are colors."""

import struct

import numpy as np
import pytest
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import read_image

RANDOM = np.random.default_rng(7).integers(0, 256, (5, 6, 6), dtype=np.uint8)
GRAY, RGB, CMYK = 1, 3, 4


def packed(row):
    """PackBits of a row: literal bytes alone."""
    return bytes([len(row) - 1]) + bytes(row)


def psd(samples, mode, layers=None, *, bits=8, compressed=False, version=1):
    """A PSD of (H, W, channels); `layers` is the number of layers that it says it has."""
    height, width, channels = samples.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", version, channels, height, width, bits, mode)
    info = b"" if layers is None else struct.pack(">IhH", 4, layers, 0)
    planes = samples.transpose(2, 0, 1)
    if compressed:
        rows = [packed(row) for plane in planes for row in plane]
        merged = b"\0\1" + b"".join(struct.pack(">H", len(row)) for row in rows) + b"".join(rows)
    else:
        merged = b"\0\0" + planes.tobytes()
    return head + bytes(8) + struct.pack(">I", len(info)) + info + merged


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("layers", [None, 0, 3])
@pytest.mark.parametrize("saved", [0, 1, 2])
def test_a_saved_selection_is_no_transparency(compressed, layers, saved):
    picture = read_image(psd(RANDOM[..., : 3 + saved], RGB, layers, compressed=compressed))

    assert picture.opacity is None
    np.testing.assert_array_equal(picture.pixels, RANDOM[..., :3])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("saved", [0, 2])
def test_white_is_taken_out_of_transparent_colors(compressed, saved):
    opacity = np.full((5, 6, 1), 128, np.uint8)
    opacity[0], opacity[1] = 255, 0
    share = opacity / 255
    blended = np.rint(RANDOM[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    stored = np.dstack([blended, opacity, RANDOM[..., :saved]])

    picture = read_image(psd(stored, RGB, -1, compressed=compressed))

    np.testing.assert_array_equal(picture.opacity, opacity[..., 0])
    np.testing.assert_array_equal(picture.pixels[0], RANDOM[0, :, :3])
    np.testing.assert_allclose(picture.pixels[2:], RANDOM[2:, :, :3], atol=2)


def test_gray_with_transparency():
    opacity = np.full((5, 6), 255, np.uint8)
    opacity[0] = 0

    picture = read_image(psd(np.dstack([RANDOM[..., 0], opacity]), GRAY, -2))

    np.testing.assert_array_equal(picture.opacity, opacity)
    np.testing.assert_array_equal(picture.pixels[1:], np.repeat(RANDOM[1:, :, :1], 3, axis=2))


def test_cmyk_with_more_channels():
    four, six = (read_image(psd(RANDOM[..., :n], CMYK, compressed=True)) for n in (4, 6))

    np.testing.assert_array_equal(four.pixels, six.pixels)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (psd(RANDOM[..., :3].astype(">u2"), RGB, bits=16), "a PSD of 16 bits a channel .RGB"),
        (psd(RANDOM[..., :3], RGB, version=2), "a PSB"),
    ],
)
def test_the_kind_that_is_not_read_is_named(content, kind):
    with pytest.raises(ImageError, match=f"{kind}.*save it"):
        read_image(content)


def test_a_file_that_is_cut_off_is_damaged():
    content = psd(RANDOM[..., :4], RGB, -1, compressed=True)
    for length in range(26, len(content), 7):
        with pytest.raises(ImageError):
            read_image(content[:length])
