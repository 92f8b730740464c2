import contextlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images import read
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.images.read import decoded_bytes, open_image, pixels_of, read_image
from birefnet_runtime.images.write import PNG, Encoding, write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

# A color in each corner, so that any turn or mirror shows.
CORNERS = np.zeros((2, 3, 3), np.uint8)
CORNERS[0, 0] = (255, 0, 0)
CORNERS[0, 2] = (0, 255, 0)
CORNERS[1, 0] = (0, 0, 255)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def test_path_bytes_array_and_pil_image_read_the_same(tmp_path):
    path = tmp_path / "corners.png"
    Image.fromarray(CORNERS).save(path)

    for source in (path, str(path), path.read_bytes(), CORNERS, Image.fromarray(CORNERS)):
        np.testing.assert_array_equal(read_image(source).pixels, CORNERS)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a)),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_of_a_file_is_applied(orientation, turn, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}

    image = read_image(encoded(Image.fromarray(CORNERS), form, exif=exif, **lossless))

    np.testing.assert_array_equal(image.pixels, turn(CORNERS))


def test_a_pil_image_is_not_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(encoded(Image.fromarray(CORNERS), "PNG", exif=exif)))

    np.testing.assert_array_equal(read_image(opened).pixels, CORNERS)


def test_gray_becomes_three_equal_channels():
    gray = np.array([[0, 100, 255]], np.uint8)

    np.testing.assert_array_equal(
        read_image(encoded(Image.fromarray(gray), "PNG")).pixels, np.dstack([gray] * 3)
    )


def test_sixteen_bit_gray_stays_so():
    gray = np.array([[0, 257 * 200, 65535, 256]], np.uint16)

    image = read_image(encoded(Image.fromarray(gray), "PNG"))

    assert image.pixels.dtype == np.uint16
    assert image.pixels[0].tolist() == [[value] * 3 for value in (0, 257 * 200, 65535, 256)]


def test_one_bit():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")

    assert read_image(encoded(bits, "PNG")).pixels[0, :, 0].tolist() == [0, 255]


def test_palette():
    image = Image.fromarray(CORNERS).quantize(4)

    np.testing.assert_array_equal(read_image(encoded(image, "PNG")).pixels, CORNERS)
    np.testing.assert_array_equal(read_image(encoded(image, "GIF")).pixels, CORNERS)


def test_cmyk():
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 30, 60), np.uint8)).convert("CMYK")

    image = read_image(encoded(cmyk, "JPEG", quality=100))

    np.testing.assert_allclose(image.pixels[4, 4], (200, 30, 60), atol=4)


def test_alpha_is_kept_beside_the_colors():
    rgba = np.array([[[200, 0, 9, 255], [200, 0, 9, 0], [200, 0, 9, 128]]], np.uint8)

    image = read_image(encoded(Image.fromarray(rgba), "PNG"))

    np.testing.assert_array_equal(image.pixels, rgba[..., :3])
    np.testing.assert_array_equal(image.opacity, rgba[..., 3])


def test_alpha_of_gray_and_of_a_palette_is_kept_too():
    gray = Image.frombytes("LA", (2, 1), bytes([7, 0, 7, 255]))
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([9, 9, 9, 0, 0, 0])

    for source in (encoded(gray, "PNG"), encoded(palette, "PNG", transparency=0)):
        assert read_image(source).opacity.tolist() == [[0, 255]]
    assert read_image(encoded(gray, "PNG")).pixels[0].tolist() == [[7] * 3] * 2


def test_an_opaque_image_has_no_opacity():
    assert read_image(encoded(Image.fromarray(CORNERS), "PNG")).opacity is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_arrays_of_every_layout(depth):
    random = np.random.default_rng(3)
    for shape in ((4, 5), (4, 5, 3), (4, 5, 4)):
        array = random.integers(0, 256, shape).astype(depth)
        image = read_image(array)
        assert image.size == (4, 5)
        if len(shape) == 2:
            np.testing.assert_array_equal(image.pixels, np.dstack([array] * 3))
        else:
            np.testing.assert_array_equal(image.pixels, array[..., :3])
        if shape[-1] == 4:
            np.testing.assert_array_equal(image.opacity, array[..., 3])


def test_a_picture_is_taken_as_it_is():
    picture = Picture(CORNERS)

    assert read_image(picture) is picture


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[1, 2], [3]],
        None,
    ],
)
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ImageError, match=r"image"):
        read_image(wrong)


def test_a_view_of_an_array_is_read_as_it_looks():
    np.testing.assert_array_equal(read_image(CORNERS[:, ::-1]).pixels, CORNERS[:, ::-1])


PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))

SEEDS = [
    encoded(PHOTO, form)
    for form in (*("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"), *("AVIF", "TGA", "QOI"))
]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"hello", "not an image"),
        (encoded(PHOTO, "PNG")[:200], "damaged"),
        (encoded(PHOTO, "JPEG")[:400], "damaged"),
    ],
    ids=["empty", "text", "truncated PNG", "truncated JPEG"],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path, content, says):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=says) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a directory"):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused():
    header = bytearray(encoded(Image.new("1", (1, 1)), "BMP"))
    header[18:26] = (30_000).to_bytes(4, "little") * 2

    with pytest.raises(ImageError, match="read safely"):
        read_image(bytes(header))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"])
def test_damage_is_an_image_error_or_an_image_never_something_else(form):
    """Cut and flipped bytes, many of them: whatever Pillow's decoder raises is translated."""
    whole = encoded(PHOTO, form)
    random = np.random.default_rng(11)
    read = 0
    for _ in range(150):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for position in random.integers(0, len(damaged), random.integers(0, 6)):
            damaged[position] = random.integers(256)
        try:
            image = read_image(bytes(damaged))
        except ImageError:
            continue
        assert image.pixels.dtype in (np.uint8, np.uint16)
        assert image.pixels.ndim == 3
        read += 1
    assert read < 150


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_is_read_as_if_it_had_it(progressive, lost):
    whole = encoded(PHOTO, "JPEG", quality=90, progressive=progressive)

    np.testing.assert_array_equal(read_image(whole[:-lost]).pixels, read_image(whole).pixels)


def test_a_jpeg_that_lacks_a_last_corner_is_read():
    """Twenty bytes of a large picture are some blocks of its last row."""
    photo = PHOTO.resize((640, 400), Image.Resampling.NEAREST)
    whole = encoded(photo, "JPEG", quality=90)

    cut = read_image(whole[:-20]).pixels

    np.testing.assert_array_equal(cut[:383], read_image(whole).pixels[:383])
    with pytest.raises(ImageError, match=r"damaged: .* truncated"):
        read_image(whole[: -len(whole) // 10])


def test_a_jpeg_without_its_end_is_turned_and_keeps_its_profile():
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = encoded(PHOTO, "JPEG", exif=exif, icc_profile=profile)

    picture = read_image(whole[:-2])

    assert picture.size == (60, 40)
    assert picture.profile == profile


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript, which isn't read"),
        (b"\xc5\xd0\xd3\xc6" + b"\0" * 60, "PostScript, which isn't read"),
        (b"%PDF-1.7\n", "PDF, which isn't read"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 60, "JPEG XL, which isn't read"),
    ],
)
def test_no_other_program_is_asked(tmp_path, monkeypatch, content, says):
    """Pillow hands PostScript to Ghostscript, whatever the file's name."""
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("called"))
    path = tmp_path / "logo.png"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=says):
        read_image(path)


def test_damaged_is_said_of_damaged_files_alone():
    bmp = bytearray(encoded(PHOTO, "BMP"))
    bmp[30] = 9  # a compression that no one has

    with pytest.raises(ImageError, match="Unsupported BMP compression"):
        read_image(bytes(bmp))


def test_a_name_cannot_forge_a_line(tmp_path):
    path = tmp_path / "a\n\x1b[2Kbirefnet: 1 cutout.png"
    path.write_bytes(b"text")

    with pytest.raises(ImageError) as caught:
        read_image(path)

    assert "a\\n\\x1b[2Kbirefnet: 1 cutout.png: not an image" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_pipe_is_read(tmp_path):
    """As `<(…)` and /dev/stdin are: it can't be sought."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = encoded(PHOTO, "TIFF")
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()

    picture = read_image(pipe)

    writer.join()
    np.testing.assert_array_equal(picture.pixels, np.asarray(PHOTO))


def test_a_pipe_without_end_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MOST_PIPE_BYTES", 10_000_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def pour():
        with contextlib.suppress(BrokenPipeError), open(pipe, "wb") as stream:
            while True:
                stream.write(b"x" * 100_000)

    writer = threading.Thread(target=pour)
    writer.start()

    with pytest.raises(ImageError, match="from a pipe; save"):
        read_image(pipe)
    writer.join()


def test_pixels_beyond_the_limit_are_refused_before_they_are_decoded():
    content = encoded(PHOTO, "PNG")

    assert read_image(content, max_pixels=2400).size == (40, 60)
    with pytest.raises(ImageError, match=r"60 x 40 pixels.* 0\.002399 .*; max_pixels"):
        read_image(content[:100], max_pixels=2399)


def test_a_limit_beyond_pillows_is_the_limit():
    """A phone's 200 megapixels; Pillow's bound is the process's and comes back."""
    before = Image.MAX_IMAGE_PIXELS
    content = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    with pytest.raises(ImageError, match=r"safely: .* raises the limit"):
        read_image(content)

    with open_image(content, max_pixels=200_000_000) as (image, _):
        assert image.size == (20_000, 10_000)
    with pytest.raises(ImageError, match=r"20000 x 10000 .* 199 megapixels"):
        read_image(content, max_pixels=199_000_000)

    assert before == Image.MAX_IMAGE_PIXELS


MEMORY = """
import sys
from pathlib import Path
from birefnet_runtime.images.read import decode, decoded_bytes, open_image, picture_bytes

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

with open_image(sys.argv[1]) as (image, name):
    decode(image, name)
with open_image(sys.argv[2]) as (image, name):
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, expected, kept = status("VmRSS"), decoded_bytes(image), picture_bytes(image)
    picture = decode(image, name)
    peak = status("VmHWM") - before
held = picture.pixels.nbytes + (0 if picture.opacity is None else picture.opacity.nbytes)
print(peak, expected, kept, held)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
@pytest.mark.parametrize("kind", ["1", "RGBA", "16 bits", "WEBP"])
def test_the_memory_of_decoding_is_known_from_the_header(tmp_path, kind):
    large = Image.linear_gradient("L").resize((2400, 1800)).convert("RGB")
    large.putalpha(Image.radial_gradient("L").resize(large.size))
    if kind == "16 bits":
        write_image(tmp_path / "large", np.asarray(large).astype(np.uint16) * 257, Encoding(PNG))
    else:
        large.convert("1" if kind == "1" else "RGBA").save(
            tmp_path / "large", "WEBP" if kind == "WEBP" else "PNG"
        )
    large.resize((40, 30)).save(tmp_path / "small", "PNG")
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "small"), str(tmp_path / "large")]

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    peak, expected, kept, held = map(int, done.stdout.split())
    assert kept == held
    assert held < peak <= expected < 3 * peak + (64 << 20)


def test_turning_a_picture_takes_a_second_copy_of_it():
    """Of four bytes a pixel, as Pillow holds RGB; the orientation may come behind the pixels."""
    with open_image(encoded(Image.new("RGB", (3000, 2000)), "PNG")) as (image, _):
        assert decoded_bytes(image) >= 2 * 4 * 3000 * 2000


@settings(max_examples=150, deadline=5000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_bytes_are_a_picture_or_an_error(data):
    """Bytes at random, and files of every format with some of theirs replaced."""
    start = data.draw(st.sampled_from([b"", *SEEDS]))
    content = bytearray(start[: data.draw(st.integers(0, len(start)))] if start else b"")
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8)
    ):
        if content:
            content[position % len(content)] = value
    content += data.draw(st.binary(max_size=200))

    try:
        picture = read_image(bytes(content), max_pixels=1_000_000)
    except BirefnetError:
        return
    assert picture.pixels.shape == (*picture.size, 3)
    assert picture.opacity is None or picture.opacity.shape == picture.size


def test_the_size_is_known_without_decoding(tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", (60, 40)).save(path)

    assert pixels_of(path) == 2400
    assert pixels_of(path.read_bytes()[:60]) == 2400, "only the header is read"
    assert pixels_of(tmp_path / "none.png") == 0
    assert pixels_of(b"no image") == 0


def test_open_files_and_views_are_read_from_their_start_and_stay_open(tmp_path):
    content = encoded(Image.fromarray(CORNERS), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    stream = io.BytesIO(content)
    stream.seek(9)
    with open(tmp_path / "a.png", "rb") as file:
        for source in (stream, file, file, memoryview(content), bytearray(content)):
            np.testing.assert_array_equal(read_image(source).pixels, CORNERS)
        assert not file.closed
    assert not stream.closed


def test_a_pipe_that_is_open_is_read():
    reading, writing = os.pipe()
    os.write(writing, encoded(Image.fromarray(CORNERS), "PNG"))
    os.close(writing)
    with open(reading, "rb") as file:
        np.testing.assert_array_equal(read_image(file).pixels, CORNERS)


def test_files_that_cannot_be_images_are_refused_by_what_is_wrong(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(CORNERS), "PNG"))
    with open(tmp_path / "a.png", "rb") as closed:
        pass
    with open(tmp_path / "a.png") as text, pytest.raises(ImageError, match=r"a\.png.*mode 'rb'"):
        read_image(text)
    with pytest.raises(ImageError, match=r"a\.png.*closed"):
        read_image(closed)
    with pytest.raises(ImageError, match=r"a path.*got dict"):
        read_image({})


def test_an_orientation_in_xmp_alone_counts_for_nothing():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
    xmp += b"</rdf:RDF></x:xmpmeta>"
    exif = Image.Exif()
    exif[0x0112] = 3
    for form in ("JPEG", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        if form == "TIFF":
            options["tiffinfo"] = {700: xmp}
        elif form != "PNG":
            options["xmp"] = xmp
        plain = encoded(Image.new("RGB", (4, 6)), form, **options)
        assert read_image(plain).size == (6, 4), form
        if form in {"WEBP", "PNG"}:
            both = encoded(Image.fromarray(CORNERS), form, exif=exif.tobytes(), **options)
            np.testing.assert_array_equal(read_image(both).pixels, CORNERS[::-1, ::-1], form)


@pytest.mark.parametrize(("bits", "key"), [(1, 1), (2, 2), (4, 5)])
def test_the_transparent_gray_of_few_bits(make_png, make_chunk, bits, key):
    levels = np.array([[0, 1]] if bits == 1 else [[0, 1, 2, 3, key]], np.uint8)
    chunk = make_chunk(b"tRNS", key.to_bytes(2, "big"))

    picture = read_image(make_png(levels, 0, chunk, bits=bits))

    assert picture.opacity.tolist() == np.where(levels == key, 0, 255).tolist()


def test_a_phones_jpeg_of_two_pictures_without_its_last_bytes_is_read():
    stream = io.BytesIO()
    first = Image.linear_gradient("L").convert("RGB")
    first.save(stream, "MPO", save_all=True, append_images=[first])
    whole = stream.getvalue()
    assert Image.open(stream).format == "MPO"
    end = whole.index(b"\xff\xd9")  # of the first picture, which is the one that is read

    np.testing.assert_array_equal(read_image(whole[:end]).pixels, read_image(whole).pixels)


def test_memory_of_what_is_read_is_counted_by_kind():
    """16-bit gray takes two bytes a channel; what is turned is in memory twice; a progressive JPEG
    has the coefficients of all scans."""
    gray = encoded(Image.fromarray(np.zeros((70, 90), np.uint16)), "TIFF")
    with open_image(gray) as (image, _):
        assert read.picture_bytes(image) == read_image(gray).pixels.nbytes == 70 * 90 * 6
    photograph = Image.new("RGB", (3000, 2000))
    sizes = {}
    for progressive in (False, True):
        with open_image(encoded(photograph, "JPEG", progressive=progressive)) as (image, _):
            sizes[progressive] = decoded_bytes(image)
    assert sizes[False] - read._STRIPS_BYTES >= 2 * 4 * 3000 * 2000
    assert sizes[True] > sizes[False]
