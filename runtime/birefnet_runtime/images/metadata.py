"""What a photograph says of itself, on its way to the result: EXIF and resolution.

Kept is what is still true of a cutout: who made it, when, with what, under which rights. Left out
is what describes the old file (orientation, dimensions, thumbnail) or can't be carried over whole
(maker notes, which point into the old file). Tags are those of EXIF 3.0 (CIPA DC-008).
"""

import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps
from PIL.ExifTags import IFD, Base

from .pillow_settings import DECODING_ERRORS

MOST_BYTES = 60_000
"""Of all EXIF: JPEG holds 65,533 bytes in one segment."""
MOST_ENTRY_BYTES = 8_192
MOST_DPI = 100_000
PREFIX = b"Exif\0\0"
"""Before the TIFF structure, where a JPEG holds one."""
_KEPT = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Rating,
    Base.Copyright,
)
"""Of the first directory, which in a TIFF also describes where its pixels lie."""
_LEFT_OUT = frozenset(
    {
        Base.MakerNote,
        Base.ExifImageWidth,
        Base.ExifImageHeight,
        Base.ExifInteroperabilityOffset,
        Base.ComponentsConfiguration,
        Base.CompressedBitsPerPixel,
        Base.RelatedSoundFile,
    }
)
"""Of the directory with the camera's settings."""
_IPTC = {Base.Artist: (2, 80), Base.Copyright: (2, 116), Base.ImageDescription: (2, 120)}
"""Where IPTC-IIM has the same, for files that have no such tag in EXIF."""
_TRANSPOSED = frozenset({5, 6, 7, 8})
"""Orientations that exchange width and height."""


def turn_upright(image: Image.Image) -> None:
    """Turn a decoded image by its EXIF orientation, in place; damaged EXIF doesn't cost it."""
    with suppress(*DECODING_ERRORS):
        ImageOps.exif_transpose(image, in_place=True)


def read_exif(image: Image.Image) -> bytes | None:
    """The EXIF of an opened file that is true of a cutout, too, the place among it.

    Returns:
        a TIFF structure, at most `MOST_BYTES`; None if there is nothing to keep. What is damaged
        is left out.
    """
    try:
        stored = image.getexif()
        kept = _some(stored, _KEPT)
        camera = stored.get_ifd(IFD.Exif)
        place = stored.get_ifd(IFD.GPSInfo)
        iptc = _read_iptc(image)
    except DECODING_ERRORS:
        return None
    for tag, name in _IPTC.items():
        text = (iptc or {}).get(name)
        if tag not in kept and isinstance(text, bytes) and 0 < len(text) <= MOST_ENTRY_BYTES:
            kept[tag] = text
    whole = kept | {
        IFD.Exif: _some(camera, [tag for tag in camera if tag not in _LEFT_OUT]),
        IFD.GPSInfo: _some(place, place),
    }
    return _encoded(whole) or _encoded(kept)


def _read_iptc(image: Image.Image) -> dict[tuple[int, int], Any] | None:
    """Records of IPTC-IIM by number; None if the file has none."""
    if image.format not in {"JPEG", "MPO", "TIFF"} or not isinstance(image, ImageFile.ImageFile):
        return None
    from PIL.IptcImagePlugin import getiptcinfo  # with the readers of these formats, not before

    return getiptcinfo(image)


def without_location(exif: bytes) -> bytes | None:
    """The same EXIF without the place where the photograph was taken; None if nothing remains."""
    stored = _decoded(exif)
    return _encoded(_some(stored, _KEPT) | {IFD.Exif: dict(stored.get_ifd(IFD.Exif))})


def first_directory(exif: bytes | None) -> dict[int, str | bytes]:
    """Texts of the first directory by tag, for formats that take them one by one."""
    kept = _some(_decoded(exif), _KEPT) if exif else {}
    return {tag: value for tag, value in kept.items() if isinstance(value, str | bytes)}


def read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels an inch, across and down, of the upright picture; None if the file doesn't say."""
    try:
        across, down = (float(each) for each in image.info["dpi"])
        # A PNG may have its orientation behind the pixels; it isn't decoded for this.
        known = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(Base.Orientation) if known else None
    except DECODING_ERRORS:
        return None
    if not (1 <= across < MOST_DPI and 1 <= down < MOST_DPI):
        return None
    return (down, across) if orientation in _TRANSPOSED else (across, down)


def _some(directory: Mapping[int, Any], tags: Iterable[int]) -> dict[int, Any]:
    """Those entries that are there, of a reasonable size, and can be written."""
    found = {int(tag): _text(directory[tag]) for tag in tags if _is_sound(directory.get(tag))}
    if _encoded(found) is None:  # one is damaged
        found = {tag: value for tag, value in found.items() if _encoded({tag: value})}
    return found


def _is_sound(value: Any) -> bool:
    if isinstance(value, str | bytes | tuple):
        return 0 < len(value) <= MOST_ENTRY_BYTES
    return value is not None and not isinstance(value, dict)


def _text(value: Any) -> Any:
    """Text beyond ASCII, often UTF-8, as bytes: Pillow reads Latin-1 and writes ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _decoded(exif: bytes) -> Image.Exif:
    stored = Image.Exif()
    stored.load(PREFIX + exif)
    return stored


def _encoded(directory: Mapping[int, Any]) -> bytes | None:
    """A directory as a TIFF structure; None if it is empty, too large, or can't be written."""
    exif = Image.Exif()
    for tag, value in directory.items():
        if value != {}:
            exif[tag] = value
    try:
        content = exif.tobytes().removeprefix(PREFIX) if len(exif) else b""
    except DECODING_ERRORS:
        return None
    return content if 0 < len(content) <= MOST_BYTES else None


# ICC profiles: their color space, and conversion to and from sRGB.


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
