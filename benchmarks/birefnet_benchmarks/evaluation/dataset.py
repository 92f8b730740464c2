"""Images and their masks: pairs by name, in folders of one's own or in DIS5K's layout.

DIS5K (arXiv 2203.03041) has a folder for each subset (`DIS-VD`, `DIS-TE1` ...), with the images in
`im/` and the masks in `gt/`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from birefnet_models.base.text import shortened
from birefnet_runtime import ImageError, read_image
from birefnet_runtime.images.picture import full_scale, to_eight_bits
from birefnet_runtime.images.read import IMAGE_SUFFIXES
from numpy.typing import NDArray

from ..errors import DatasetError

IMAGES, MASKS = "im", "gt"
TRAINING = "DIS-TR"
"""DIS5K's subset for training: scores on it say nothing."""
SUBJECT_LEVEL = 128
"""A mask's pixel is subject where its level is above this, as PySODMetrics has it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its mask, which is the ground truth.

    Attributes:
        subset: the data set, or the part of it, that they are of.
        name: path below the images' folder without the suffix, `/` between folders.
    """

    subset: str
    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """The samples that can be scored, sorted by subset and name, and what was left out."""

    samples: tuple[Sample, ...]
    unmatched: tuple[Path, ...] = ()
    """Images without a mask and masks without an image."""
    training: Path | None = None
    """DIS5K's training subset, where there is one beside the others."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(dict.fromkeys(sample.subset for sample in self.samples))


def find_dataset(images: Path, masks: Path | None = None, *, partial: bool = False) -> Dataset:
    """Sample images with masks that have the same path but for the suffix.

    Args:
        images: folder of images, searched through; without `masks` a folder that holds `im/` and
            `gt/`, or one whose folders do.
        masks: folder of masks, searched through.
        partial: leave out what has no counterpart, instead of refusing it.

    Raises:
        DatasetError: there is no such folder, it can't be read, nothing is in it, two files have
            one name, or, unless `partial`, a file is without its counterpart.
    """
    for folder in (images, masks):
        if folder is not None and not os.path.isdir(folder):
            raise DatasetError(f"{folder}: no such folder")
    if masks is not None:
        if _same(images, masks):
            raise DatasetError(f"{images}: images and masks are to lie in two folders")
        return _paired({_name(images): (images, masks)}, partial)
    if _is_subset(images):
        return _paired({_name(images): (images / IMAGES, images / MASKS)}, partial)
    folders = [folder for folder in _entries(images) if _is_subset(folder)]
    training = images / TRAINING if len(folders) > 1 and images / TRAINING in folders else None
    folders = [folder for folder in folders if folder != training]
    if not folders:
        raise DatasetError(
            f"{images} holds no folders {IMAGES}/ and {MASKS}/, nor subsets that do; "
            "name the folder of the masks with --masks"
        )
    subsets = {folder.name: (folder / IMAGES, folder / MASKS) for folder in folders}
    return replace(_paired(subsets, partial), training=training)


def spread(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    """At most `limit` samples, taken evenly from all of them; None for all."""
    if limit is None or limit >= len(samples):
        return samples
    return tuple(samples[place * len(samples) // limit] for place in range(limit))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A ground truth: white is subject.

    Colors become gray by their luminance; of a picture with transparency the opacity counts.

    Returns:
        uint8 (H, W), 0–255.

    Raises:
        ImageError: the file is not an image, or a mask in which all that isn't black is darker than
            half, as in files that number their classes 0, 1, 2.
    """
    picture = read_image(path)
    opacity = picture.opacity
    if opacity is not None and opacity.min() < full_scale(opacity):
        mask = to_eight_bits(opacity)
    else:
        gray = cv2.cvtColor(to_eight_bits(picture.pixels), cv2.COLOR_RGB2GRAY)
        mask = np.asarray(gray, np.uint8)
    if 0 < mask.max() <= SUBJECT_LEVEL:
        raise ImageError(
            f"{path}: nothing in this mask counts as subject: its brightest level is "
            f"{mask.max()} of 255, and white is subject"
        )
    return mask


def _paired(subsets: Mapping[str, tuple[Path, Path]], partial: bool) -> Dataset:
    samples: list[Sample] = []
    lonely_images: list[Path] = []
    lonely_masks: list[Path] = []
    for subset, (images, masks) in subsets.items():
        image_of, mask_of = _by_name(images, masks), _by_name(masks, images)
        both = sorted(image_of.keys() & mask_of.keys())
        samples += (Sample(subset, name, image_of[name], mask_of[name]) for name in both)
        lonely_images += (image_of[name] for name in sorted(image_of.keys() - mask_of.keys()))
        lonely_masks += (mask_of[name] for name in sorted(mask_of.keys() - image_of.keys()))
    if not samples:
        looked = "; ".join(f"{images} and {masks}" for images, masks in subsets.values())
        raise DatasetError(
            f"no image has a mask of the same name: {looked} ({len(lonely_images)} images, "
            f"{len(lonely_masks)} masks)"
        )
    lonely = [
        f"{len(files)} without {what} ({shortened(map(str, files), 3)})"
        for what, files in (("a mask", lonely_images), ("an image", lonely_masks))
        if files
    ]
    if lonely and not partial:
        raise DatasetError(
            f"images and masks don't fit together: {', '.join(lonely)}; "
            "--partial scores those that do"
        )
    return Dataset(tuple(samples), (*lonely_images, *lonely_masks))


def _by_name(folder: Path, other: Path) -> dict[str, Path]:
    """The image files below a folder by their path without suffix; those of `other` left out."""
    files: dict[str, Path] = {}
    for root, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(root)
        folders[:] = (
            below
            for below in folders
            if not below.startswith(".") and not _same(here / below, other)
        )
        for path in (here / name for name in names if not name.startswith(".")):
            # A pipe would be waited for; a link that leads nowhere is said to when it is read.
            if path.suffix.lower() not in IMAGE_SUFFIXES or (
                os.path.exists(path) and not os.path.isfile(path)
            ):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in files:
                raise DatasetError(f"{files[name]} and {path} differ only in their suffix")
            files[name] = path
    return files


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    """A folder that can't be read is no empty one."""
    raise DatasetError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error


def _same(folder: Path, other: Path) -> bool:
    return folder.resolve() == other.resolve()


def _is_subset(folder: Path) -> bool:
    return os.path.isdir(folder / IMAGES) and os.path.isdir(folder / MASKS)


def _name(folder: Path) -> str:
    """The name of a data set: its folder's, or that of the one above for a folder called `im`."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == IMAGES else whole.name
