"""Image files out: which formats there are, what each can hold, and writing them whole.

Who encodes what was measured (benchmarks/results/image_writers.json): TIFF by tifffile; PNG here,
since OpenCV's encoder takes as long and two more copies of the picture; the others by Pillow.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from birefnet_models.base.files import replacing
from birefnet_models.base.text import printable
from PIL import Image

from ..errors import OutputError
from .metadata import EXIF_PREFIX, first_directory
from .picture import Pixels, to_eight_bits
from .png import write_png

CLASSIC_TIFF_BYTES = 2**32 - 2**25
"""Largest picture, uncompressed, that surely fits the 4 GB of classic TIFF; beyond it BigTIFF."""
_XMP_TAG = 700
WEBP_EFFORT, LOSSLESS_EFFORT, AVIF_EFFORT = 2, 0, 1
FormatName: TypeAlias = Literal["png", "webp", "tiff", "jpeg", "avif"]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format for results.

    Attributes:
        name: as `--format` takes it.
        suffixes: those that mean it, the usual one first.
        transparent: whether it holds alpha.
        deep: whether it holds 16 bits a channel.
        largest_side: in pixels.
    """

    name: FormatName
    suffixes: tuple[str, ...]
    transparent: bool
    deep: bool
    largest_side: int


FORMATS = (
    Format("png", (".png",), transparent=True, deep=True, largest_side=2**31 - 1),
    Format("webp", (".webp",), transparent=True, deep=False, largest_side=16_383),
    Format("tiff", (".tif", ".tiff"), transparent=True, deep=True, largest_side=2**31 - 1),
    Format("jpeg", (".jpg", ".jpeg"), transparent=False, deep=False, largest_side=65_500),
    Format("avif", (".avif",), transparent=True, deep=False, largest_side=65_536),
)
PNG, WEBP, TIFF, JPEG, AVIF = FORMATS


@dataclass(frozen=True, slots=True, init=False)
class Encoding:
    """Format and compression of a result.

    Attributes:
        format: which of `FORMATS`, or its name, as "webp" or "jpg".
        quality: of JPEG, AVIF and lossy WebP, 1 to 100.
        lossless: of WebP.
        effort: of WebP and AVIF, 0 (fast) to 6 (small); None: where more gains little
            (benchmarks/results/efforts.json).

    Raises:
        OutputError: there is no such format, or a number is out of range.
    """

    format: Format
    quality: int
    lossless: bool
    effort: int | None

    def __init__(
        self,
        format: Format | str = PNG,
        quality: int = 92,
        lossless: bool = False,
        effort: int | None = None,
    ) -> None:
        if not 1 <= quality <= 100:
            raise OutputError(f"a quality of {quality}: give 1 to 100")
        if effort is not None and not 0 <= effort <= 6:
            raise OutputError(f"an effort of {effort}: give 0 (fast) to 6 (small)")
        found = format if isinstance(format, Format) else format_named(format)
        for name, value in (
            ("format", found),
            ("quality", quality),
            ("lossless", lossless),
            ("effort", effort),
        ):
            object.__setattr__(self, name, value)


def format_named(name: str) -> Format:
    """Find a format by its name, or by a suffix that means it, in any case.

    Raises:
        OutputError: there is no format of that name.
    """
    for form in FORMATS:
        if name.lower() == form.name or f".{name.lower().removeprefix('.')}" in form.suffixes:
            return form
    raise OutputError(f"{name}: no such format; there are {', '.join(f.name for f in FORMATS)}")


def format_of(path: Path) -> Format:
    """Find the format that a file's suffix stands for.

    Raises:
        OutputError: no format has that suffix.
    """
    for form in FORMATS:
        if path.suffix.lower() in form.suffixes:
            return form
    suffixes = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    raise OutputError(f"{_name(path)}: results are {suffixes} files; end the name in one of these")


def write_image(
    target: str | os.PathLike[str] | BinaryIO,
    pixels: Pixels,
    encoding: Encoding | None = None,
    *,
    profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
    premultiplied: bool = False,
) -> None:
    """Write a picture, whole or not at all.

    Args:
        target: a path, or a binary stream, which need not be seekable.
        pixels: uint8 or uint16 (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA. Formats that hold
            8 bits get 8.
        encoding: by default what the path's suffix says; of an open file that of its name, PNG for
            streams without one.
        profile: an ICC profile to go with it.
        exif: a TIFF structure to go with it; TIFF takes the texts of its first directory.
        dpi: pixels an inch, across and down.
        xmp: an XMP packet to go with it.
        premultiplied: whether the colors have been multiplied by alpha; only TIFF can say so.

    Raises:
        OutputError: the format can't hold the picture, or the file can't be written.
    """
    encoding = encoding or Encoding(_format_for(target))
    check_holds(encoding.format, pixels.shape, _name(target))
    with open_output(target) as stream:
        if encoding.format == PNG:
            write_png(stream, pixels, profile, exif, dpi, xmp)
        elif encoding.format == TIFF:
            write_tiff(stream, pixels, profile, exif, dpi, xmp, premultiplied=premultiplied)
        else:
            options = pillow_options(encoding)
            if exif:
                options["exif"] = EXIF_PREFIX + exif
            if xmp:
                options["xmp"] = xmp
            if dpi and encoding.format == JPEG:
                options["dpi"] = tuple(round(each) for each in dpi)
            image = Image.fromarray(to_eight_bits(pixels))
            image.save(stream, encoding.format.name, icc_profile=profile, **options)


@contextmanager
def open_output(target: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """Open a seekable stream whose content reaches the target whole or not at all.

    A file's directory is made. A target that is a stream gets everything when the block ends.

    Raises:
        OutputError: the target can't be written.
    """
    failure = f"{_name(target)}: can't be written"
    try:
        if isinstance(target, str | os.PathLike):
            path = Path(target)
            if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe or a device
                buffer = io.BytesIO()
                yield buffer
                with open(path, "wb") as device:
                    device.write(buffer.getbuffer())
                return
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError:
                failure = f"{_name(path.parent)}: can't be made"
                raise
            with replacing(path) as temporary, open(temporary, "wb") as stream:
                yield stream
        elif isinstance(target, io.BytesIO) and not target.getbuffer().nbytes:
            try:
                yield target  # in memory already, so that it needs no second buffer
                target.seek(0, io.SEEK_END)
            except BaseException:
                target.seek(0)
                target.truncate()
                raise
        else:
            buffer = io.BytesIO()
            yield buffer
            target.write(buffer.getbuffer())
            target.flush()
    except OSError as error:
        raise OutputError(f"{failure}: {(error.strerror or str(error)).lower()}") from error


def check_holds(form: Format, shape: tuple[int, ...], name: str) -> None:
    """Check that a format can hold a picture of this shape.

    Raises:
        OutputError: it has no transparency, or the picture is too large for it.
    """
    if len(shape) == 3 and shape[2] == 4 and not form.transparent:
        raise OutputError(
            f"{name}: {form.name.upper()} has no transparency; give a background, or write a PNG"
        )
    if max(shape[:2]) > form.largest_side:
        raise OutputError(
            f"{name}: {form.name.upper()} holds sides of up to {form.largest_side} pixels, "
            f"not {shape[1]} x {shape[0]}; write a PNG"
        )


def write_tiff(
    stream: BinaryIO,
    pixels: Pixels,
    profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
    *,
    premultiplied: bool = False,
) -> None:
    """Write a TIFF, deflated after taking differences between neighbors; BigTIFF beyond 4 GB.

    Pillow writes neither 16-bit color nor the tag that says how alpha is meant (TIFF 6.0, section
    18).

    Args:
        stream: where to, seekable.
        pixels: uint8 or uint16 (H, W) gray or (H, W, 3 or 4) RGB or RGBA.
        profile: an ICC profile to go with it.
        exif: a TIFF structure, whose first directory's texts go with it.
        dpi: pixels an inch, across and down.
        xmp: an XMP packet to go with it.
        premultiplied: whether the colors have been multiplied by alpha.
    """
    import tifffile  # 30 ms that only TIFF costs

    alpha = "assocalpha" if premultiplied else "unassalpha"
    tifffile.imwrite(
        stream,
        pixels,
        bigtiff=pixels.nbytes + len(profile or b"") > CLASSIC_TIFF_BYTES,
        photometric="minisblack" if pixels.ndim == 2 else "rgb",
        extrasamples=[alpha] if pixels.shape[2:] == (4,) else None,
        compression="adobe_deflate",
        compressionargs={"level": 1},
        predictor=True,
        iccprofile=profile,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        extratags=[
            *((tag, 2, 0, text, True) for tag, text in first_directory(exif).items()),
            *([(_XMP_TAG, 1, len(xmp), xmp, True)] if xmp else []),
        ],
        metadata=None,
        software=False,
        maxworkers=1,
    )


def pillow_options(encoding: Encoding) -> dict[str, Any]:
    """Options of Pillow's WebP, AVIF or JPEG writer."""
    if encoding.format == JPEG:
        return {"quality": encoding.quality, "subsampling": 0}
    if encoding.format == AVIF:
        effort = AVIF_EFFORT if encoding.effort is None else encoding.effort
        return {"quality": encoding.quality, "subsampling": "4:4:4", "speed": 10 - effort}
    if encoding.lossless:
        effort = LOSSLESS_EFFORT if encoding.effort is None else encoding.effort
        # Of lossless WebP, quality means effort, too. Colors under alpha 0 are kept.
        return {"lossless": True, "quality": 16 * effort, "method": effort, "exact": True}
    effort = WEBP_EFFORT if encoding.effort is None else encoding.effort
    return {"quality": encoding.quality, "method": effort}


def _format_for(target: str | os.PathLike[str] | BinaryIO) -> Format:
    if isinstance(target, str | os.PathLike):
        return format_of(Path(target))
    name = getattr(target, "name", None)
    suffix = Path(name).suffix.lower() if isinstance(name, str) else ""
    return next((form for form in FORMATS if suffix in form.suffixes), PNG)


def _name(target: str | os.PathLike[str] | BinaryIO) -> str:
    """Name of a target in messages."""
    name = target if isinstance(target, str | os.PathLike) else getattr(target, "name", "output")
    return printable(str(name))
