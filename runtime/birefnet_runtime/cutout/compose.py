"""Alpha to the picture that is saved: a cutout, a mask, or the subject before something else."""

import io
import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images.metadata import without_location, xmp_without_location
from ..images.picture import (
    Picture,
    Pixels,
    as_share,
    full_scale,
    quantize,
    row_strips,
    to_depth,
)
from ..images.write import Encoding, write_image
from .background import Background, Color
from .foreground import Estimator, estimate_foreground
from .layout import AnyLayout, place
from .mask import Clean, Subject, find_subject, widen

Shadow: TypeAlias = Literal["none", "drop"]
SHADOWS: tuple[Shadow, ...] = get_args(Shadow)
Metadata: TypeAlias = Literal["keep", "keep-gps", "strip"]
SHADOW_STRENGTH = 0.45
SHADOW_SIZE = 0.025
"""Of the subject's longer side: how far down the shadow falls, and how soft it is."""


@dataclass(frozen=True, slots=True)
class Style:
    """Kind of result.

    Attributes:
        mask: alpha alone, as gray.
        depth: bits a channel, 8 or 16; None: the picture's own, 8 for a mask.
        foreground: how the subject's colors are estimated.
        background: what comes behind the subject; None: nothing, the result is transparent.
        clean: what is cleaned out of the subject's alpha before anything else; None: nothing.
        crop: margin around the subject's box as a share of its longer side, no farther than the
            picture reaches; None: not cropped.
        layout: a `Canvas` or `Layout` that the subject is put on, in place of `crop`; of a picture
            without a subject all of it is. Beyond the picture it is empty, or background.
        shadow: `drop` lays a soft shadow below the subject.
        premultiply: multiply the colors of a transparent result by its alpha.
        metadata: whether EXIF, XMP of maker and rights, and resolution go along: `keep`, but for
            the place where the photograph was taken, `keep-gps` with it, or `strip`.
    """

    mask: bool = False
    depth: Literal[8, 16] | None = None
    foreground: Estimator = "blur"
    background: Background | None = None
    clean: Clean | None = None
    crop: float | None = None
    layout: AnyLayout | None = None
    shadow: Shadow = "none"
    premultiply: bool = False
    metadata: Metadata = "keep"


@dataclass(frozen=True, slots=True)
class Result:
    """A finished picture, and where its subject is.

    Attributes:
        pixels: uint8 or uint16, (H, W) of a mask, (H, W, 4) RGBA of a cutout, (H, W, 3) RGB of a
            subject before a background; RGBA, too, where that shines through.
        profile: the ICC profile of `pixels`.
        subject: in the whole picture's pixels, cropped or not.
        premultiplied: whether the colors have been multiplied by alpha.
        exif: what the picture's file says of itself that is true of the result: a TIFF structure.
        dpi: pixels an inch, across and down.
        xmp: as `exif`, of maker and rights: an XMP packet.
    """

    pixels: Pixels
    profile: bytes | None
    subject: Subject
    premultiplied: bool = False
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None

    def __repr__(self) -> str:
        height, width, *channels = self.pixels.shape
        kind = {(): "gray", (3,): "RGB", (4,): "RGBA"}[tuple(channels)]
        return f"<Result: {width} x {height} {kind}, {self.pixels.dtype}, {self.subject}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the content of a PNG."""
        stream = io.BytesIO()
        self.save(stream, Encoding())
        return stream.getvalue()

    def save(
        self, target: str | os.PathLike[str] | BinaryIO, encoding: Encoding | None = None
    ) -> None:
        """Write it to a file, whole or not at all, with its profile and metadata.

        Args:
            target: a path, or a binary stream, which need not be seekable.
            encoding: by default what the path's suffix says, PNG for a stream.

        Raises:
            OutputError: the format can't hold the picture, or the file can't be written.
        """
        write_image(
            target,
            self.pixels,
            encoding,
            profile=self.profile,
            exif=self.exif,
            dpi=self.dpi,
            xmp=self.xmp,
            premultiplied=self.premultiplied,
        )

    def encode(self, encoding: Encoding | None = None) -> bytes:
        """The content of the file that `save` writes; PNG by default.

        Raises:
            OutputError: the format can't hold the picture.
        """
        stream = io.BytesIO()
        self.save(stream, encoding)
        return stream.getvalue()


def compose(
    picture: Picture,
    alpha: NDArray[np.float32],
    style: Style | None = None,
    *,
    threads: int | None = None,
) -> Result:
    """Make what `style` asks for.

    Args:
        picture: the image.
        alpha: float32 (H, W) in [0, 1], of the subject; the picture's own alpha is multiplied in.
        style: a transparent cutout by default.
        threads: for the foreground's colors; by default as many as cores may be used.

    Raises:
        MissingExtraError: `pymatting` is asked for and not installed.
        ImageError: the background is not an image.
    """
    style = style or Style()
    result = _painted(picture, alpha, style, threads)
    if style.metadata == "strip":
        return result
    exif, xmp = picture.exif, picture.xmp
    if style.metadata != "keep-gps":
        exif = without_location(exif) if exif else None
        xmp = xmp_without_location(xmp) if xmp else None
    return replace(result, exif=exif, dpi=picture.dpi, xmp=xmp)


def _painted(
    picture: Picture, alpha: NDArray[np.float32], style: Style, threads: int | None
) -> Result:
    if style.clean is not None:
        alpha = style.clean.apply(alpha)
    visible = shown_alpha(picture, alpha)
    subject = find_subject(visible)
    placement = place(style.layout, subject.box, picture.size) if style.layout else None
    shown = placement.alpha(visible) if placement else visible
    crop = _crop(style, subject, picture.size)
    if style.mask:
        return Result(quantize(shown[crop], style.depth or 8), None, subject)
    depth = style.depth or 8 * picture.pixels.dtype.itemsize
    pixels: Pixels = np.empty((*picture.size, 4), picture.pixels.dtype)  # alpha comes last
    estimate_foreground(
        picture.pixels,
        alpha,
        opacity=picture.opacity,
        estimator=style.foreground,
        threads=threads,
        out=pixels[..., :3],
    )
    if placement:
        pixels = placement.colors(pixels, visible, shown)
    pixels = to_depth(pixels[crop], depth)
    shade = None
    if style.shadow == "drop":
        shade = _shade(shown, find_subject(shown) if placement else subject)[crop]
    if style.background is None:
        _make_transparent(pixels, shown[crop], shade, depth, style.premultiply)
        return Result(pixels, picture.profile, subject, premultiplied=style.premultiply)
    size = shown.shape[0], shown.shape[1]
    behind = to_depth(style.background.fill(picture, visible, size)[crop], depth)
    if isinstance(style.background, Color) and style.background.opacity < 1:
        _make_transparent(pixels, shown[crop], shade, depth, premultiply=False)
        _lay_under(pixels, behind, style.background.opacity)
        return Result(pixels, picture.profile, subject)
    return Result(_lay_over(pixels, shown[crop], behind, shade), picture.profile, subject)


def _crop(style: Style, subject: Subject, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns that are left of a picture."""
    if style.crop is None or style.layout is not None or subject.box is None:
        return slice(None), slice(None)
    top, left, bottom, right = widen(subject.box, style.crop, size)
    return slice(top, bottom), slice(left, right)


def shown_alpha(picture: Picture, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """The subject's alpha times the picture's own, float32 (H, W) in [0, 1]."""
    if picture.opacity is None:
        return alpha
    shown: NDArray[np.float32] = alpha * as_share(picture.opacity)
    return shown


def _shade(alpha: NDArray[np.float32], subject: Subject) -> NDArray[np.float32]:
    """A soft shadow's darkness, float32 (H, W) in [0, 1], computed small: it has no detail."""
    if subject.box is None:
        return np.zeros_like(alpha)
    top, left, bottom, right = subject.box
    reach = SHADOW_SIZE * max(bottom - top, right - left)
    height, width = alpha.shape
    shrink = max(1.0, reach / 8)
    small_size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = cv2.resize(alpha, small_size, interpolation=cv2.INTER_AREA)
    down = np.array([[1, 0, 0], [0, 1, reach / shrink]], np.float32)
    fallen = cv2.warpAffine(small, down, small_size)
    soft = cv2.GaussianBlur(fallen, (0, 0), max(0.5, reach / shrink))
    shade = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(shade * np.float32(SHADOW_STRENGTH), dtype=np.float32)


def _make_transparent(
    out: Pixels,
    alpha: NDArray[np.float32],
    shade: NDArray[np.float32] | None,
    depth: int,
    premultiply: bool,
) -> None:
    """Fill in the alpha of (H, W, 4), whose colors are the subject's; black shadow below it."""
    for rows in row_strips(alpha.shape):
        shown: Any = alpha[rows]
        if shade is not None:
            shown = shown + shade[rows] * (1 - shown)
        if premultiply or shade is not None:
            part = alpha[rows] if premultiply else alpha[rows] / np.maximum(shown, 1e-6)
            out[rows, :, :3] = np.rint(out[rows, :, :3] * part[..., None])
        out[rows, :, 3] = quantize(shown, depth)


def _lay_over(
    fore: Pixels,
    alpha: NDArray[np.float32],
    behind: Pixels,
    shade: NDArray[np.float32] | None,
) -> Pixels:
    """Fore over behind, (H, W, 3), on the values as they are.

    Not in linear light: networks learn alpha from composites that were made on the values, so that
    is how alpha is meant (benchmarks/results/foreground.json has both, for both kinds of truth).
    """
    pixels = np.empty_like(behind)
    for rows in row_strips(alpha.shape):
        seen = behind[rows].astype(np.float32)
        if shade is not None:
            seen *= 1 - shade[rows][..., None]
        seen += (fore[rows, :, :3] - seen) * alpha[rows][..., None]
        pixels[rows] = np.rint(seen)
    return pixels


def _lay_under(pixels: Pixels, behind: Pixels, opacity: float) -> None:
    """Put (H, W, 3) colors that shine through under (H, W, 4), whose alpha and colors follow."""
    scale = np.float32(full_scale(pixels))
    for rows in row_strips(pixels.shape):
        alpha = pixels[rows, :, 3:].astype(np.float32) / scale
        below = np.float32(opacity) * (1 - alpha)
        total = alpha + below
        seen = pixels[rows, :, :3] * alpha + behind[rows] * below
        pixels[rows, :, :3] = np.rint(seen / np.maximum(total, 1e-6))
        pixels[rows, :, 3:] = np.rint(total * scale)
