"""Weigh, read, finish: regions, smaller results, what is transparent, and what they take."""

import io
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.files import steps
from birefnet_apps.files.steps import RegionError, Task, budget, shrunk, weigh
from birefnet_runtime import Segmenter
from birefnet_runtime.cutout.layout import Length
from birefnet_runtime.cutout.memory import SLACK_BYTES
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.images.write import Encoding, format_named
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def made(task: Task, model: Path):
    segmenter = Segmenter(model)
    ready = steps.read(task, segmenter)
    (prediction,) = segmenter.run([ready.prepared])
    return steps.finish(task, ready, prediction, segmenter)


def region(*pixels: float, relative: bool = False):
    left, top, right, bottom = (Length(each, relative) for each in pixels)
    return left, top, right, bottom


@pytest.fixture
def bright() -> np.ndarray:
    """uint8 (100, 200, 3): subject everywhere."""
    return np.full((100, 200, 3), 255, np.uint8)


def test_pixels_of_a_region_are_those_of_the_picture_as_it_came(model, bright):
    task = Task(png(bright), "a", region=region(0, 0, 100, 100), most_pixels=200)

    alpha = made(task, model).pixels[..., 3]

    assert alpha.shape == (10, 20)
    assert (alpha[:, :10] > 200).all()
    assert (alpha[:, 10:] == 0).all()


@pytest.mark.parametrize("place", [(200, 0, 200, 100), (0, 100, 50, 100), (80, 0, 20, 50)])
def test_a_region_beside_the_picture_is_an_error(model, bright, place):
    with pytest.raises(RegionError):
        steps.read(Task(png(bright), "a", region=region(*place)), Segmenter(model))


def test_what_is_transparent_is_no_more_seen_in_a_region_than_without(model, bright):
    pixels = np.dstack([np.zeros_like(bright), np.zeros((100, 200), np.uint8)])
    pixels[:, :100, 3] = 255
    whole = region(0, 0, 1, 1, relative=True)

    parts = [made(Task(png(pixels), "a", region=each), model).subject for each in (None, whole)]

    assert parts[0] == parts[1]


def test_hidden_colors_do_not_bleed_into_a_smaller_picture():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :31, 0], pixels[:, 31:, 1] = 255, 255
    opacity = np.zeros((64, 64), np.uint8)
    opacity[:, :31] = 255

    small = shrunk(Picture(pixels, opacity, None), 100)

    assert small.size == (10, 10)
    assert small.opacity is not None
    assert 0 < small.opacity[:, 4].max() < 255, "the border lies within a pixel"
    assert small.pixels[small.opacity > 0][:, 1].max() == 0


def test_what_all_pictures_may_take_leaves_the_rest_its_memory():
    assert budget(None) > 1e9
    assert budget(500e6) == 500e6 - SLACK_BYTES
    assert budget(500e6, 100e6) == 400e6 - SLACK_BYTES


def test_a_weight_is_of_the_header_alone(bright):
    content = png(bright)

    weight = weigh(Task(content[:60], "a"))

    assert (weight.size, weight.pixels, weight.kind) == ((100, 200), 20_000, "PNG")
    assert weight.bytes > 20_000 * 7


@pytest.mark.parametrize("name", ["png", "webp", "tiff"])
def test_bytes_of_a_result_are_the_file_that_it_saves(model, bright, tmp_path, name):
    result = made(Task(png(bright), "a"), model)
    encoding = Encoding(format_named(name))

    result.save(tmp_path / "file", encoding)

    assert result.encode(encoding) == (tmp_path / "file").read_bytes()
