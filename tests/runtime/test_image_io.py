import io
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.image_io import read_image, write_png
from PIL import Image

# A colour in each corner, so that any turn or mirror shows.
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
        np.testing.assert_array_equal(read_image(source), CORNERS)


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

    np.testing.assert_array_equal(image, turn(CORNERS))


def test_a_pil_image_is_not_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(encoded(Image.fromarray(CORNERS), "PNG", exif=exif)))

    np.testing.assert_array_equal(read_image(opened), CORNERS)


def test_grey_becomes_three_equal_channels():
    grey = np.array([[0, 100, 255]], np.uint8)

    np.testing.assert_array_equal(
        read_image(encoded(Image.fromarray(grey), "PNG")), np.dstack([grey] * 3)
    )


def test_sixteen_bit_grey_is_scaled_not_clipped():
    grey = np.array([[0, 257 * 200, 65535, 256]], np.uint16)

    image = read_image(encoded(Image.fromarray(grey), "PNG"))

    assert image[0, :, 0].tolist() == [0, 200, 255, 1]


def test_one_bit():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")

    assert read_image(encoded(bits, "PNG"))[0, :, 0].tolist() == [0, 255]


def test_palette():
    image = Image.fromarray(CORNERS).quantize(4)

    np.testing.assert_array_equal(read_image(encoded(image, "PNG")), CORNERS)
    np.testing.assert_array_equal(read_image(encoded(image, "GIF")), CORNERS)


def test_cmyk():
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 30, 60), np.uint8)).convert("CMYK")

    image = read_image(encoded(cmyk, "JPEG", quality=100))

    np.testing.assert_allclose(image[4, 4], (200, 30, 60), atol=4)


def test_alpha_is_composited_over_white():
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8)

    opaque, clear, half = read_image(encoded(Image.fromarray(rgba), "PNG"))[0]

    assert opaque.tolist() == [200, 0, 0]
    assert clear.tolist() == [255, 255, 255]
    np.testing.assert_allclose(half, (227, 127, 127), atol=1)


def test_alpha_of_grey_and_of_a_palette_is_composited_too():
    grey = Image.frombytes("LA", (2, 1), bytes([0, 0, 0, 255]))
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([9, 9, 9, 0, 0, 0])

    assert read_image(encoded(grey, "PNG"))[0, :, 0].tolist() == [255, 0]
    assert read_image(encoded(palette, "PNG", transparency=0))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
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
    np.testing.assert_array_equal(read_image(CORNERS[:, ::-1]), CORNERS[:, ::-1])


PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))


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

    with pytest.raises(ImageError, match="too large to be read safely"):
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
        assert image.dtype == np.uint8
        assert image.ndim == 3
        read += 1
    assert read < 150


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4)])
def test_png_round_trip(tmp_path, shape):
    image = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)

    write_png(tmp_path / "image.png", image)

    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), image)
    assert os.listdir(tmp_path) == ["image.png"]


def test_a_written_file_has_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")

    write_png(tmp_path / "image.png", CORNERS)

    assert (tmp_path / "image.png").stat().st_mode == ordinary.stat().st_mode


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "image.png"
    target.write_bytes(b"old")

    def fail_half_way(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail_half_way)
    with pytest.raises(OutputError, match=r"image\.png: can't be written: no space left"):
        write_png(target, CORNERS)

    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["image.png"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from birefnet_runtime.image_io import write_png
        from PIL import Image

        def die_half_way(self, path, **_):
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        Image.Image.save = die_half_way
        write_png(Path(sys.argv[1]), np.zeros((4, 4, 3), np.uint8))
        """
    )

    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False)

    assert done.returncode == -9
    assert target.read_bytes() == b"old"


def test_writing_where_there_is_no_directory(tmp_path):
    with pytest.raises(OutputError, match="no such file or directory"):
        write_png(tmp_path / "none" / "image.png", CORNERS)
