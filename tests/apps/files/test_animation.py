import io
import struct
import zlib

import numpy as np
import pytest
from birefnet_apps.files.animation import cut_out_frames
from birefnet_apps.files.jobs import Job
from birefnet_runtime import Canvas, ImageError, OutputError, Segmenter, Style
from birefnet_runtime.images.pillow_settings import is_animated
from birefnet_runtime.images.read import open_image
from birefnet_runtime.images.write import JPEG, PNG, WEBP, Encoding
from PIL import Image, ImageCms, ImageSequence


def moving(frames: int = 4, form: str = "GIF", **changed) -> bytes:
    """A white block that moves to the right, before black."""
    images = []
    for frame in range(frames):
        pixels = np.zeros((40, 80, 3), np.uint8)
        pixels[:, 16 * frame : 16 * frame + 16] = 255
        images.append(Image.fromarray(pixels))
    stream = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    options |= {"duration": [40, 70, 100, 130][:frames], "loop": 3} | changed
    options = {name: value for name, value in options.items() if value is not None}
    images[0].save(stream, form, save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("encoding", [Encoding(WEBP, lossless=True), Encoding(PNG)])
def test_every_frame_is_cut_out_and_shown_as_long(model, tmp_path, source, encoding):
    target = tmp_path / f"out{encoding.format.suffixes[0]}"
    job = Job(tmp_path / "in", target)

    done = cut_out_frames(moving(form=source), job, Segmenter(model), Style(), encoding)

    assert (done.frames, done.image_size) == (4, (40, 80))
    assert done.subject.found
    with Image.open(target) as result:
        assert result.n_frames == 4
        assert result.info["loop"] == 3
        for number, frame in enumerate(ImageSequence.Iterator(result)):
            alpha = np.asarray(frame.convert("RGBA"))[..., 3]
            assert alpha[:, 16 * number + 3 : 16 * number + 13].min() > 250
            elsewhere = np.delete(alpha, slice(max(0, 16 * number - 3), 16 * number + 19), axis=1)
            assert elsewhere.max() < 3
            assert frame.info["duration"] == [40, 70, 100, 130][number]


def test_one_frame_is_no_animation_and_pages_are_none_either():
    still, pages = io.BytesIO(), io.BytesIO()
    images = [Image.new("L", (4, 4), level) for level in (0, 255)]
    images[0].save(still, "GIF")
    images[0].save(pages, "TIFF", save_all=True, append_images=images[1:])

    assert is_animated(opened(moving()))
    assert not is_animated(Image.open(still))
    assert not is_animated(Image.open(pages))


@pytest.mark.parametrize(
    ("style", "form", "says"),
    [
        (Style(), JPEG, "animations are written as WebP or PNG"),
        (Style(crop=0), WEBP, "can't be cropped"),
        (Style(layout=Canvas(1.0)), WEBP, "or put on a canvas"),
    ],
)
def test_what_an_animation_cannot_be(model, tmp_path, style, form, says):
    job = Job(tmp_path / "in.gif", tmp_path / "out")

    with pytest.raises(OutputError, match=says):
        cut_out_frames(moving(), job, Segmenter(model), style, Encoding(form))


def cut_out(content: bytes, model, target, encoding: Encoding):
    job = Job(target.parent / "in.gif", target)
    return cut_out_frames(content, job, Segmenter(model), Style(), encoding)


@pytest.mark.parametrize("encoding", [Encoding(WEBP, lossless=True), Encoding(PNG)])
def test_frames_of_no_time_are_shown_as_long_as_browsers_show_them(model, tmp_path, encoding):
    target = tmp_path / f"out{encoding.format.suffixes[0]}"

    cut_out(moving(duration=0), model, target, encoding)

    with Image.open(target) as result:
        for frame in ImageSequence.Iterator(result):
            frame.load()
            assert frame.info["duration"] == 100


@pytest.mark.parametrize("encoding", [Encoding(WEBP, lossless=True), Encoding(PNG)])
def test_what_plays_once_plays_once(model, tmp_path, encoding):
    target = tmp_path / f"out{encoding.format.suffixes[0]}"

    cut_out(moving(loop=None), model, target, encoding)

    with Image.open(target) as result:
        assert result.info["loop"] == 1


def test_a_still_image_before_the_frames_is_none_of_them(model, tmp_path):
    """The default image of an animated PNG, for programs that know no frames; all white here."""
    stream = io.BytesIO()
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(opened(moving()))]
    Image.new("RGB", (80, 40), "white").save(
        stream, "PNG", save_all=True, append_images=frames, default_image=True, duration=50
    )

    done = cut_out(stream.getvalue(), model, tmp_path / "out.webp", Encoding(WEBP, lossless=True))

    assert done.frames == 4
    with Image.open(tmp_path / "out.webp") as result:
        assert result.n_frames == 4
        assert np.asarray(result.convert("RGBA"))[20, 60, 3] < 3, "the first frame is black there"


def test_a_still_image_and_one_frame_are_no_animation():
    stream = io.BytesIO()
    images = [Image.new("RGB", (4, 4), color) for color in ("white", "black")]
    images[0].save(stream, "PNG", save_all=True, append_images=images[1:], default_image=True)

    assert opened(stream.getvalue()).n_frames == 2
    assert not is_animated(opened(stream.getvalue()))


@pytest.mark.parametrize("encoding", [Encoding(WEBP), Encoding(PNG)])
def test_a_damaged_frame_is_the_inputs_fault(model, tmp_path, encoding):
    content = moving()
    target = tmp_path / "new" / "out"

    with pytest.raises(ImageError, match=r"in\.gif: the image is damaged: "):
        cut_out(content[: len(content) - 40], model, target, encoding)
    assert not target.parent.exists()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def animated_png(frames: list[np.ndarray], color_type: int, *, default: bool) -> bytes:
    """An animated PNG from its specification; with `default` the first picture is no frame."""
    height, width = frames[0].shape[:2]
    bits = 8 * frames[0].dtype.itemsize
    content = b"\x89PNG\r\n\x1a\n"
    content += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    content += chunk(b"acTL", struct.pack(">II", len(frames) - default, 0))
    sequence = 0
    for number, frame in enumerate(frames):
        rows = frame.astype(frame.dtype.newbyteorder(">")).reshape(height, -1)
        body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
        if number or not default:
            place = struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, 1, 10, 0, 0)
            content += chunk(b"fcTL", place)
            sequence += 1
        if number:
            content += chunk(b"fdAT", struct.pack(">I", sequence) + body)
            sequence += 1
        else:
            content += chunk(b"IDAT", body)
    return content + chunk(b"IEND", b"")


@pytest.mark.parametrize("color_type", [0, 2, 4, 6])
def test_frames_of_16_bits(model, tmp_path, color_type):
    """Gray and color, without and with alpha; the block is lighter than a middle gray."""
    frames = []
    for number in range(3):
        frame = np.zeros((40, 80, {0: 1, 2: 3, 4: 2, 6: 4}[color_type]), np.uint16)
        frame[:, 20 * number : 20 * number + 20] = 250 * 257
        if color_type in {4, 6}:
            frame[..., -1] = 65535
        frames.append(frame)
    content = animated_png(frames, color_type, default=False)
    job = Job(tmp_path / "in.png", tmp_path / "out.png")

    done = cut_out_frames(content, job, Segmenter(model), Style(foreground="none"), Encoding(PNG))

    assert done.frames == 3
    with Image.open(job.target) as result:
        for number, frame in enumerate(ImageSequence.Iterator(result)):
            pixels = np.asarray(frame.convert("RGBA"))[:, 20 * number + 4 : 20 * number + 16]
            assert pixels[..., 3].min() > 245
            np.testing.assert_allclose(pixels[..., :3], 250, atol=1)


def test_a_default_image_that_is_no_frame_is_left_out(model, tmp_path):
    frames = [np.full((40, 80, 3), level, np.uint8) for level in (0, 240, 250, 230)]
    for number, frame in enumerate(frames):
        frame[:, : 10 * number] = 0  # or equal frames would be made one
    job = Job(tmp_path / "in.png", tmp_path / "out.webp")

    done = cut_out_frames(
        animated_png(frames, 2, default=True),
        job,
        Segmenter(model),
        Style(foreground="none"),
        Encoding(WEBP, lossless=True),
    )

    assert done.frames == 3
    with Image.open(job.target) as result:
        assert result.n_frames == 3
        for frame, level in zip(ImageSequence.Iterator(result), (240, 250, 230), strict=True):
            assert frame.convert("RGBA").getpixel((60, 20))[0] == level


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_an_animation_that_is_cut_short_blames_the_input(model, tmp_path, form):
    content = moving(form=form)
    job = Job(tmp_path / "in.gif", tmp_path / "out.webp")

    with pytest.raises(ImageError, match=r"in\.gif: the image is damaged"):
        cut_out_frames(
            content[: -len(content) // 4], job, Segmenter(model), Style(), Encoding(WEBP)
        )

    assert not job.target.exists()


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
@pytest.mark.parametrize("encoding", [Encoding(WEBP, lossless=True), Encoding(PNG)])
def test_frames_are_turned_by_the_orientation(model, tmp_path, form, encoding):
    exif = Image.Exif()
    exif[0x0112] = 6  # its left side belongs above
    target = tmp_path / f"out{encoding.format.suffixes[0]}"
    content = moving(form=form, exif=exif.tobytes())

    done = cut_out_frames(
        content, Job(tmp_path / "in", target), Segmenter(model), Style(), encoding
    )

    assert done.image_size == (80, 40)
    with Image.open(target) as result:
        assert (result.size, result.n_frames) == ((40, 80), 4)
        for number, frame in enumerate(ImageSequence.Iterator(result)):
            alpha = np.asarray(frame.convert("RGBA"))[..., 3]
            assert alpha[16 * number + 4 : 16 * number + 12].min() > 250


def test_frames_keep_their_colors_profile(model, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for encoding in (Encoding(WEBP), Encoding(PNG)):
        target = tmp_path / f"out{encoding.format.suffixes[0]}"
        content = moving(form="WEBP", icc_profile=profile)
        cut_out_frames(content, Job(tmp_path / "in", target), Segmenter(model), Style(), encoding)
        with Image.open(target) as result:
            assert result.info["icc_profile"] == profile


def test_a_heic_collection_is_no_animation():
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra heic")
    collection = heif.HeifFile()
    for level in (40, 200):
        collection.add_from_pillow(Image.new("RGB", (64, 64), (level,) * 3))
    stream = io.BytesIO()
    collection.save(stream, primary_index=1)

    with open_image(stream.getvalue()) as (image, _):
        assert image.n_frames == 2
        assert not is_animated(image)
        assert abs(int(np.asarray(image)[0, 0, 0]) - 200) < 5
