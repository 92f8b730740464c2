"""Upstream's whole pipeline, from an image file to its alpha.

What the runtime's pipeline is compared with. It is written apart from the runtime on purpose: code
that both sides share can't show what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import ParityError
from ..graph.signature import MEAN, STD
from .logits import mask_of_logits

"""What upstream normalizes with: ImageNet's, per channel in RGB order, of values in [0, 1]."""


Logits = Callable[[NDArray[np.float32]], NDArray[np.floating[Any]]]
"""From normalized RGB, float32 (batch, 3, height, width), to logits (batch, 1, height, width)."""


def reference_alpha(
    net: Logits, file: Path, size: tuple[int, int], *, eight_bits: bool = True
) -> NDArray[np.float32]:
    """Run upstream's pipeline on an image file, by the lines that its model cards give.

    RGB; Pillow's antialiased bilinear filter, on 8-bit values, stretches to `size`; ImageNet's mean
    and deviation; the network; sigmoid; the mask
    cut to 8 bits, as `torchvision.transforms.ToPILImage` does it, and resized to the image's own
    size by Pillow's default filter, which is bicubic.

    One thing is the runtime's way rather than upstream's: the EXIF orientation is applied.
    (Upstream's own inference script, which made the published scores, is another pipeline: it
    resizes bilinearly in float with aligned corners and cuts to 8 bits when it saves.)

    Args:
        net: the network.
        file: an image that Pillow reads. Of what upstream ignores `ignored_of` tells.
        size: (height, width) at which the network runs.
        eight_bits: False: the mask stays float32, and what the filter overshoots is cut off after
            each direction, as in 8 bits; for differences far below a level.

    Returns:
        float32 (H, W) in [0, 1], at the image's own size.

    Raises:
        ParityError: the file can't be read as an image.
    """
    mask, image_size = reference_mask(net, file, size)
    return brought_back(mask, image_size, eight_bits=eight_bits)


def reference_mask(
    net: Logits, file: Path, size: tuple[int, int]
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """The first half of `reference_alpha`, with its arguments: the mask at the network's size,
    float32 (height, width) in [0, 1], and the (H, W) of the image."""
    image = _read(file).convert("RGB")
    mask = mask_of_logits(net(_normalized(image, size)))[0, 0]
    return np.asarray(mask, np.float32), (image.height, image.width)


def brought_back(
    mask: NDArray[np.float32], image_size: tuple[int, int], *, eight_bits: bool
) -> NDArray[np.float32]:
    """The second half of `reference_alpha`: a mask at an image's (H, W), float32 in [0, 1]."""
    height, width = image_size
    if eight_bits:
        levels = Image.fromarray((mask * 255).astype(np.uint8)).resize((width, height))
        return np.asarray(levels, np.float32) / np.float32(255)
    for step in ((width, mask.shape[0]), (width, height)):
        resized = Image.fromarray(mask).resize(step, Image.Resampling.BICUBIC)
        mask = np.asarray(resized, np.float32).clip(0, 1)
    return mask


def ignored_of(file: Path) -> str | None:
    """What upstream ignores of an image file and the runtime does not, in words; None: nothing.

    The two pipelines then differ because they mean to.

    Raises:
        ParityError: the file can't be read as an image.
    """
    image = _read(file)
    ignored = [
        what
        for what, is_there in (
            ("its transparency", image.has_transparency_data),
            ("its color profile", "icc_profile" in image.info),
            ("its 16 bits", image.mode.startswith("I")),
        )
        if is_there
    ]
    return " and ".join(ignored) or None


def _read(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders share no base class
        raise ParityError(f"{file}: can't be read as an image: {error}") from error


def _normalized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    """(1, 3, height, width)."""
    height, width = size
    for step in ((width, image.height), (width, height)):  # Pillow's order before version 13
        image = image.resize(step, Image.Resampling.BILINEAR)
    scaled = np.array(image, np.float32) / np.float32(255)
    normalized = (scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])
