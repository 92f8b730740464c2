"""Tensors on which graphs are compared with a reference, the same for everybody who compares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .logits import Array, InputShape

INPUT_SHAPES: tuple[InputShape, ...] = ((1, 32, 32), (2, 96, 160), (1, 352, 96))
"""The smallest size; a batch, wide; one that is tall, with several windows to a column.

All are odd multiples of 32, so that windows, patch merging and pooled maps pad at both scales. They
notice every fault in a graph that sizes up to 256 x 256 and 192 x 352 notice
(`tests/export/reference/test_faults.py`), at a third of the pixels.
"""


def sample_image(shape: InputShape) -> Array:
    """Smooth shapes under noise, like a normalized image; the shape is the seed of both.

    Returns:
        float32 (batch, 3, height, width).
    """
    batch, height, width = shape
    rng = np.random.default_rng(shape)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    center = rng.uniform(-0.5, 0.5, (2, batch, 3, 1, 1))
    blob = np.exp(-4 * ((y - center[0]) ** 2 + (x - center[1]) ** 2))
    noise = rng.standard_normal((batch, 3, height, width))
    return np.asarray(4 * blob - 1.5 + 0.1 * noise, np.float32)


def sample_pixels(shape: InputShape) -> NDArray[np.uint8]:
    """The same as pixels of an image: uint8 (batch, height, width, 3) RGB, 0-255."""
    levels = 112 + 56 * sample_image(shape).transpose(0, 2, 3, 1)
    return np.asarray(levels.clip(0, 255), np.uint8)
