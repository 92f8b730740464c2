"""Logits to alpha."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TILE, _ACROSS = 16, 512
"""Pixels that are enlarged at once, along the line and across: OpenBLAS multiplies matrices this
small on the calling thread."""


def to_alpha(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Sigmoid, then back to the image's size by Pillow's bicubic filter.

    As the model cards' lines do it, but for one step: they cut the mask to 8 bits before they
    resize it; here it stays float32 throughout, which lies within 2 levels of 255 of theirs.

    Args:
        logits: float32 (height, width), at the model's size.
        size: (H, W) of the image.

    Returns:
        float32 (H, W), in [0, 1].
    """
    half = np.float32(0.5)
    # The sigmoid: 1 / (1 + exp(-x)) overflows far below zero; tanh does not.
    return resize_mask(np.tanh(logits * half) * half + half, size)


def resize_mask(mask: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize by Pillow's bicubic filter, its overshoot cut off after each direction.

    So does Pillow with 8-bit images. What it doesn't do with float ones shows at hairs, by up to
    15 levels of 255 (`benchmarks/results/mask_resize.json`).

    Args:
        mask: float32 (height, width), in [0, 1].
        size: (height, width) of the result.

    Returns:
        float32 of this size, in [0, 1].
    """
    (rows, columns), (height, width) = mask.shape, size
    if height < rows or width < columns:
        for step in ((width, rows), (width, height)):
            resized = Image.fromarray(mask).resize(step, Image.Resampling.BICUBIC)
            mask = np.asarray(resized).clip(0, 1)
        return mask
    # The same numbers as Pillow's to 3e-7, in a quarter of its time to 12 megapixels.
    wide = np.empty((rows, width), np.float32)
    for target, source, weights in _tiles(columns, width):
        for start in range(0, rows, _ACROSS):
            lines = slice(start, start + _ACROSS)
            np.matmul(mask[lines, source], weights.T, out=wide[lines, target])
    np.clip(wide, 0, 1, out=wide)
    large = np.empty((height, width), np.float32)
    for target, source, weights in _tiles(rows, height):
        for start in range(0, width, _ACROSS):
            lines = slice(start, start + _ACROSS)
            np.matmul(weights, wide[source, lines], out=large[target, lines])
    return np.clip(large, 0, 1, out=large)


def _tiles(source: int, target: int) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """For some pixels of the enlarged line after others: which, from which source pixels, and the
    weights, (target pixels, source pixels), that turn the one into the other.

    The filter is Keys's with a = -1/2 (IEEE Trans. ASSP 29, 1981), and the weights of a pixel that
    reach beyond the line's end go to those within: as in Pillow's `Resample.c`. OpenCV's bicubic
    filter has a = -3/4.
    """
    for start in range(0, target, _TILE):
        stop = min(start + _TILE, target)
        centers = (np.arange(start, stop) + 0.5) * (source / target)
        first, last = max(0, int(centers[0] - 1.5)), min(source, int(centers[-1] + 2.5))
        x = np.abs(np.arange(first, last) + 0.5 - centers[:, None])
        near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        weights /= weights.sum(axis=1, keepdims=True)
        yield slice(start, stop), slice(first, last), weights.astype(np.float32)
