"""ICC profiles: which are kept, and how their colors become sRGB."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def space_of(profile: bytes | None) -> str | None:
    """`RGB`, `GRAY`, `CMYK` or another space of ICC.1:2022, 7.2.6; None if it is no ICC profile."""
    if profile is None or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("ascii", "replace").strip()


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """An RGB image from the pixels of an image and their profile.

    Args:
        image: mode L, RGB, CMYK or LAB, as the profile's space is.
        profile: its ICC profile.

    Returns:
        mode RGB, in sRGB; None if the profile is damaged or doesn't fit the image.
    """
    return _transform(image, profile, _SRGB)


def from_srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) in sRGB to the color space of an RGB profile; as they are without one."""
    if profile is None:
        return pixels
    done = _transform(Image.fromarray(pixels), _SRGB, profile)
    return pixels if done is None else np.asarray(done)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """A LAB image in RGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    done = _transform(image, lab, _SRGB)
    return image.convert("RGB") if done is None else done


def gray_curve(profile: bytes) -> NDArray[np.float32] | None:
    """What a gray profile makes of 0 to 255, as sRGB.

    Returns:
        float32 (256,), 0–255; None if the profile is damaged.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    done = _transform(ramp, profile, _SRGB)
    return None if done is None else np.asarray(done, dtype=np.float32)[0, :, 1]


def _transform(image: Image.Image, source: bytes, target: bytes) -> Image.Image | None:
    # A new transform each time: one that is shared keeps a cache that isn't safe between threads.
    try:
        return ImageCms.profileToProfile(
            image,
            io.BytesIO(source),
            io.BytesIO(target),
            renderingIntent=_INTENT,
            outputMode="RGB",
            flags=_FLAGS,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
