"""A PIL image of any mode to a Picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from .icc import gray_curve, lab_to_srgb, rgb_profile, space_of, to_srgb
from .picture import Picture, strips

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _EXTRA, _SAMPLE_FORMAT = 258, 262, 284, 338, 339
_WHITE_IS_ZERO, _SEPARATE, _PREMULTIPLIED, _SIGNED = 0, 2, 1, 2


def picture_of(image: Image.Image, name: str) -> Picture:
    """Make a Picture of a PIL image of any mode, where its pixels are.

    Raises:
        ImageError: it has no pixels, or pixels that mean no colors.
    """
    check_kind(image, name)
    tags: Any = getattr(image, "tag_v2", {})
    image.load()
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16-bit gray; as 32-bit integers where a format has no other
        return _from_sixteen_bit_gray(image, profile, tags)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    opacity = np.empty(pixels.shape[:2], np.uint8) if image.has_transparency_data else None
    for rows, strip in strips(image):
        if opacity is not None:
            strip = strip.convert("LA" if image.mode in {"L", "LA", "La"} else "RGBA")
            opacity[rows] = np.asarray(strip.getchannel("A"))
            strip = strip.getchannel("L") if strip.mode == "LA" else strip.convert("RGB")
        pixels[rows] = np.asarray(strip if strip.mode == "RGB" else _to_rgb(strip, profile, name))
    kept = None if image.mode in {"CMYK", "LAB"} else rgb_profile(profile)
    return Picture(pixels, opacity, kept)


def check_kind(image: Image.Image, name: str) -> None:
    """Check that an image, decoded or not, has pixels whose meaning is known.

    Raises:
        ImageError: it hasn't.
    """
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: the image has no pixels: {image.width} x {image.height}")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no known range; convert to 8 bits")
    tags: Any = getattr(image, "tag_v2", {})
    if _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ImageError(f"{name}: signed pixels have no known range; convert to unsigned ones")
    if tags.get(_PLANAR) == _SEPARATE and _PREMULTIPLIED in tags.get(_EXTRA, ()):
        raise ImageError(f"{name}: premultiplied alpha in planes isn't read; save it chunky")


def _to_rgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Convert an image without alpha to RGB; through its profile unless that is one of RGB."""
    if profile and space_of(profile) == {"L": "GRAY", "CMYK": "CMYK"}.get(image.mode):
        image = to_srgb(image, profile) or image
    if image.mode == "LAB":
        return lab_to_srgb(image)
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"{name}: mode {image.mode} can't become RGB") from error


def _from_sixteen_bit_gray(image: Image.Image, profile: bytes | None, tags: Any) -> Picture:
    """Convert gray of 12, 16 or 32 bits to 16, through its profile if it has one."""
    pixels = np.empty((image.height, image.width, 3), np.uint16)
    key = image.info.get("transparency")
    opacity = np.empty(pixels.shape[:2], np.uint16) if isinstance(key, int) else None
    table = gray_table(profile) if profile and space_of(profile) == "GRAY" else None
    for rows, strip in strips(image):
        levels: NDArray[np.uint16] = np.asarray(strip).clip(0, 65535).astype(np.uint16)
        if opacity is not None:
            opacity[rows] = np.where(levels == key, 0, 65535)
        if tags.get(_BITS_PER_SAMPLE) == (12,):
            levels = (levels << 4 | levels >> 8).astype(np.uint16)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            levels = np.invert(levels)
        pixels[rows] = (levels if table is None else table[levels])[..., None]
    return Picture(pixels, opacity)


def gray_table(profile: bytes) -> NDArray[np.uint16] | None:
    """Compute the sRGB values of a gray profile's 16-bit levels; None if it is damaged.

    Returns:
        uint16 (65536,).
    """
    curve = gray_curve(profile)
    if curve is None:
        return None
    table = np.interp(np.arange(65536) / 257, np.arange(256), curve * 257)
    return np.rint(table).astype(np.uint16)
