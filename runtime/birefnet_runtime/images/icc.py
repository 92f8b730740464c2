"""ICC profiles: their color space, and conversion to and from sRGB."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def space_of(profile: bytes | None) -> str | None:
    """Read the color space, as `RGB`, `GRAY` or `CMYK`; None if this is no ICC profile.

    Source: ICC.1:2022, 7.2.6.
    """
    if profile is None or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("ascii", "replace").strip()


@lru_cache(maxsize=16)
def rgb_profile(profile: bytes | None) -> bytes | None:
    """Return a profile if it is one for RGB that converts both ways, else None."""
    if profile is None or space_of(profile) != "RGB":
        return None
    one = Image.new("RGB", (1, 1))
    converts = _convert(one, profile, _SRGB) and _convert(one, _SRGB, profile)
    return profile if converts else None


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Convert an image from its profile's color space to sRGB.

    Args:
        image: mode L, RGB, CMYK or LAB, as the profile's space is.
        profile: its ICC profile.

    Returns:
        mode RGB; None if the profile is damaged or doesn't fit the image.
    """
    return _convert(image, profile, _SRGB)


def from_srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """Convert uint8 (H, W, 3) from sRGB to an RGB profile's color space; unchanged without one."""
    if profile is None:
        return pixels
    converted = _convert(Image.fromarray(pixels), _SRGB, profile)
    return pixels if converted is None else np.asarray(converted)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of mode LAB to mode RGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return _convert(image, lab, _SRGB) or image.convert("RGB")


def gray_curve(profile: bytes) -> NDArray[np.float32] | None:
    """Compute the sRGB values of a gray profile's levels 0 to 255.

    Returns:
        float32 (256,), 0–255; None if the profile is damaged.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    converted = _convert(ramp, profile, _SRGB)
    return None if converted is None else np.asarray(converted, dtype=np.float32)[0, :, 1]


def _convert(image: Image.Image, source: bytes, target: bytes) -> Image.Image | None:
    # A new transform each time: one that is shared keeps a cache that isn't safe between threads.
    try:
        return ImageCms.profileToProfile(
            image,
            io.BytesIO(source),
            io.BytesIO(target),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
