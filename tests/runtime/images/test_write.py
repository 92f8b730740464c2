"""What is written is read back by others: Pillow, OpenCV, and here where those say too little."""

import io
import os
import struct
import subprocess
import sys
import textwrap
import zlib

import cv2
import numpy as np
import pytest
from birefnet_runtime.errors import OutputError
from birefnet_runtime.images import write as formats
from birefnet_runtime.images.read import read_image
from birefnet_runtime.images.write import (
    FORMATS,
    JPEG,
    PNG,
    TIFF,
    WEBP,
    Encoding,
    write_image,
)
from PIL import Image, ImageCms, JpegImagePlugin

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, depth: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(2).integers(0, np.iinfo(depth).max + 1, shape).astype(depth)


def written(pixels: np.ndarray, encoding: Encoding, **options: object) -> bytes:
    stream = io.BytesIO()
    write_image(stream, pixels, encoding, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", [PNG, TIFF], ids=lambda form: form.name)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4), (1, 1, 4), (900, 700, 4)])
def test_png_and_tiff_come_back_whole(form, depth, shape):
    """The largest takes several strips, of an uneven last one."""
    pixels = noise(*shape, depth=depth)

    content = written(pixels, Encoding(form), profile=PROFILE)

    if depth == np.uint16 or form is PNG:  # OpenCV multiplies an 8-bit TIFF by its alpha
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if len(shape) == 3:
            decoded = decoded[..., [2, 1, 0, 3][: shape[2]]]
        np.testing.assert_array_equal(decoded, pixels)
    opened = Image.open(io.BytesIO(content))
    opened.load()
    assert opened.info["icc_profile"] == PROFILE
    if depth == np.uint8:
        np.testing.assert_array_equal(np.asarray(opened), pixels)


def test_a_view_is_written_as_it_looks():
    pixels = noise(8, 9, 4, depth=np.uint16)[::-1, ::2]

    for form in (PNG, TIFF):
        content = written(pixels, Encoding(form))
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[..., [2, 1, 0, 3]], pixels)


def test_every_chunk_of_a_png_has_its_checksum():
    content = written(noise(700, 900, 4), Encoding(), profile=PROFILE)
    kinds, place = [], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kind, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(kind + body)
        kinds.append(kind)
        place += length + 12

    assert kinds[:2] == [b"IHDR", b"iCCP"]
    assert set(kinds[2:-1]) == {b"IDAT"}
    assert kinds[-1] == b"IEND"


@pytest.mark.parametrize(("premultiplied", "meaning"), [(False, 2), (True, 1)])
def test_a_tiff_says_how_its_alpha_is_meant(premultiplied, meaning):
    content = written(noise(4, 5, 4), Encoding(TIFF), premultiplied=premultiplied)

    assert Image.open(io.BytesIO(content)).tag_v2[338] == (meaning,)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_may_not_fit_a_classic_tiff_is_a_bigtiff(monkeypatch, depth):
    """Beyond 4 GB; the bound is lowered here."""
    pixels = noise(50, 60, 4, depth=depth)
    assert written(pixels, Encoding(TIFF), profile=PROFILE)[:4] == b"II*\0"
    monkeypatch.setattr(formats, "CLASSIC_TIFF_BYTES", pixels.nbytes + len(PROFILE) - 1)

    content = written(pixels, Encoding(TIFF), profile=PROFILE)

    assert content[:4] == b"II+\0"
    picture = read_image(content)
    np.testing.assert_array_equal(picture.pixels, pixels[..., :3])
    np.testing.assert_array_equal(picture.opacity, pixels[..., 3])
    assert picture.profile == PROFILE


def test_the_bound_of_a_classic_tiff_leaves_room_for_what_deflate_may_add():
    """Stored blocks of deflate add 5 bytes to each 16,383 (zlib's compressBound)."""
    most = formats.CLASSIC_TIFF_BYTES

    assert most + most // 16_383 * 5 + (1 << 20) < 2**32


def test_a_stream_that_cannot_seek_gets_every_format():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def seekable(self):
            return False

        def write(self, more):
            self.content += bytes(more)
            return len(more)

    pixels = noise(8, 9, 3)
    for form in FORMATS:
        pipe = Pipe()
        write_image(pipe, pixels, Encoding(form, lossless=True))
        assert pipe.content == written(pixels, Encoding(form, lossless=True))


def test_webp_without_loss():
    pixels = noise(40, 50, 4)

    opened = Image.open(io.BytesIO(written(pixels, Encoding(WEBP, lossless=True), profile=PROFILE)))

    np.testing.assert_array_equal(np.asarray(opened), pixels)
    assert opened.info["icc_profile"] == PROFILE


def test_lossy_webp_keeps_alpha_and_profile():
    pixels = np.full((40, 50, 4), (200, 90, 30, 255), np.uint8)
    pixels[:, 25:, 3] = 77

    opened = Image.open(io.BytesIO(written(pixels, Encoding(WEBP), profile=PROFILE)))

    np.testing.assert_array_equal(np.asarray(opened)[..., 3], pixels[..., 3])
    np.testing.assert_allclose(np.asarray(opened)[..., :3], pixels[..., :3], atol=6)
    assert opened.info["icc_profile"] == PROFILE


def test_a_buffered_stream_has_everything_when_the_call_ends(tmp_path):
    pixels = noise(4, 5, 3)
    with open(tmp_path / "image.png", "wb") as stream:
        write_image(stream, pixels)
        content = (tmp_path / "image.png").read_bytes()

    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)


def test_jpeg_keeps_the_detail_of_colors():
    """No chroma subsampling: a cutout's edge is one of color, too."""
    with Image.open(io.BytesIO(written(noise(16, 16, 3), Encoding(JPEG)))) as opened:
        assert JpegImagePlugin.get_sampling(opened) == 0  # 4:4:4


def test_quality_counts():
    pixels = noise(64, 64, 3)

    for form in (WEBP, JPEG):
        sizes = [len(written(pixels, Encoding(form, quality))) for quality in (30, 95)]
        assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("form", [JPEG, WEBP], ids=lambda form: form.name)
def test_formats_of_eight_bits_get_eight(form):
    pixels = np.full((16, 16, 3), 257 * 120, np.uint16)

    opened = Image.open(io.BytesIO(written(pixels, Encoding(form), profile=PROFILE)))

    np.testing.assert_allclose(np.asarray(opened), 120, atol=2)
    assert opened.info["icc_profile"] == PROFILE


@pytest.mark.parametrize(
    ("form", "shape", "says"),
    [
        (JPEG, (4, 4, 4), "JPEG has no transparency; give a background"),
        (WEBP, (1, 16_384, 3), "WEBP holds sides of up to 16383 pixels, not 16384 x 1"),
    ],
)
def test_what_a_format_cannot_hold_is_an_error(form, shape, says):
    with pytest.raises(OutputError, match=says):
        written(np.zeros(shape, np.uint8), Encoding(form))


def test_the_suffix_is_the_format(tmp_path):
    for suffix, name in ((".png", "PNG"), (".webp", "WEBP"), (".tif", "TIFF"), (".JPG", "JPEG")):
        path = tmp_path / "new" / f"image{suffix}"
        write_image(path, noise(4, 5, 3))
        with Image.open(path) as opened:
            assert opened.format == name
    with pytest.raises(OutputError, match=r"image\.psd: results are"):
        write_image(tmp_path / "image.psd", noise(4, 5, 3))


def test_a_written_file_has_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")

    write_image(tmp_path / "image.png", noise(4, 5, 3))

    assert (tmp_path / "image.png").stat().st_mode == ordinary.stat().st_mode


def fail_half_way(stream, *_):
    stream.write(b"half")
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(formats, "write_png", fail_half_way)

    with pytest.raises(OutputError, match=r"image\.png: .* no space left"):
        write_image(target, noise(4, 5, 3))

    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["image.png"]


def test_a_name_cannot_forge_a_line(tmp_path):
    for name in ("a\x1b[2K\n.psd", "missing\n/a.jpg"):
        (tmp_path / "missing\n").write_bytes(b"")
        with pytest.raises(OutputError) as caught:
            write_image(tmp_path / name, noise(4, 5, 3))
        assert str(caught.value).isprintable()


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    program = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from birefnet_runtime.images import write as formats

        def die_half_way(stream, *_):
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        formats.write_png = die_half_way
        formats.write_image(sys.argv[1], np.zeros((4, 4, 3), np.uint8))
        """
    )

    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False)

    assert done.returncode == -9
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(("name", "form"), [("webp", WEBP), ("JPG", JPEG), (".TIF", TIFF)])
def test_an_encoding_takes_a_formats_name(name, form):
    assert Encoding(name) == Encoding(form)


def test_an_encoding_is_checked_at_once():
    for options, said in (
        ({"format": "webm"}, "webm: no such format; there are png"),
        ({"quality": 0}, "quality of 0"),
        ({"effort": 7}, "effort of 7"),
    ):
        with pytest.raises(OutputError, match=said):
            Encoding(**options)


def test_an_open_file_gets_the_format_of_its_name(tmp_path):
    with open(tmp_path / "a.webp", "wb") as file:
        write_image(file, np.zeros((4, 5, 4), np.uint8))
    stream = io.BytesIO()
    write_image(stream, np.zeros((4, 5, 4), np.uint8))

    assert (tmp_path / "a.webp").read_bytes()[8:12] == b"WEBP"
    assert Image.open(stream).format == "PNG"


def test_more_effort_makes_avif_slower_not_faster():
    assert formats.pillow_options(Encoding(formats.AVIF, effort=6))["speed"] == 4
    assert formats.pillow_options(Encoding(formats.AVIF, effort=0))["speed"] == 10


def test_the_longest_jpeg_is_what_libjpeg_writes():
    formats.check_holds(JPEG, (10, 65_500), "a.jpg")
    with pytest.raises(OutputError, match="65500"):
        formats.check_holds(JPEG, (10, 65_501), "a.jpg")
    stream = io.BytesIO()
    write_image(stream, np.zeros((2, 65_500), np.uint8), Encoding(JPEG))
    assert Image.open(stream).size == (65_500, 2)
