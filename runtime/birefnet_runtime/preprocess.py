"""Image to tensor: upstream's pipeline, step by step."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_tensor(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> NDArray[np.float32]:
    """Stretch to the model's size and normalise.

    The stretch is Pillow's bilinear filter, antialiased when it shrinks, on 8-bit values: what
    upstream's `transforms.Resize` does to a PIL image. No letterbox: upstream's issue 318 found
    that it costs quality.

    Args:
        image: uint8 (H, W, 3) RGB, 0–255.
        size: (height, width) of the result.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].

    Returns:
        float32 (1, 3, height, width), normalised RGB.
    """
    height, width = size
    stretched = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(stretched, dtype=np.float32) / np.float32(255)
    normalised = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])  # (1, 3, height, width)
