"""16-bit files that others wrote come back sample by sample."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import read_image
from birefnet_runtime.images.write import TIFF, Encoding, write_image
from PIL import Image, ImageOps

RANDOM = np.random.default_rng(5).integers(0, 65536, (7, 9, 4)).astype(np.uint16)
COLORS = RANDOM[..., :3]


def gray_profile(gamma: float) -> bytes:
    """An ICC profile of gray with a curve (ICC.1:2022, 8.4 and 10.6)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"text" + bytes(4) + b"gray"
    tags, content = b"", b""
    for name, value in ((b"desc", text), (b"cprt", text), (b"wtpt", white), (b"kTRC", curve)):
        tags += name + struct.pack(">II", 128 + 4 + 48 + len(content), len(value))
        content += value
    length = 128 + 4 + 48 + len(content)
    head = struct.pack(">I4xI4s4s4s12x4s", length, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return head.ljust(128, b"\0") + struct.pack(">I", 4) + tags + content


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("samples", "color_type"),
    [(RANDOM, 6), (COLORS, 2), (RANDOM[..., :2], 4), (RANDOM[..., 0], 0)],
    ids=["RGBA", "RGB", "gray and alpha", "gray"],
)
def test_png(make_png, samples, color_type):
    picture = read_image(make_png(samples, color_type))

    colors = samples[..., :3] if color_type in {2, 6} else samples.reshape(7, 9, -1)[..., :1]
    np.testing.assert_array_equal(picture.pixels, np.broadcast_to(colors, (7, 9, 3)))
    assert picture.pixels.dtype == np.uint16
    if color_type in {4, 6}:
        np.testing.assert_array_equal(picture.opacity, samples[..., -1])
    else:
        assert picture.opacity is None


def test_an_interlaced_png(make_chunk):
    """The seven passes of Adam7 (PNG, third edition, 8.1)."""
    passes = (
        *((COLORS[0::8, 0::8], COLORS[0::8, 4::8], COLORS[4::8, 0::4], COLORS[0::4, 2::4])),
        *((COLORS[2::4, 0::2], COLORS[0::2, 1::2], COLORS[1::2, 0::1])),
    )
    body = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", 9, 7, 16, 2, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", header)
    content += make_chunk(b"IDAT", zlib.compress(body)) + make_chunk(b"IEND", b"")

    np.testing.assert_array_equal(read_image(content).pixels, COLORS)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "adobe_deflate"])
@pytest.mark.parametrize("extra", [None, "unspecified", "unassalpha"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff(order, compression, extra, tile):
    pixels = RANDOM if extra else COLORS
    content = tiff(
        pixels,
        photometric="rgb",
        extrasamples=[extra] if extra else None,
        byteorder=order,
        compression=compression,
        tile=tile,
    )

    picture = read_image(content)

    np.testing.assert_array_equal(picture.pixels, COLORS)
    if extra == "unassalpha":
        np.testing.assert_array_equal(picture.opacity, RANDOM[..., 3])
    else:
        assert picture.opacity is None, "a sample of no stated meaning is no alpha, as in 8 bits"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [None, "unspecified", "unassalpha"])
def test_planes_of_a_tiff(order, extra):
    planes = np.ascontiguousarray((RANDOM if extra else COLORS).transpose(2, 0, 1))
    content = tiff(
        planes,
        photometric="rgb",
        planarconfig="separate",
        extrasamples=[extra] if extra else None,
        byteorder=order,
    )

    picture = read_image(content)

    np.testing.assert_array_equal(picture.pixels, COLORS)
    if extra == "unassalpha":
        np.testing.assert_array_equal(picture.opacity, RANDOM[..., 3])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rowsperstrip": 2}, {"tile": (16, 16)}, {"predictor": True}, {"bigtiff": True}],
    ids=lambda options: next(iter(options), "plain"),
)
@pytest.mark.parametrize("channels", [3, 4])
def test_compressed_planes_of_a_tiff(order, options, channels):
    """libtiff gives Pillow the upper bytes alone; each plane is decoded as a picture of its own."""
    if options.get("bigtiff") and order == ">":
        options = {}  # that kind is refused
    samples = RANDOM[..., :channels]
    content = tiff(
        np.ascontiguousarray(samples.transpose(2, 0, 1)),
        photometric="rgb",
        planarconfig="separate",
        compression="adobe_deflate",
        byteorder=order,
        extrasamples=["unassalpha"] if channels == 4 else None,
        **options,
    )

    picture = read_image(content)

    np.testing.assert_array_equal(picture.pixels, COLORS)
    if channels == 4:
        np.testing.assert_array_equal(picture.opacity, RANDOM[..., 3])


def test_compressed_planes_are_turned_and_divided():
    stored = np.array([[[30000, 15000, 450, 32768], [500, 65535, 1, 65535]]], np.uint16)
    content = tiff(
        np.ascontiguousarray(stored.transpose(2, 0, 1)),
        photometric="rgb",
        planarconfig="separate",
        compression="adobe_deflate",
        extrasamples=["assocalpha"],
        extratags=[(274, 3, 1, 6, True)],
    )

    picture = read_image(content)

    assert picture.size == (2, 1)
    np.testing.assert_allclose(picture.pixels[0, 0], (60000, 30000, 900), atol=1)
    assert picture.opacity[:, 0].tolist() == [32768, 65535]


def test_divided_colors_are_rounded():
    """32768 at an alpha of 43690 is 49152.375; 21845.5 becomes 49152 when 32768 of 43690 is cut."""
    stored = np.array([[[32768, 20001, 3, 43690]]], np.uint16)
    content = tiff(stored, photometric="rgb", extrasamples=["assocalpha"])

    picture = read_image(content)

    exact = stored[0, 0, :3].astype(float) * 65535 / 43690
    np.testing.assert_array_equal(picture.pixels[0, 0], np.rint(exact))


def test_gray_of_32_bits_is_scaled_to_16():
    levels = np.array([[0, 1 << 16, 1 << 31, (1 << 32) - 1]], np.uint32)

    picture = read_image(tiff(levels, photometric="minisblack"))

    assert picture.pixels[0, :, 0].tolist() == [0, 1, 32768, 65535]
    with pytest.raises(ImageError, match="gray, 1 channels of 32 bits"):  # Pillow doesn't know it
        read_image(tiff(levels, photometric="minisblack", byteorder=">"))


def test_the_page_behind_a_thumbnail_is_read():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for pixels, kind in ((COLORS[:2, :3], 1), (COLORS[:3, :4], 1), (COLORS, 0)):
            writer.write(pixels, subfiletype=kind, metadata=None, photometric="rgb")

    np.testing.assert_array_equal(read_image(stream.getvalue()).pixels, COLORS)


def test_gray_with_alpha_and_a_gray_profile_is_as_in_8_bits(make_png, make_chunk):
    profile = gray_profile(1.8)
    chunk = make_chunk(b"iCCP", b"gray\0\0" + zlib.compress(profile))
    levels = np.array([[[40, 255], [128, 90], [250, 0]]], np.uint8)

    eight = read_image(make_png(levels, 4, chunk))
    sixteen = read_image(make_png(levels.astype(np.uint16) * 257, 4, chunk))

    assert not np.array_equal(eight.pixels[..., 0], levels[..., 0])
    np.testing.assert_allclose(sixteen.pixels / 257, eight.pixels, atol=1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
def test_premultiplied_colors_are_divided_by_alpha(order, planes):
    straight = np.array([[[60000, 30000, 900, 32768], [500, 65535, 1, 65535]]], np.uint16)
    stored = straight.copy()
    stored[0, 0, :3] = (30000, 15000, 450)  # 32768 / 65535 of them
    hidden = np.array([[[0, 0, 0, 0]]], np.uint16)
    stored = np.concatenate([stored, hidden], axis=1)
    content = tiff(
        np.ascontiguousarray(stored.transpose(2, 0, 1)) if planes else stored,
        photometric="rgb",
        planarconfig="separate" if planes else "contig",
        extrasamples=["assocalpha"],
        byteorder=order,
    )

    picture = read_image(content)

    expected = [[60000, 30000, 900], [500, 65535, 1], [0, 0, 0]]
    np.testing.assert_allclose(picture.pixels[0], expected, atol=1)
    assert picture.opacity.tolist() == [[32768, 65535, 0]]


def test_a_premultiplied_tiff_of_ours_comes_back():
    straight = RANDOM.copy()
    straight[..., 3] = np.maximum(straight[..., 3], 6554)
    share = straight[..., 3:] / 65535
    stored = np.dstack([np.rint(straight[..., :3] * share), straight[..., 3]]).astype(np.uint16)
    stream = io.BytesIO()
    write_image(stream, stored, Encoding(TIFF), premultiplied=True)

    picture = read_image(stream.getvalue())

    np.testing.assert_allclose(picture.pixels, straight[..., :3], atol=5)  # half a step by 10 %
    np.testing.assert_array_equal(picture.opacity, straight[..., 3])


def test_a_color_beyond_its_alpha_is_white_at_most():
    pixels = np.array([[[40000, 0, 0, 20000]]], np.uint16)

    picture = read_image(tiff(pixels, photometric="rgb", extrasamples=["assocalpha"]))

    assert picture.pixels.tolist() == [[[65535, 0, 0]]]


def test_a_transparent_color_of_a_png(make_png, make_chunk):
    colors = np.array([[[1000, 2000, 3000], [1000, 2000, 3001], [1000, 0, 3000]]], np.uint16)
    key = make_chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))

    picture = read_image(make_png(colors, 2, key))

    assert picture.opacity.tolist() == [[0, 65535, 65535]]
    np.testing.assert_array_equal(picture.pixels, colors)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_every_orientation_is_pillows(make_png, make_chunk, orientation, form):
    """Against `exif_transpose` of the upper and of the lower bytes, as pictures of 8 bits."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if form == "PNG":
        content = make_png(RANDOM, 6, make_chunk(b"eXIf", exif.tobytes()[6:]))
    else:
        tag = (274, "H", 1, orientation, True)
        content = tiff(RANDOM, photometric="rgb", extrasamples=["unassalpha"], extratags=[tag])
    turned = []
    for samples in (RANDOM >> 8, RANDOM & 255):
        image = Image.fromarray(samples.astype(np.uint8))
        image.getexif()[0x0112] = orientation
        turned.append(np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16))
    expected = turned[0] << 8 | turned[1]

    picture = read_image(content)

    np.testing.assert_array_equal(picture.pixels, expected[..., :3])
    np.testing.assert_array_equal(picture.opacity, expected[..., 3])


def test_an_animated_png_gives_its_first_frame(make_png, make_chunk):
    control = make_chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = make_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 7, 0, 0, 1, 10, 0, 0))

    picture = read_image(make_png(COLORS, 2, control, frame))

    np.testing.assert_array_equal(picture.pixels, COLORS)
