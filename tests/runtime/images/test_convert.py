"""What pixels of each kind mean, by the rules of their formats."""

import io
import struct

import numpy as np
import pytest
import tifffile
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import read_image
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "adobe_deflate"])
def test_white_may_be_zero(depth, compression):
    largest = np.iinfo(depth).max
    stored = np.array([[0, largest, largest - 1000 % largest]], depth)

    picture = read_image(tiff(stored, photometric="miniswhite", compression=compression))

    assert picture.pixels.dtype == depth
    assert picture.pixels[0, :, 0].tolist() == (largest - stored[0]).tolist()


def twelve_bits(values: list[int], photometric: int = 1) -> bytes:
    """A TIFF of one row of 12-bit gray: two samples in three bytes (TIFF 6.0, page 36)."""
    pairs = zip(values[::2], values[1::2], strict=True)
    body = b"".join((high << 12 | low).to_bytes(3, "big") for high, low in pairs)
    fields = (
        (256, len(values)), (257, 1), (258, 12), (259, 1), (262, photometric),
        (273, 8), (277, 1), (278, 1), (279, len(body)),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    body += b"\0" * (len(body) % 2)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body
        + struct.pack("<H", len(fields)) + entries + b"\0\0\0\0"
    )  # fmt: skip


def test_twelve_bits_fill_the_range():
    picture = read_image(twelve_bits([0, 4095, 2048, 1]))

    # 65535 / 4095 = 16.0037
    assert picture.pixels[0, :, 0].tolist() == [0, 65535, 32776, 16]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray_of_every_depth(make_png, make_chunk, bits):
    largest = 2**bits - 1
    key = 1 if bits < 8 else largest // 3
    gray = np.array([[key, 0, largest, key]], np.uint16 if bits == 16 else np.uint8)
    chunk = make_chunk(b"tRNS", struct.pack(">H", key))

    picture = read_image(make_png(gray, 0, chunk, bits=bits if bits < 8 else None))

    shown = np.iinfo(picture.pixels.dtype).max
    expected = [0, shown, shown if largest != key else 0, 0]
    assert picture.opacity.tolist() == [expected]
    scaled = gray[0].astype(int) * shown // largest
    assert picture.pixels[0, :, 0].tolist() == scaled.tolist()


def test_32_bit_gray_beyond_16_bits_is_white():
    image = Image.fromarray(np.array([[0, 300, 65535, 70000, -5]], np.int32))

    assert read_image(image).pixels[0, :, 1].tolist() == [0, 300, 65535, 65535, 0]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
def test_pixels_whose_range_is_unknown_are_refused(kind):
    with pytest.raises(ImageError, match="no known range; convert"):
        read_image(tiff(np.zeros((4, 5), kind), photometric="minisblack"))


def test_premultiplied_planes_of_8_bits_are_refused():
    planes = np.zeros((4, 6, 7), np.uint8)

    with pytest.raises(ImageError, match="premultiplied alpha in planes"):
        read_image(
            tiff(planes, photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"])
        )


def test_premultiplied_colors_of_8_bits_are_divided():
    stored = np.array([[[100, 50, 0, 128]]], np.uint8)

    picture = read_image(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]))

    np.testing.assert_allclose(picture.pixels, [[[199, 100, 0]]], atol=1)


@pytest.mark.parametrize(("mode", "space"), [("RGB", b"GRAY"), ("RGB", b"CMYK"), ("CMYK", b"RGB ")])
def test_a_profile_of_another_space_is_left_out(mode, space):
    profile = bytearray(SRGB)
    profile[16:20] = space
    stream = io.BytesIO()
    Image.new(mode, (4, 4), 99).save(stream, "TIFF", icc_profile=bytes(profile))

    picture = read_image(stream.getvalue())

    assert picture.profile is None
    expected = Image.new(mode, (1, 1), 99).convert("RGB").getpixel((0, 0))
    assert picture.pixels[0, 0].tolist() == list(expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_profile_of_rgb_stays_with_its_colors(mode):
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "PNG", icc_profile=SRGB)

    assert read_image(stream.getvalue()).profile == SRGB


def test_a_picture_of_several_strips_is_whole(monkeypatch):
    """Every conversion goes by strips; here of two rows, the last of one."""
    from birefnet_runtime.images import picture as module

    random = np.random.default_rng(4)
    rgba = random.integers(0, 256, (7, 5, 4), dtype=np.uint8)
    deep = random.integers(0, 65536, (7, 5, 4)).astype(np.uint16)
    gray = random.integers(0, 65536, (7, 5)).astype(np.uint16)
    monkeypatch.setattr(module, "STRIP_PIXELS", 10)

    eight = read_image(Image.fromarray(rgba))
    sixteen = read_image(tiff(deep, photometric="rgb", extrasamples=["unassalpha"]))
    levels = read_image(tiff(gray, photometric="minisblack"))

    for picture, samples in ((eight, rgba), (sixteen, deep)):
        np.testing.assert_array_equal(picture.pixels, samples[..., :3])
        np.testing.assert_array_equal(picture.opacity, samples[..., 3])
    np.testing.assert_array_equal(levels.pixels, np.dstack([gray] * 3))
