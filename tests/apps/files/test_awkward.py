"""A folder of awkward files, made by other programs, in one command: the right answer for each.

The core is made of raw bytes here and is always there; ImageMagick and ffmpeg add to it where they
are installed.
"""

import importlib.util
import io
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.cli import main as cli
from birefnet_runtime.images.read import read_image
from click.testing import CliRunner
from PIL import Image, ImageCms

MAGICK = next((tool for tool in ("magick", "convert-im6.q16") if shutil.which(tool)), None)
SUBJECT = (250, 240, 230)
SIZE = (40, 60)
"""Of the test picture, (height, width): its left third is bright, the rest near black."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(pixels: np.ndarray, color_type: int, *extra: bytes, size=None) -> bytes:
    """A PNG from the specification: unfiltered rows."""
    height, width = size or pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    stride = len(rows) // max(1, pixels.shape[0])
    body = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride or 1))
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, color_type, 0, 0, 0)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(body))]
    ) + chunk(b"IEND", b"")


def scene(depth: type = np.uint8) -> np.ndarray:
    """(H, W, 3) RGB."""
    pixels = np.zeros((*SIZE, 3), depth)
    pixels[:, :20] = np.array(SUBJECT) * (257 if depth is np.uint16 else 1)
    return pixels


def tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """A big-endian, uncompressed TIFF from the specification."""
    height, width, channels = pixels.shape
    body = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    bits = struct.pack(">HHH", *[8 * pixels.dtype.itemsize] * 3)
    fields = [
        (256, 4, 1, struct.pack(">I", width)),
        (257, 4, 1, struct.pack(">I", height)),
        (258, 3, 3, struct.pack(">I", 8 + len(body))),
        (259, 3, 1, struct.pack(">HH", 1, 0)),
        (262, 3, 1, struct.pack(">HH", 2, 0)),
        (273, 4, 1, struct.pack(">I", 8)),
        (274, 3, 1, struct.pack(">HH", orientation, 0)),
        (277, 3, 1, struct.pack(">HH", channels, 0)),
        (278, 4, 1, struct.pack(">I", height)),
        (279, 4, 1, struct.pack(">I", len(body))),
    ]
    entries = b"".join(struct.pack(">HHI", tag, kind, n) + value for tag, kind, n, value in fields)
    place = 8 + len(body) + len(bits)
    return (
        struct.pack(">2sHI", b"MM", 42, place) + body + bits
        + struct.pack(">H", len(fields)) + entries + b"\0\0\0\0"
    )  # fmt: skip


def bmp(pixels: np.ndarray) -> bytes:
    """24-bit, bottom row first."""
    height, width, _ = pixels.shape
    body = pixels[::-1, :, ::-1].tobytes()
    assert width * 3 % 4 == 0
    return (
        struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 0, 0, 0, 0)
        + body
    )


def turned_jpeg(pixels: np.ndarray, orientation: int) -> bytes:
    """Pillow's JPEG with an APP1 segment from the EXIF specification put in by hand."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=98, subsampling=0)
    directory = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + struct.pack(">2sHI", b"MM", 42, 8) + directory
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return stream.getvalue()[:2] + segment + stream.getvalue()[2:]


def core() -> dict[str, bytes]:
    """Good files, by name."""
    eight, sixteen = scene(), scene(np.uint16)
    opaque = np.full(SIZE, 255, np.uint8)
    faint = opaque.copy()
    faint[:20] = 51
    index = (eight[..., 0] > 100).astype(np.uint8)
    palette = chunk(b"PLTE", bytes((0, 0, 0, *SUBJECT)))
    return {
        "rgb.png": png(eight, 2),
        "rgb16.png": png(sixteen, 2),
        "rgba16.png": png(np.dstack([sixteen, faint.astype(np.uint16) * 257]), 6),
        "faint.png": png(np.dstack([eight, faint]), 6),
        "gray.png": png(eight[..., 0], 0),
        "gray16.png": png(sixteen[..., 0], 0),
        "grayalpha.png": png(np.dstack([eight[..., 0], opaque]), 4),
        "palette.png": png(index, 3, palette),
        "keyed.png": png(index, 3, palette, chunk(b"tRNS", bytes([0]))),
        "upright.tif": tiff(np.rot90(eight), 6),
        "upright16.tif": tiff(np.rot90(sixteen), 6),
        "turned.jpg": turned_jpeg(np.rot90(eight), 6),
        "plain.bmp": bmp(eight),
        "plain.ppm": b"P6 60 40 255\n" + eight.tobytes(),
        "mislabeled.jpg": png(eight, 2),
    }


def broken() -> dict[str, tuple[bytes, str]]:
    """Bad files, and what is to be said of each."""
    eight = scene()
    noise = np.random.default_rng(1).integers(0, 65536, (*SIZE, 3)).astype(np.uint16)
    return {
        "empty.jpg": (b"", "the file is empty"),
        "text.png": (b"hello, this is not an image", "not an image"),
        "cut.png": (png(noise.astype(np.uint8), 2)[:5000], "damaged"),
        "cut16.png": (png(noise, 2)[:5000], "damaged"),
        "cut16.tif": (tiff(noise, 1)[:9000], "not an image"),  # its directory comes last
        "zero.png": (png(eight, 2, size=(0, 60)), ""),
        "bomb.png": (png(eight, 2, size=(60_000, 60_000)), "too large to be read safely"),
        "half.heic": (struct.pack(">I4s4s", 24, b"ftyp", b"avif") + b"\0" * 40, ""),
    }


def by_magick(folder: Path, run: Callable[..., None]) -> None:
    """JPEG, TIFF, GIF, WebP and more as ImageMagick writes them."""
    source = folder.parent / "scene.png"
    source.write_bytes(png(scene(), 2))
    for name, *options in (
        ("baseline.jpg", "-quality", 98),
        ("progressive.jpg", "-interlace", "JPEG", "-quality", 98),
        ("gray.jpg", "-colorspace", "Gray", "-quality", 98),
        ("cmyk.jpg", "-colorspace", "CMYK", "-quality", 98),
        ("lzw.tif", "-compress", "LZW"),
        ("jpeg.tif", "-compress", "JPEG", "-quality", 98),
        ("cmyk.tif", "-colorspace", "CMYK"),
        ("lab.tif", "-colorspace", "Lab"),
        ("planes16.tif", "-depth", 16, "-interlace", "Plane"),
        ("zip16.tif", "-depth", 16, "-compress", "Zip"),
        ("interlaced16.png", "-interlace", "PNG", "-define", "png:bit-depth=16"),
        ("still.gif",),
        ("lossy.webp", "-quality", 95),
        ("photo.jp2",),
    ):
        run(source, *options, folder / f"magick-{name}")
    run("-delay", 20, source, "(", source, "-flop", ")", "-loop", 0, folder / "magick-moving.gif")
    run(source, "-rotate", 270, "-orient", "RightTop", folder / "magick-turned.tif")
    heic = ["magick-photo.heic"] if importlib.util.find_spec("pillow_heif") else []
    for name in ("magick-photo.avif", *heic):
        try:
            run(source, "-quality", 95, folder / name)
        except subprocess.CalledProcessError:
            print(f"this ImageMagick writes no {name}")


def by_ffmpeg(folder: Path) -> None:
    """An animated WebP and a JPEG of another encoder."""
    source = folder.parent / "scene.png"
    source.write_bytes(png(scene(), 2))
    for name, *options in (
        ("ffmpeg.jpg", "-q:v", "1", "-pix_fmt", "yuvj444p"),
        ("ffmpeg.webp", "-lossless", "1", "-loop", "0"),
        ("ffmpeg.png", "-pix_fmt", "rgb48be"),
    ):
        command = ["ffmpeg", "-v", "error", "-i", str(source), *options, str(folder / name)]
        subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("awkward") / "in"
    folder.mkdir()
    for name, content in core().items():
        (folder / name).write_bytes(content)
    if MAGICK:

        def run(*arguments: object) -> None:
            command = [MAGICK, *map(str, arguments)]
            subprocess.run(command, check=True, capture_output=True)

        by_magick(folder, run)
    else:
        print("ImageMagick isn't installed: its files are left out")
    if shutil.which("ffmpeg"):
        by_ffmpeg(folder)
    else:
        print("ffmpeg isn't installed: its files are left out")
    return folder


@pytest.fixture(scope="module")
def outcome(folder, model):
    """The whole folder, with broken files among the good ones, in one command."""
    for name, (content, _) in broken().items():
        (folder / name).write_bytes(content)
    out = folder.parent / "out"
    result = CliRunner().invoke(
        cli.main,
        ["cutout", str(folder), "-o", str(out), "-m", str(model), "--foreground", "none", "--json"],
    )
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return result, {Path(record["input"]).name: record for record in records}


def test_every_file_has_its_line(folder, outcome):
    result, records = outcome

    assert result.exit_code == 1, result.stderr
    assert sorted(records) == sorted(path.name for path in folder.iterdir())


def test_every_good_file_is_cut_out_right(folder, outcome):
    """Upright, with its colors, the subject where it is, existing alpha multiplied in."""
    _, records = outcome
    good = [path.name for path in folder.iterdir() if path.name not in broken()]
    assert len(good) >= len(core())
    for name in good:
        record = records[name]
        assert "error" not in record, record
        assert record["image_size"] == list(SIZE), name
        assert record["found"], name
        cut = read_image(record["output"])
        scale = np.iinfo(cut.pixels.dtype).max / 255
        alpha = cut.opacity / scale
        inside = alpha[22:38, 3:15]
        np.testing.assert_allclose(inside, 255, atol=3, err_msg=name)
        assert alpha[22:38, 30:].max() < 5, name
        expected = SUBJECT if "gray" not in name else None
        shown = cut.pixels[22:38, 3:15].mean((0, 1)) / scale
        if expected:
            np.testing.assert_allclose(shown, expected, atol=9, err_msg=name)
        if name in {"faint.png", "rgba16.png"}:
            np.testing.assert_allclose(alpha[3:17, 3:15], 51, atol=1, err_msg=name)


def test_sixteen_bits_stay_sixteen(outcome):
    _, records = outcome
    deep = [name for name in records if "16" in name and "cut" not in name and "planes" not in name]
    assert len(deep) >= 4
    for name in deep:
        assert read_image(records[name]["output"]).pixels.dtype == np.uint16, name


def test_every_bad_file_has_an_error_that_names_it(folder, outcome):
    result, records = outcome
    for name, (_, says) in broken().items():
        error = records[name]["error"]
        assert error.startswith(f"{folder / name}: "), name
        assert says in error, name
        assert result.stderr.count(f"birefnet: {error}") == 1
        assert not (folder.parent / "out" / f"{name}.png").exists()
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("size", "box"), [((1, 1), 1), ((1, 4000), 4000), ((4000, 1), 4000)])
def test_slender_pictures(model, tmp_path, size, box):
    (tmp_path / "in.png").write_bytes(png(np.full(size, 255, np.uint8), 0))

    for extra in ((), ("--crop",), ("--background", "blur"), ("--size", "auto"), ("--mask",)):
        result = CliRunner().invoke(
            cli.main,
            ["cutout", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"),
             "-m", str(model), *extra],
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        with Image.open(tmp_path / "out.png") as opened:
            assert (opened.height, opened.width) == size


def display_p3_like() -> bytes:
    """An RGB profile that is not sRGB: red and green swapped, so that any conversion shows."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {}
    (count,) = struct.unpack_from(">I", profile, 128)
    for at in range(132, 132 + 12 * count, 12):
        places[bytes(profile[at : at + 4])] = at
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def test_the_profile_stays_and_the_network_gets_srgb(model, tmp_path):
    """Red in that profile is green to the eye: the network sees green, the file stays as it is."""
    from birefnet_runtime import Segmenter
    from birefnet_runtime.model.graph_io import to_tensor

    profile = display_p3_like()
    red = np.zeros((*SIZE, 3), np.uint8)
    red[..., 0] = 255
    source = tmp_path / "red.png"
    source.write_bytes(png(red, 2, chunk(b"iCCP", b"swapped\0\0" + zlib.compress(profile))))

    tensor = to_tensor(read_image(source), (32, 32), (0, 0, 0), (1, 1, 1))
    seen = tensor[0].mean((1, 2))
    result = Segmenter(model).compose(source)
    result.save(tmp_path / "out.webp")
    result.save(tmp_path / "out.tif")

    assert seen[1] > 0.9
    assert seen[0] < 0.2
    np.testing.assert_array_equal(read_image(source).pixels, red)
    for name in ("out.webp", "out.tif"):
        with Image.open(tmp_path / name) as opened:
            assert opened.info["icc_profile"] == profile


def test_a_broken_profile_is_left_out(tmp_path):
    profile = bytearray(display_p3_like())
    for damaged in (bytes(profile[:100]), b"junk" * 50, bytes(profile[:300])):
        content = png(scene(), 2, chunk(b"iCCP", b"x\0\0" + zlib.compress(damaged)))
        picture = read_image(content)
        np.testing.assert_array_equal(picture.pixels, scene())
        assert picture.profile is None
    whole = png(scene(), 2, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(profile))))
    assert read_image(whole).profile == bytes(profile)


def test_a_gray_profile_is_applied():
    """A linear gray: half the light is 188 in sRGB, in 8 bits and in 16."""
    linear = gray_profile(1.0)
    extra = chunk(b"iCCP", b"linear\0\0" + zlib.compress(linear))
    for depth, scale in ((np.uint8, 1), (np.uint16, 257)):
        picture = read_image(png(np.full((4, 4), 128 * scale, depth), 0, extra))
        assert picture.pixels.dtype == depth
        np.testing.assert_allclose(picture.pixels / scale, 188, atol=2)
        assert picture.profile is None
        veiled = read_image(png(np.full((4, 4, 2), 128 * scale, depth), 4, extra))
        np.testing.assert_array_equal(veiled.pixels, picture.pixels)
        assert (veiled.opacity == 128 * scale).all()
        white = read_image(png(np.full((4, 4), 255 * scale, depth), 0, extra))
        assert (white.pixels == 255 * scale).all()


def gray_profile(gamma: float) -> bytes:
    """A gray ICC profile, version 2, from the specification."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"linear\0"
    about = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * (78 + 1)
    tags, body, place = [], b"", 128 + 4 + 12 * 3
    for name, content in ((b"desc", about), (b"wtpt", white), (b"kTRC", curve)):
        content += b"\0" * (-len(content) % 4)
        tags.append(name + struct.pack(">II", place + len(body), len(content)))
        body += content
    head = bytearray(128)
    head[8:12] = b"\x02\x40\0\0"
    head[12:24] = b"mntrGRAYXYZ "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    table = struct.pack(">I", 3) + b"".join(tags)
    head[0:4] = struct.pack(">I", 128 + len(table) + len(body))
    return bytes(head) + table + body


@pytest.mark.skipif(
    not Path("/usr/share/color/icc/ghostscript/default_cmyk.icc").exists(),
    reason="no CMYK profile on this machine",
)
def test_cmyk_goes_through_its_profile():
    profile = Path("/usr/share/color/icc/ghostscript/default_cmyk.icc").read_bytes()
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    stream = io.BytesIO()
    cmyk.save(stream, "TIFF", icc_profile=profile)

    picture = read_image(stream.getvalue())

    assert picture.profile is None
    red, green, blue = picture.pixels[4, 4]
    assert red < 60
    assert 120 < green < 200, "printed cyan is no (0, 255, 255)"
    assert blue > 180
