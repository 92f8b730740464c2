import io

import numpy as np
import pytest
from birefnet_runtime import OutputError, Segmenter, Style
from birefnet_runtime.batch.animation import cut_out_frames, is_animated
from birefnet_runtime.batch.plan import Job
from birefnet_runtime.images.write import JPEG, PNG, WEBP, Encoding
from PIL import Image, ImageSequence


def moving(frames: int = 4, form: str = "GIF") -> bytes:
    """A white block that moves to the right, before black."""
    images = []
    for frame in range(frames):
        pixels = np.zeros((40, 80, 3), np.uint8)
        pixels[:, 16 * frame : 16 * frame + 16] = 255
        images.append(Image.fromarray(pixels))
    stream = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    images[0].save(
        stream, form, save_all=True, append_images=images[1:], duration=[40, 70, 100, 130][:frames],
        loop=3, **options,
    )  # fmt: skip
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
    ],
)
def test_what_an_animation_cannot_be(model, tmp_path, style, form, says):
    job = Job(tmp_path / "in.gif", tmp_path / "out")

    with pytest.raises(OutputError, match=says):
        cut_out_frames(moving(), job, Segmenter(model), style, Encoding(form))
