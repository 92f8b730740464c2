"""Image to tensor: upstream's pipeline, step by step."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.icc import to_srgb
from ..images.picture import Picture, to_eight_bits


def to_tensor(
    picture: Picture,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> NDArray[np.float32]:
    """Composite over white, stretch to the model's size, convert to sRGB and normalize.

    The stretch is Pillow's bilinear filter, antialiased when it shrinks, on 8-bit values: what
    upstream's `transforms.Resize` does to a PIL image. No letterbox: upstream's issue 318 found
    that it costs quality. Rows come first, then columns, as in the Pillow that the models were
    trained with; by itself Pillow 13 takes another order for some shapes, which moves a quarter of
    the values by a level, and edges of masks by several. Upstream ignores profiles; a picture
    without one gives its numbers.

    Args:
        picture: the image, at any size.
        size: (height, width) of the result.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].

    Returns:
        float32 (1, 3, height, width), normalized RGB.
    """
    height, width = size
    stretched = _over_white(picture)
    for step in ((width, stretched.height), (width, height)):
        stretched = stretched.resize(step, Image.Resampling.BILINEAR)
    if picture.profile is not None:
        # After the stretch: the same to the eye, and a small picture costs nothing.
        stretched = to_srgb(stretched, picture.profile) or stretched
    pixels = np.asarray(stretched, dtype=np.float32) / np.float32(255)
    normalized = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])  # (1, 3, height, width)


def to_pixels(picture: Picture) -> NDArray[np.uint8]:
    """Composite over white and convert to sRGB: uint8 (H, W, 3) RGB, of the picture's size."""
    image = _over_white(picture)
    if picture.profile is not None:
        image = to_srgb(image, picture.profile) or image
    return np.asarray(image, np.uint8)


def _over_white(picture: Picture) -> Image.Image:
    image = Image.fromarray(to_eight_bits(picture.pixels))
    if picture.opacity is None:
        return image
    opacity = Image.fromarray(to_eight_bits(picture.opacity))
    return Image.composite(image, Image.new("RGB", image.size, "white"), opacity)
