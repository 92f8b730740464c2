"""The images that int8 is calibrated with, and what a graph makes of them."""

import os
import warnings

import numpy as np
import pytest
from birefnet_export.errors import PrecisionError
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.signature import INPUT
from birefnet_export.precision.calibration import calibration_images, observe
from birefnet_runtime import ImageError
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore:.* calibrated on:UserWarning")
"""These folders are small on purpose."""


def gray(folder, name: str, level: int) -> None:
    Image.new("RGB", (40, 30), (level,) * 3).save(folder / name)


def levels(images) -> list[int]:
    """The levels of gray images, from the first channel as the network takes it."""
    return [round((float(image[0, 0].mean()) * 0.229 + 0.485) * 255) for image in images]


def test_without_a_folder_there_are_no_images():
    assert list(calibration_images(None, (32, 64))) == []


def test_images_come_in_the_order_of_their_names_at_the_size_asked_for(tmp_path):
    for name, level in (("b.png", 20), ("a.PNG", 10), ("c.jpg", 30), (".d.png", 40)):
        gray(tmp_path, name, level)
    (tmp_path / "notes.txt").write_text("no image")

    images = calibration_images(tmp_path, (32, 64))
    assert {image.shape for image in images} == {(1, 3, 32, 64)}
    assert levels(images) == [10, 20, 30]


def test_of_many_images_32_are_taken_from_the_first_to_the_last(tmp_path):
    for level in range(63):
        gray(tmp_path, f"{level:02}.png", level)

    assert levels(calibration_images(tmp_path, (32, 32))) == list(range(0, 63, 2))


def test_a_folder_with_one_image_is_too_few_and_two_are_enough(tmp_path):
    gray(tmp_path, "a.png", 1)
    with pytest.raises(PrecisionError, match=r"1 image .* needs 2 at least"):
        calibration_images(tmp_path, (32, 32))

    gray(tmp_path, "b.png", 2)
    assert len(calibration_images(tmp_path, (32, 32))) == 2


def test_an_unreadable_image_is_named_in_one_line(tmp_path):
    gray(tmp_path, "a.png", 1)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])

    with pytest.raises(ImageError, match=r"b\.png") as caught:
        calibration_images(tmp_path, (32, 32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opset", [17, 20])
def test_ranges_are_by_channel_and_over_all_images(opset):
    g = Graph(opset)
    doubled = g.input(INPUT.name, list(INPUT.axes)) * np.float32(2)
    g.output("y", ["batch", 3, "height", "width"], g.op("Neg", doubled))
    model = g.model()
    (name,) = [n.output[0] for n in model.graph.node if n.op_type == "Mul"]
    images = [np.full((1, 3, 2, 2), level, np.float32) for level in (1, -3, 2)]
    for image in images:
        image[:, 2] *= 3

    observed = observe(model, images, [name])
    assert [end.tolist() for end in observed.ranges[name]] == [[-6, -6, -18], [4, 4, 12]]
    assert [float(logits.max()) for logits in observed.logits] == [-2, 18, -4]


def test_a_folder_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for name, reason in (
        ("none", "no such folder"),
        ("file", "not a directory"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(
            PrecisionError, match=f"{name}: .*{reason}; --calibrate wants a folder"
        ) as caught:
            calibration_images(tmp_path / name, (32, 32))
        assert "\n" not in str(caught.value)


def test_what_is_no_file_is_no_image(tmp_path):
    """A pipe would be waited for, and a folder can't be read."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.png").symlink_to("nowhere")

    with pytest.raises(PrecisionError, match="no images in"):
        calibration_images(tmp_path, (32, 32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_any_kind_and_of_one_pixel_calibrate(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    for name in ("a", "b"):
        Image.new(mode, (1, 1)).save(tmp_path / f"{name}.{suffix}")

    images = calibration_images(tmp_path, (32, 64))
    assert [image.shape for image in images] == [(1, 3, 32, 64)] * 2
    assert all(np.isfinite(image).all() for image in images)


@pytest.mark.parametrize(("count", "warned"), [(11, True), (12, False)])
def test_fewer_than_a_dozen_images_are_few(tmp_path, recwarn, count, warned):
    warnings.simplefilter("always")
    for level in range(count):
        gray(tmp_path, f"{level:02}.png", level)

    calibration_images(tmp_path, (32, 32))

    assert any("give 12" in str(each.message) for each in recwarn) == warned
