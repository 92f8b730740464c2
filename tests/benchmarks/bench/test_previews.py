"""What is kept of images and masks to be shown."""

import numpy as np
import pytest
from birefnet_benchmarks.bench.previews import image_files, save_difference, save_mask, save_preview
from birefnet_benchmarks.errors import BenchmarkError
from PIL import Image


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_largest_difference_of_a_tile_is_kept(tmp_path):
    expected = np.zeros((1100, 700), np.float32)
    found = expected.copy()
    found[1099, 699] = 1.0
    found[0, 0] = 0.1

    save_difference(found, expected, tmp_path / "pictures" / "d.png")

    levels = pixels(tmp_path / "pictures" / "d.png")
    assert levels.shape == (367, 234)  # tiles of 3 x 3
    assert levels[-1, -1] == 255
    assert levels[0, 0] == 26
    assert np.count_nonzero(levels) == 2


def test_masks_and_images_are_scaled_down_and_never_up(tmp_path):
    Image.new("RGB", (2048, 1024), "red").save(tmp_path / "large.png")

    save_preview(tmp_path / "large.png", tmp_path / "large.jpg")
    save_mask(np.full((20, 30), 0.5, np.float32), tmp_path / "small.png")

    assert pixels(tmp_path / "large.jpg").shape == (256, 512, 3)
    small = pixels(tmp_path / "small.png")
    assert small.shape == (20, 30)
    assert small[0, 0] == 128


def test_images_are_named_or_in_a_folder(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()

    assert image_files([tmp_path]) == (tmp_path / "a.jpg", tmp_path / "b.png")
    assert image_files([tmp_path / "b.png"]) == (tmp_path / "b.png",)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    for folder in (tmp_path, tmp_path / "inside"):
        (folder / "a.png").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(BenchmarkError, match="no image in"):
        image_files([tmp_path / "empty"])
    with pytest.raises(BenchmarkError, match="no such image"):
        image_files([tmp_path / "nowhere"])
    with pytest.raises(BenchmarkError, match=r"two images are called a\.png"):
        image_files([tmp_path, tmp_path / "inside" / "a.png"])
