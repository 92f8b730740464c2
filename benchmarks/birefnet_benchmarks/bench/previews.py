"""Previews that a run stores: images and masks scaled down, and where masks differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from birefnet_models.base.files import replacing
from birefnet_runtime.images.picture import to_eight_bits
from birefnet_runtime.images.read import IMAGE_SUFFIXES, read_image
from numpy.typing import NDArray
from PIL import Image

from ..errors import BenchmarkError
from .backends.base import Tensor

PREVIEW_SIDE = 512
"""The longest side of a preview."""


def image_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The image files that are named, and those in folders that are named, in order.

    Raises:
        BenchmarkError: one isn't there, a folder without images, or two files of one name.
    """
    files = [file for path in paths for file in _files_at(path)]
    names = [path.name for path in files]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BenchmarkError(f"two images are called {min(twice)}; rename one")
    return tuple(files)


def _files_at(path: Path) -> list[Path]:
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise BenchmarkError(f"{path}: no such image or folder of images")
        inside = sorted(
            f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()
        )
    except OSError as error:
        raise BenchmarkError(f"{path}: can't be read: {error.strerror}") from error
    if not inside:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise BenchmarkError(f"{path}: no image in this folder ({kinds})")
    return inside


def save_preview(file: Path, target: Path) -> None:
    """The image, scaled down, as JPEG."""
    pixels = to_eight_bits(read_image(file).pixels)
    _save(Image.fromarray(_shrunk(pixels)), target)


def save_mask(alpha: Tensor, target: Path) -> None:
    """float32 (H, W) in [0, 1] as 8-bit gray, scaled down."""
    levels = np.rint(alpha * 255).astype(np.uint8)
    _save(Image.fromarray(_shrunk(levels)), target)


def save_difference(alpha: Tensor, expected: Tensor, target: Path) -> None:
    """Where two alphas differ: 8-bit levels rounded, of each tile the largest, so none is lost."""
    levels = np.rint(np.abs(alpha - expected) * 255).astype(np.uint8)
    step = max(1, -(-max(levels.shape) // PREVIEW_SIDE))  # rounded up
    _save(Image.fromarray(_largest_of_tiles(levels, step)), target)


def _largest_of_tiles(levels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """(H, W) to (H / step, W / step), rounded up."""
    height, width = levels.shape
    padded = np.pad(levels, ((0, -height % step), (0, -width % step)))
    tiles = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return np.asarray(tiles.max(axis=(1, 3)))


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _save(image: Image.Image, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as unnamed:
        image.save(unnamed, format="JPEG" if target.suffix == ".jpg" else "PNG")
