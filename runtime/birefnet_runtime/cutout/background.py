"""Backgrounds behind the subject: a color, an image, or a blur of the picture itself."""

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from ..errors import ImageError
from ..images.color import from_srgb, to_srgb
from ..images.picture import (
    Picture,
    Pixels,
    as_share,
    full_scale,
    to_depth,
    to_eight_bits,
)
from ..images.read import ImageSource, read_image

BLUR_SHARE = 0.02
"""Standard deviation of the blur, as a share of the picture's longer side."""
FAR_BLUR_FACTOR = 8
"""How many times as wide the blur is that fills the subject's place."""
FILL_WEIGHT = 0.05
"""Weight of that fill where nothing else has more."""


class Background(Protocol):
    """What fills the space behind a subject."""

    def fill(self, picture: Picture, alpha: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
        """Pixels of the picture's type and color space.

        Args:
            picture: the image that the subject is cut out of.
            alpha: float32 (H, W) in [0, 1].
            size: (height, width) to fill, which needn't be the picture's.

        Returns:
            (height, width, 3) RGB of the picture's type.
        """


class Color:
    """One color, given in sRGB.

    Args:
        color: uint8 red, green and blue.
        opacity: in [0, 1]; what is less than 1 shines through in the result.
    """

    def __init__(self, color: tuple[int, int, int], opacity: float = 1) -> None:
        self.color = color
        self.opacity = opacity

    def fill(self, picture: Picture, alpha: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
        """As `Background.fill`."""
        one = from_srgb(np.array([[self.color]], np.uint8), picture.profile)
        depth = 8 * picture.pixels.dtype.itemsize
        filled: Pixels = np.empty((*size, 3), picture.pixels.dtype)
        filled[...] = to_depth(one, depth)
        return filled


class ImageBackground:
    """Another image, scaled to cover the result and cut at its borders.

    Args:
        source: as `read_image` takes it.

    Raises:
        ImageError: it is not an image.
    """

    def __init__(self, source: ImageSource) -> None:
        picture = read_image(source)
        image = Image.fromarray(to_eight_bits(picture.pixels))
        if picture.profile is not None:
            image = to_srgb(image, picture.profile) or image
        if picture.opacity is not None:
            opacity = Image.fromarray(to_eight_bits(picture.opacity))
            image = Image.composite(image, Image.new("RGB", image.size, "white"), opacity)
        self._image = image

    def __repr__(self) -> str:
        return f"<ImageBackground: {self._image.width} x {self._image.height}>"

    def fill(self, picture: Picture, alpha: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
        """As `Background.fill`."""
        top, left, bottom, right = _covering((self._image.height, self._image.width), size)
        box = (left, top, right, bottom)
        covering = self._image.resize(size[::-1], Image.Resampling.BICUBIC, box=box)
        pixels = from_srgb(np.asarray(covering), picture.profile)
        return to_depth(pixels, 8 * picture.pixels.dtype.itemsize)


class Blur:
    """The picture itself, blurred; without the subject, which would shine through around itself.

    Where the result has another size it covers it, as an image does.
    """

    def fill(self, picture: Picture, alpha: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
        """As `Background.fill`."""
        height, width = picture.size
        sigma = max(1.0, BLUR_SHARE * max(height, width))
        shrink = max(1.0, sigma / 8)
        small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        weight = 1 - cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
        if picture.opacity is not None:
            shown: Any = cv2.resize(picture.opacity, small, interpolation=cv2.INTER_AREA)
            weight = weight * as_share(shown)
        # A trace of every pixel, so that a frame full of subject has something to show.
        weight = (weight + 1e-3).astype(np.float32)
        weighted = cv2.resize(picture.pixels, small, interpolation=cv2.INTER_AREA)
        weighted = weighted * weight[..., None]
        # Where the subject is wider than the blur, what is farther around takes its place.
        tiny = (max(1, small[0] // FAR_BLUR_FACTOR), max(1, small[1] // FAR_BLUR_FACTOR))
        far = _mean(
            cv2.resize(weighted, tiny, interpolation=cv2.INTER_AREA),
            cv2.resize(weight, tiny, interpolation=cv2.INTER_AREA),
            sigma / shrink,
        )
        far = cv2.resize(far, small, interpolation=cv2.INTER_LINEAR).reshape(weighted.shape)
        lacking = np.maximum(0, FILL_WEIGHT - weight)
        weighted += far * lacking[..., None]
        mean = _mean(weighted, weight + lacking, sigma / shrink)
        soft = np.rint(mean).clip(0, full_scale(picture.pixels)).astype(picture.pixels.dtype)
        top, left, bottom, right = map(round, _covering(small[::-1], size))
        if size != picture.size:  # of a small picture's thin side a line must be left
            soft = soft[top : max(bottom, top + 1), left : max(right, left + 1)]
        return np.asarray(cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR))


def _mean(weighted: NDArray[Any], weight: NDArray[Any], sigma: float) -> NDArray[Any]:
    """The blur of colors, (h, w, 3), that were multiplied by their weights, (h, w)."""
    colors = cv2.GaussianBlur(weighted, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    weights = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(colors / weights[..., None])


def _covering(size: tuple[int, int], filled: tuple[int, int]) -> tuple[float, float, float, float]:
    """(top, left, bottom, right) of the middle part of a size that has the shape of `filled`."""
    height, width = size
    scale = max(filled[0] / height, filled[1] / width)
    seen_height, seen_width = filled[0] / scale, filled[1] / scale
    top, left = (height - seen_height) / 2, (width - seen_width) / 2
    return top, left, top + seen_height, left + seen_width


def parse_background(text: str) -> Background:
    """Read `blur`, a color (a name or `#rrggbb`), or an image's path.

    Raises:
        ImageError: it is none of them, or no readable image.
    """
    if text == "blur":
        return Blur()
    if os.path.exists(text):
        return ImageBackground(Path(text))
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise ImageError(
            f"{text}: no such image file, and no color; give a path, blur, a name like white "
            "or #rrggbb"
        ) from error
    return Color((red, green, blue))
