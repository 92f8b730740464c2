"""Chunks of PNG files: texts and large profiles left out on reading."""

import io
import zlib

import numpy as np
import pytest
from birefnet_runtime.images.png import without_texts
from birefnet_runtime.images.read import read_image
from PIL import Image, ImageCms

COLORS = np.random.default_rng(6).integers(0, 256, (5, 6, 3), dtype=np.uint8)
LARGE = bytes(3 << 20)


def international(keyword: bytes, text: bytes, *, compressed: bool) -> bytes:
    body = zlib.compress(text) if compressed else text
    return keyword + b"\0" + bytes([compressed, 0]) + b"\0\0" + body


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"iTXt", international(b"prompt", LARGE, compressed=True)),
        (b"iTXt", international(b"prompt", LARGE, compressed=False)),
        (b"iTXt", international(b"XML:com.adobe.xmp", LARGE, compressed=True)),
        (b"zTXt", b"prompt\0\0" + zlib.compress(LARGE)),
        (b"tEXt", b"prompt\0" + bytes(65 << 20)),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_large_texts_are_left_out(make_png, make_chunk, kind, content, behind):
    text = make_chunk(kind, content)
    plain = make_png(COLORS, 2)
    whole = plain[:-12] + text + plain[-12:] if behind else make_png(COLORS, 2, text)

    np.testing.assert_array_equal(read_image(whole).pixels, COLORS)


def test_many_texts_are_left_out(make_png, make_chunk):
    """Pillow's bound on all of them together is 64 MB."""
    text = make_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(1_000_000)))

    np.testing.assert_array_equal(read_image(make_png(COLORS, 2, *[text] * 80)).pixels, COLORS)


def test_nothing_is_copied_where_nothing_is_left_out(make_png, make_chunk):
    xmp = make_chunk(b"iTXt", international(b"XML:com.adobe.xmp", b"<x/>", compressed=False))
    stream = io.BytesIO(make_png(COLORS, 2, xmp))

    assert without_texts(stream) == (stream, None, None, False)
    assert stream.tell() == 0


def large_profile() -> bytes:
    """sRGB with more than a megabyte behind its tags, which its header counts in."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2 << 20)
    return len(profile).to_bytes(4, "big") + profile[4:]


def test_a_profile_beyond_a_megabyte_is_kept(make_png, make_chunk):
    profile = large_profile()
    chunk = make_chunk(b"iCCP", b"large\0\0" + zlib.compress(profile))

    picture = read_image(make_png(COLORS, 2, chunk))

    assert picture.profile == profile
    np.testing.assert_array_equal(picture.pixels, COLORS)


def test_a_profile_that_inflates_without_end_is_left_out(make_png, make_chunk):
    chunk = make_chunk(b"iCCP", b"bomb\0\0" + zlib.compress(large_profile() + LARGE * 6))

    picture = read_image(make_png(COLORS, 2, chunk))

    assert picture.profile is None
    np.testing.assert_array_equal(picture.pixels, COLORS)


def test_an_orientation_in_xmp_alone_counts_for_nothing(make_png, make_chunk):
    """Pillow turns by it; browsers, ImageMagick and libvips don't."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="3"/>'
    xmp += b"</rdf:RDF></x:xmpmeta>"
    chunk = make_chunk(b"iTXt", international(b"XML:com.adobe.xmp", xmp, compressed=False))
    text = make_chunk(b"tEXt", b"prompt\0" + LARGE)

    with Image.open(io.BytesIO(make_png(COLORS, 2, chunk))) as opened:
        assert opened.getexif()[0x0112] == 3
    behind = make_png(COLORS, 2)
    for content in (make_png(COLORS, 2, chunk, text), behind[:-12] + chunk + behind[-12:]):
        np.testing.assert_array_equal(read_image(content).pixels, COLORS)
