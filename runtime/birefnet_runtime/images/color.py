"""What colors a file's numbers mean, and their way to sRGB.

A file may say it several ways, which here hold in this order:

1. PNG: cICP, then iCCP, then sRGB, then gAMA and cHRM (PNG, third edition, 4.3). HEIF and AVIF: an
   ICC profile, then nclx (ISO/IEC 23000-22, 7.3.6.4). An ICC profile may hold code points itself
   (ICC.1:2022, 9.2.17).
2. Of code points (cICP and nclx, both of ITU-T H.273) those of HDR hold before any profile: no
   profile of a matrix and curves can say what they do.

What isn't sRGB and isn't HDR stays as it is and gets an ICC profile that says the same: the result
loses no color. HDR is tone-mapped to sRGB.
"""

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from .picture import Pixels, full_scale, row_strips

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
Chromaticities: TypeAlias = tuple[float, ...]
"""x and y of white, red, green and blue, as PNG's cHRM has them."""
_PRIMARIES: dict[int, Chromaticities] = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""ITU-T H.273, table 2."""
_BT709, _BT2020, _UNSPECIFIED = 1, 9, 2
CODE_POINTS = "birefnet_code_points"
"""Where an opened image's `info` has them."""
_KEYS = (CODE_POINTS, "nclx_profile", "gamma", "chromaticity")
"""Of `info`, that say something beside an ICC profile."""
PQ, HLG = 16, 18
"""Transfer functions of HDR (ITU-R BT.2100)."""
_SRGB_CURVE = 0.0
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6} | dict.fromkeys(
    (1, 6, 7, 11, 12, 13, 14, 15), _SRGB_CURVE
)
"""ITU-T H.273, table 3. BT.709's curve and its kin are taken for sRGB's, as players take them."""
_LIKE_SRGB = 0.45455
_GAMMA_TOLERANCE, _CHROMATICITY_TOLERANCE = 0.02, 0.003
"""Up to which gAMA and cHRM mean sRGB."""
WHITE_CD_M2 = 203.0
"""Luminance that becomes white, nearly: reference white of HDR (ITU-R BT.2408)."""
_HLG_PEAK_CD_M2, _PQ_PEAK_CD_M2 = 1000.0, 10_000.0
_KNEE, _PEAK = 0.8, 5.0
"""Of white: up to where light stays as it is, and what becomes white; in between it is pressed
together by a Möbius transform, as ffmpeg's filter `tonemap=mobius` does."""
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])
"""White of ICC's connection space."""


class CodePoints(NamedTuple):
    """Code points of ITU-T H.273.

    Attributes:
        primaries, transfer: by number.
        full_range: whether black to white is the full range of the numbers.
    """

    primaries: int
    transfer: int
    full_range: bool = True

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in {PQ, HLG}

    @property
    def is_known(self) -> bool:
        """Whether the colors are known by them."""
        return self.is_hdr or (
            self.transfer in _EXPONENTS and self.primaries in {*_PRIMARIES, _UNSPECIFIED}
        )

    def profile(self) -> bytes | None:
        """An ICC profile that says the same; None if they are sRGB's."""
        exponent = _EXPONENTS[self.transfer]
        primaries = _BT709 if self.primaries == _UNSPECIFIED else self.primaries
        if primaries == _BT709 and exponent == _SRGB_CURVE:
            return None
        return matrix_profile(_PRIMARIES[primaries], exponent)


def color_of(image: Image.Image) -> tuple[bytes | None, CodePoints | None]:
    """Find what the numbers of an opened image mean.

    Args:
        image: opened by `read`, which adds what Pillow doesn't tell (`CODE_POINTS`), or by others.

    Returns:
        the ICC profile that goes with them, None for sRGB or nothing known; and code points by
        which `normalize` has to change them first, None if they stay.
    """
    info = image.info
    profile = info.get("icc_profile")
    if info.keys().isdisjoint(_KEYS) and b"cicp" not in (profile or b""):
        return profile, None
    points = _code_points(info, profile)
    if points is not None and (points.is_hdr or profile is None or image.format == "PNG"):
        if points.is_hdr:
            return None, points
        return points.profile(), None if points.full_range else points
    if profile is None and "srgb" not in info:
        profile = _profile_of_chunks(info.get("gamma"), info.get("chromaticity"))
    return profile, None


def _code_points(info: Mapping[Any, Any], profile: bytes | None) -> CodePoints | None:
    """Code points of PNG and AVIF, of HEIF (`nclx_profile` of pillow_heif), or of a profile."""
    points = info.get(CODE_POINTS)
    if points is None and (nclx := info.get("nclx_profile")):
        points = CodePoints(nclx["color_primaries"], nclx["transfer_characteristics"])
    if points is None and profile is not None and b"cicp" in profile[128:]:
        points = _profiles_code_points(profile)
    return points if points is not None and points.is_known else None


def _profiles_code_points(profile: bytes) -> CodePoints | None:
    """HDR's code points of an ICC profile; those of others say what its curves do, too."""
    for place in range(132, min(len(profile) - 11, 132 + 12 * 100), 12):
        name, start, length = struct.unpack_from(">4sII", profile, place)
        if name == b"cicp" and length >= 12 and profile[start : start + 4] == b"cicp":
            points = CodePoints(*profile[start + 8 : start + 10])
            return points if points.is_hdr else None
    return None


def _profile_of_chunks(gamma: float | None, chromaticities: Chromaticities | None) -> bytes | None:
    """The profile of what gAMA and cHRM say; None if that is sRGB, or nonsense."""
    like_srgb = gamma is None or abs(gamma - _LIKE_SRGB) < _GAMMA_TOLERANCE
    srgb = _PRIMARIES[_BT709]
    if chromaticities is None or all(
        abs(one - other) < _CHROMATICITY_TOLERANCE
        for one, other in zip(chromaticities, srgb, strict=True)
    ):
        chromaticities = srgb
        if like_srgb:
            return None
    if gamma is not None and not 0.1 <= gamma <= 10:
        return None
    exponent = _SRGB_CURVE if gamma is None else 1 / gamma
    return matrix_profile(tuple(chromaticities), exponent)


def parse_code_points(content: bytes) -> CodePoints | None:
    """Read the content of PNG's cICP: four bytes; None for anything else."""
    return CodePoints(content[0], content[1], content[3] != 0) if len(content) == 4 else None


def normalize(pixels: Pixels, points: CodePoints) -> None:
    """Bring pixels to the full range, and HDR to sRGB, in place.

    Args:
        pixels: uint8 or uint16 (H, W, 3) RGB.
        points: what they mean.
    """
    white = full_scale(pixels)
    levels = np.arange(white + 1, dtype=np.float32) / np.float32(white)
    if not points.full_range:  # black is 16 and white 235, of 8 bits
        unit = (white + 1) // 256
        levels = (np.arange(white + 1, dtype=np.float32) - 16 * unit) / np.float32(219 * unit)
        levels = levels.clip(0, 1)
    if not points.is_hdr:
        table = np.rint(levels * white).astype(pixels.dtype)
        for rows in row_strips(pixels.shape):
            pixels[rows] = table[pixels[rows]]
        return
    primaries = _PRIMARIES.get(points.primaries, _PRIMARIES[_BT2020])
    light = (_pq_light if points.transfer == PQ else _hlg_light)(levels)
    for rows in row_strips(pixels.shape):
        linear = light[pixels[rows]]
        pixels[rows] = np.rint(_tone_mapped(linear, primaries, points.transfer) * white)


def _tone_mapped(
    linear: NDArray[np.float32], primaries: Chromaticities, transfer: int
) -> NDArray[np.float32]:
    """Linear light, float32 (h, w, 3) of the primaries, 1 being white, to sRGB in [0, 1]."""
    to_xyz = rgb_to_xyz(primaries)
    if transfer == HLG:  # the display's part of it (BT.2100, OOTF): scene light to display light
        luminance = cv2.transform(linear, to_xyz[1:2].astype(np.float32))
        linear = linear * (
            np.maximum(luminance, 1e-6)[..., None] ** 0.2 * (_HLG_PEAK_CD_M2 / WHITE_CD_M2)
        ).astype(np.float32)
    matrix = np.linalg.inv(rgb_to_xyz(_PRIMARIES[_BT709])) @ to_xyz
    linear = np.maximum(np.asarray(cv2.transform(linear, matrix.astype(np.float32))), 0)
    brightest = np.maximum(linear.max(axis=2), 1e-6)
    linear = linear * (_pressed(brightest) / brightest)[..., None]
    return _srgb_encoded(np.clip(linear, 0, 1))


def _pressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Möbius: as it is up to the knee, on from there with its slope, the peak at 1."""
    knee, peak = _KNEE, _PEAK
    a = -knee * knee * (peak - 1) / (knee * knee - 2 * knee + peak)
    b = (knee * knee - 2 * knee * peak + peak) / (peak - 1)
    scale = (b * b + 2 * b * knee + knee * knee) / (b - a)
    return np.where(light <= knee, light, scale * (light + a) / (light + b)).astype(np.float32)


def _srgb_encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light in [0, 1] to sRGB's values (IEC 61966-2-1)."""
    curved = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= 0.0031308, linear * np.float32(12.92), curved)


def _pq_light(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values in [0, 1] to light, 1 being white (BT.2100, reference PQ EOTF)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = levels.astype(np.float64) ** (1 / m2)
    light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return (light * (_PQ_PEAK_CD_M2 / WHITE_CD_M2)).astype(np.float32)


def _hlg_light(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values in [0, 1] to the scene's light in [0, 1] (BT.2100, inverse of HLG's OETF)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    bright = (np.exp((levels.astype(np.float64) - c) / a) + b) / 12
    return np.where(levels <= 0.5, levels**2 / 3, bright).astype(np.float32)


def rgb_to_xyz(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """The matrix from linear RGB to CIE XYZ, (3, 3), white having a luminance of 1."""
    white, *primaries = (
        np.array([x / y, 1.0, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(primaries, axis=1)
    return np.asarray(columns * np.linalg.solve(columns, white))


@lru_cache(maxsize=16)
def matrix_profile(chromaticities: Chromaticities, exponent: float) -> bytes | None:
    """Make an ICC profile of primaries and a curve (ICC.1:2022).

    Args:
        chromaticities: x and y of white, red, green and blue.
        exponent: of the curve from values to light; 0 for sRGB's curve.

    Returns:
        None if the chromaticities span no color space.
    """
    try:
        to_xyz = rgb_to_xyz(chromaticities)
        cone = _BRADFORD @ to_xyz.sum(axis=1)
        adapt = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cone) @ _BRADFORD
    except (ZeroDivisionError, np.linalg.LinAlgError):
        return None
    columns = (adapt @ to_xyz).T
    if not np.abs(columns).max() < 4:  # NaN, too
        return None
    if exponent == _SRGB_CURVE:
        curve = _fixed(b"para", 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, kind=3)
    else:
        curve = _fixed(b"para", exponent, kind=0)
    tags = {
        b"desc": _text("RGB of given primaries"),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _fixed(b"XYZ ", *_D50),
        b"chad": _fixed(b"sf32", *adapt.ravel()),
        **{
            b"%cXYZ" % name: _fixed(b"XYZ ", *each)
            for name, each in zip(b"rgb", columns, strict=True)
        },
        **{b"%cTRC" % name: curve for name in b"rgb"},
    }
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4xI4s4s4s6H4s24xI12s", start + len(content), 0x04300000, b"mntr", b"RGB ", b"XYZ ",
        2026, 1, 1, 0, 0, 0, b"acsp", 0, _fixed(b"", *_D50),
    )  # fmt: skip
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def _fixed(signature: bytes, *numbers: float, kind: int | None = None) -> bytes:
    """A tag's value: its type, and numbers as s15Fixed16."""
    start = signature + bytes(4) if signature else b""
    if kind is not None:
        start += struct.pack(">HH", kind, 0)
    return start + b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _text(text: str) -> bytes:
    """A tag's value: a text in English, as multiLocalizedUnicodeType."""
    content = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(content), 28) + content


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
