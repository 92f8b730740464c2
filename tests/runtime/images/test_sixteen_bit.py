"""16-bit files that others wrote come back sample by sample."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from birefnet_runtime.images.read import read_image
from birefnet_runtime.images.write import TIFF, Encoding, write_image
from PIL import Image, ImageOps

RANDOM = np.random.default_rng(5).integers(0, 65536, (7, 9, 4)).astype(np.uint16)
COLORS = RANDOM[..., :3]


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


def test_compressed_planes_keep_their_upper_bytes():
    planes = np.ascontiguousarray(COLORS.transpose(2, 0, 1))

    picture = read_image(
        tiff(planes, photometric="rgb", planarconfig="separate", compression="adobe_deflate")
    )

    np.testing.assert_array_equal(picture.pixels, COLORS >> 8)


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
