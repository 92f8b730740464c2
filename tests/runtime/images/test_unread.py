"""Raw files by their content: their first bytes, or the tags of a TIFF."""

import io
import struct

import numpy as np
import pytest
import tifffile
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import read_image
from birefnet_runtime.images.unread import raw_kind, tiff_directories
from PIL import Image

PREVIEW = np.full((10, 16, 3), 99, np.uint8)
SENSOR = np.zeros((40, 64), np.uint16)


def tiff_with_sensor(photometric: int | None, *, reduced: bool = False, dng: bool = False) -> bytes:
    """A TIFF as cameras write them: a preview first, the sensor's values in a SubIFD."""
    stream = io.BytesIO()
    tags = [(50706, "B", 4, bytes([1, 4, 0, 0]), True)] if dng else []
    with tifffile.TiffWriter(stream) as writer:
        writer.write(
            PREVIEW,
            photometric="rgb",
            subfiletype=1 if reduced else 0,
            subifds=1 if photometric is not None else 0,
            extratags=tags,
            metadata=None,
        )
        if photometric is not None:
            sensor = np.dstack([SENSOR] * 3) if photometric == 34892 else SENSOR
            writer.write(sensor, photometric=photometric, subfiletype=0, metadata=None)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        tiff_with_sensor(32803),
        tiff_with_sensor(34892),
        tiff_with_sensor(1, reduced=True),
        tiff_with_sensor(None, dng=True),
    ],
    ids=["color filter array", "linear raw", "preview and picture", "DNG version"],
)
def test_a_tiff_of_a_camera_is_refused(tmp_path, content):
    path = tmp_path / "photo.tif"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=r"photo\.tif: a raw file \(.*\); develop"):
        read_image(path)


def test_a_plain_tiff_with_a_smaller_copy_is_read():
    """As pyramids have them: the picture first, reduced ones below it."""
    assert read_image(tiff_with_sensor(1)).pixels.tolist() == PREVIEW.tolist()


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"FUJIFILMCCD-RAW 0201FF", "Fujifilm RAF"),
        (b"IIU\0\x18\0\0\0", "Panasonic RW2"),
        (b"IIRO\x08\0\0\0", "Olympus ORF"),
        (b"FOVb\0\0\1\0", "Sigma X3F"),
        (b"\0MRM\0\0\0\0", "Minolta MRW"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon CR3"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"II*\0\x10\0\0\0CR\2\0", "Canon CR2"),
        (b"II*\0\x08\0\0\0IIII", "Phase One IIQ"),
    ],
)
def test_raw_files_are_told_by_their_first_bytes(start, kind):
    assert raw_kind(io.BytesIO(start + b"\0" * 100)) == kind


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # kept back where files are read
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"II*\0", b"II*\0\xff\xff\xff\xff"])
def test_others_are_not(content):
    assert raw_kind(io.BytesIO(content)) is None


def test_directories_that_point_at_each_other_come_to_an_end():
    entry = struct.pack("<HHII", 330, 4, 1, 8)
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + b"\0" * 4

    assert len(tiff_directories(io.BytesIO(loop))) <= 9


def test_a_kind_of_tiff_that_is_not_read_says_which():
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 5, 3), np.uint32), photometric="rgb", metadata=None)

    with pytest.raises(ImageError, match="RGB, 3 channels of"):
        read_image(stream.getvalue())


def baseline_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    return stream.getvalue()


def with_frame(marker: int, bits: int) -> bytes:
    content = bytearray(baseline_jpeg())
    place = content.index(b"\xff\xc0")
    content[place + 1], content[place + 4] = marker, bits
    return bytes(content)


def big_endian_bigtiff() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 5), np.uint8), bigtiff=True, byteorder=">")
    return stream.getvalue()


def tiff_of(**options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, metadata=None, **options)
    return stream.getvalue()


def with_compression(number: int) -> bytes:
    """A TIFF of one strip that isn't what its tag says."""
    content = tiff_of(data=np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    entry = struct.pack("<HHIHH", 259, 3, 1, 1, 0)
    assert entry in content
    return content.replace(entry, struct.pack("<HHIHH", 259, 3, 1, number, 0))


APPLE_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI\x50\0\x20\2\0\0\0\0"
FIVE = np.zeros((4, 5, 5), np.uint8)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (with_frame(0xC1, 12), "a JPEG of 12 bits"),
        (with_frame(0xC3, 8), "lossless"),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x04\0\x04\1\1\x11\0", "a JPEG-LS"),
        (big_endian_bigtiff(), "a big-endian BigTIFF"),
        (
            tiff_of(
                data=FIVE,
                photometric="separated",
                planarconfig="contig",
                extrasamples=["unassalpha"],
            ),
            "CMYK with alpha, 5 channels of 8 bits",
        ),
        (tiff_of(data=np.zeros((4, 5, 3), np.float64), photometric="rgb"), "64 floating-point"),
        (with_compression(50001), "compressed by WebP"),
        (with_compression(34925), "compressed by LZMA"),
        (with_compression(52546), "compressed by JPEG XL"),
        (APPLE_PNG, "Apple's own kind .CgBI"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_kind_of_a_sound_file_that_is_not_read_is_named(content, kind):
    with pytest.raises(ImageError, match=f"{kind}.*save it"):
        read_image(content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", "HTML page"),
        (b"no image", "not an image"),
    ],
)
def test_what_stands_in_a_pictures_place_is_named(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)

    with pytest.raises(ImageError, match=f"a.jpg: .*{what}"):
        read_image(tmp_path / "a.jpg")


def test_a_damaged_file_of_a_kind_that_is_read_is_called_damaged():
    content = with_compression(8)

    with pytest.raises(ImageError, match="damaged"):
        read_image(content)
