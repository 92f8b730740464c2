import os
from pathlib import Path

import numpy as np
import pytest
from birefnet_benchmarks.errors import DatasetError
from birefnet_benchmarks.evaluation.dataset import find_dataset, read_mask, spread
from birefnet_runtime import ImageError
from PIL import Image

GRAY = np.full((6, 8), 255, np.uint8)
DISC = np.zeros((40, 60), np.uint8)
DISC[10:30, 15:45] = 255


SEEN = ("a", "folder.jpg/b")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GRAY).save(path)


def names(dataset):
    return [f"{sample.subset}:{sample.name}" for sample in dataset.samples]


def test_pairs_have_the_same_path_but_for_the_suffix(tmp_path):
    touch(tmp_path / "photos", "b.jpg", "a.PNG", "deep/a.webp", ".hidden.png")
    touch(tmp_path / "truth", "a.png", "b.png", "deep/a.tif")
    (tmp_path / "photos" / "notes.txt").write_text("no image")

    dataset = find_dataset(tmp_path / "photos", tmp_path / "truth")

    assert names(dataset) == ["photos:a", "photos:b", "photos:deep/a"]
    assert dataset.samples[2].mask == tmp_path / "truth" / "deep" / "a.tif"
    assert dataset.unmatched == ()


def test_masks_may_lie_in_a_folder_below_the_images(tmp_path):
    touch(tmp_path, "a.jpg", "masks/a.png")

    dataset = find_dataset(tmp_path, tmp_path / "masks")

    assert [sample.name for sample in dataset.samples] == ["a"]


def test_a_folder_with_im_and_gt_needs_no_masks(tmp_path):
    touch(tmp_path / "DIS-VD", "im/1#a.jpg", "im/2#b.jpg", "gt/1#a.png", "gt/2#b.png")

    assert names(find_dataset(tmp_path / "DIS-VD")) == ["DIS-VD:1#a", "DIS-VD:2#b"]
    inside = find_dataset(tmp_path / "DIS-VD" / "im", tmp_path / "DIS-VD" / "gt")
    assert inside.subsets == ("DIS-VD",)


def test_the_root_of_dis5k_is_its_subsets_but_the_one_for_training(tmp_path):
    for subset in ("DIS-VD", "DIS-TE2", "DIS-TE1", "DIS-TR"):
        touch(tmp_path / subset, "im/x.jpg", "gt/x.png")

    dataset = find_dataset(tmp_path)

    assert names(dataset) == ["DIS-TE1:x", "DIS-TE2:x", "DIS-VD:x"]
    assert dataset.training == tmp_path / "DIS-TR"
    assert names(find_dataset(tmp_path / "DIS-TR")) == ["DIS-TR:x"]


def test_a_training_subset_alone_is_scored(tmp_path):
    touch(tmp_path / "DIS-TR", "im/x.jpg", "gt/x.png")

    dataset = find_dataset(tmp_path)

    assert (names(dataset), dataset.training) == (["DIS-TR:x"], None)


def test_subsets_are_told_apart_by_their_own_names(tmp_path):
    """And not by those of the folders that links lead to."""
    for place in ("one", "two"):
        touch(tmp_path / place / "DIS-VD", "im/x.jpg", "gt/x.png")
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / "all" / place).symlink_to(tmp_path / place / "DIS-VD")

    assert names(find_dataset(tmp_path / "all")) == ["one:x", "two:x"]


def test_pipes_and_folders_called_like_images_are_passed_over(tmp_path):
    touch(tmp_path, "im/a.jpg", "gt/a.png")
    os.mkfifo(tmp_path / "im" / "pipe.jpg")
    os.mkfifo(tmp_path / "gt" / "pipe.png")
    (tmp_path / "im" / "folder.jpg").mkdir()
    touch(tmp_path / "im" / "folder.jpg", "b.jpg")
    touch(tmp_path / "gt" / "folder.jpg", "b.png")

    assert names(find_dataset(tmp_path)) == [f"{tmp_path.name}:{name}" for name in SEEN]


def test_a_link_that_leads_nowhere_is_a_pair_all_the_same(tmp_path):
    """So that it gets a line of its own when it is read."""
    touch(tmp_path, "im/a.jpg", "gt/a.png", "gt/b.png")
    (tmp_path / "im" / "b.jpg").symlink_to("nowhere")

    assert [sample.name for sample in find_dataset(tmp_path).samples] == ["a", "b"]


def test_a_folder_that_can_not_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "DIS-VD", "im/a.jpg", "im/deep/b.jpg", "gt/a.png")

    def forbidding(name, scandir=os.scandir):
        def scan(folder):
            if Path(folder).name == name:
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(folder)

        return scan

    monkeypatch.setattr(os, "scandir", forbidding("deep"))
    with pytest.raises(DatasetError, match=r"DIS-VD/im/deep: permission denied$"):
        find_dataset(tmp_path, partial=True)
    monkeypatch.setattr(os, "listdir", forbidding(tmp_path.name, os.listdir))
    with pytest.raises(DatasetError, match=rf"{tmp_path.name}: permission denied$"):
        find_dataset(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "y/" * 3000])
def test_a_name_too_long_for_the_system_is_no_folder(tmp_path, name):
    touch(tmp_path, "a.jpg")

    for folders in ((Path(name),), (tmp_path, Path(name))):
        with pytest.raises(DatasetError, match="no such folder"):
            find_dataset(*folders)


def test_hidden_folders_are_passed_over(tmp_path):
    touch(tmp_path / "im", "a.jpg", ".thumbnails/a.jpg", ".thumbnails/b.jpg")
    touch(tmp_path / "gt", "a.png")

    assert [sample.name for sample in find_dataset(tmp_path).samples] == ["a"]


def test_three_files_are_named_without_more(tmp_path):
    touch(tmp_path / "im", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    touch(tmp_path / "gt", "a.png")

    with pytest.raises(DatasetError, match=r"3 without a mask \("):
        find_dataset(tmp_path)


def test_what_has_no_counterpart_is_named_and_refused(tmp_path):
    touch(tmp_path / "im", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    touch(tmp_path / "gt", "a.png", "z.png")

    with pytest.raises(DatasetError) as refused:
        find_dataset(tmp_path)

    im, gt = tmp_path / "im", tmp_path / "gt"
    assert str(refused.value) == (
        "images and masks don't fit together: "
        f"4 without a mask ({im}/b.jpg, {im}/c.jpg, {im}/d.jpg and 1 more), "
        f"1 without an image ({gt}/z.png); --partial scores those that do"
    )
    dataset = find_dataset(tmp_path, partial=True)
    assert [sample.name for sample in dataset.samples] == ["a"]
    assert len(dataset.unmatched) == 5


def test_nothing_to_score_is_an_error(tmp_path):
    touch(tmp_path / "im", "a.jpg")
    touch(tmp_path / "gt", "b.png")

    with pytest.raises(DatasetError, match="mask of the"):
        find_dataset(tmp_path, partial=True)
    with pytest.raises(DatasetError, match=r"masks with --masks$"):
        find_dataset(tmp_path / "im")
    with pytest.raises(DatasetError, match="no such folder"):
        find_dataset(tmp_path / "im", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="lie in two folders"):
        find_dataset(tmp_path / "im", tmp_path / "im")


def test_two_images_of_one_name_are_refused(tmp_path):
    touch(tmp_path / "im", "a.jpg", "a.png")
    touch(tmp_path / "gt", "a.png")

    with pytest.raises(DatasetError, match="only in their suffix"):
        find_dataset(tmp_path)


def test_a_limit_takes_evenly_from_all(tmp_path):
    touch(tmp_path / "im", *(f"{number}.jpg" for number in range(10)))
    touch(tmp_path / "gt", *(f"{number}.png" for number in range(10)))
    pairs = find_dataset(tmp_path).samples

    assert [sample.name for sample in spread(pairs, 4)] == ["0", "2", "5", "7"]
    assert spread(pairs, 10) == spread(pairs, 99) == spread(pairs, None) == pairs


def opaque(gray):
    return Image.merge("RGBA", [Image.fromarray(gray)] * 3 + [Image.new("L", (60, 40), 255)])


def cut_out(gray):
    return Image.merge("RGBA", [Image.new("L", (60, 40), 90)] * 3 + [Image.fromarray(gray)])


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(DISC),
        Image.fromarray(DISC).convert("1"),
        Image.fromarray(DISC).convert("RGB"),
        Image.fromarray(DISC).convert("P"),
        Image.fromarray(DISC.astype(np.uint16) * 257),
        opaque(DISC),
        cut_out(DISC),
    ],
    ids=["gray", "one bit", "RGB", "palette", "16 bits", "opaque RGBA", "RGBA with opacity"],
)
def test_masks_of_every_kind_are_read_alike(tmp_path, image):
    image.save(tmp_path / "mask.png")

    mask = read_mask(tmp_path / "mask.png")

    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, DISC)


def test_soft_masks_keep_their_levels(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    Image.fromarray(ramp).save(tmp_path / "soft.png")

    np.testing.assert_array_equal(read_mask(tmp_path / "soft.png"), ramp)


def test_colors_count_by_their_luminance(tmp_path):
    """BT.601, as Pillow's convert("L") has it: red .299, green .587, blue .114."""
    colors = [(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    Image.fromarray(np.array([colors], np.uint8)).save(tmp_path / "mask.png")

    assert read_mask(tmp_path / "mask.png").tolist() == [[255, 76, 150, 29, 0]]


def test_what_is_brighter_than_half_is_a_subject(tmp_path):
    for level in (128, 129):
        Image.fromarray(np.array([[0, level]], np.uint8)).save(tmp_path / f"{level}.png")

    with pytest.raises(ImageError, match="brightest level is 128"):
        read_mask(tmp_path / "128.png")
    assert read_mask(tmp_path / "129.png").tolist() == [[0, 129]]


def test_masks_that_number_their_classes_are_refused_and_empty_ones_are_not(tmp_path):
    Image.fromarray(DISC // 255).save(tmp_path / "classes.png")
    Image.fromarray(DISC * 0).save(tmp_path / "empty.png")

    with pytest.raises(ImageError, match="brightest level is 1 "):
        read_mask(tmp_path / "classes.png")
    assert not read_mask(tmp_path / "empty.png").any()
