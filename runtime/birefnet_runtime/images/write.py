"""Image files out: which formats there are, and what each can hold."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from birefnet_models.atomic_write import replacing
from PIL import Image

from ..errors import OutputError
from .picture import Pixels, to_eight_bits
from .png import write_png
from .tiff import write_tiff

FormatName: TypeAlias = Literal["png", "webp", "tiff", "jpeg"]


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
)
PNG, WEBP, TIFF, JPEG = FORMATS


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a result is written.

    Attributes:
        format: which of `FORMATS`.
        quality: of JPEG and lossy WebP, 1 to 100.
        lossless: of WebP.
    """

    format: Format = PNG
    quality: int = 92
    lossless: bool = False


def format_named(name: str) -> Format:
    """A format by its name.

    Raises:
        OutputError: there is none of that name.
    """
    for form in FORMATS:
        if form.name == name:
            return form
    raise OutputError(f"{name}: no such format; there are {', '.join(f.name for f in FORMATS)}")


def format_of(path: Path) -> Format:
    """The format that a file's suffix asks for.

    Raises:
        OutputError: none does.
    """
    for form in FORMATS:
        if path.suffix.lower() in form.suffixes:
            return form
    suffixes = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    raise OutputError(f"{path}: results are {suffixes} files; end the name in one of these")


def write_image(
    target: str | os.PathLike[str] | BinaryIO,
    pixels: Pixels,
    encoding: Encoding | None = None,
    *,
    profile: bytes | None = None,
    premultiplied: bool = False,
) -> None:
    """Write a picture. A file appears whole or not at all.

    Args:
        target: a path, or a binary stream, which need not be seekable.
        pixels: uint8 or uint16 (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA. Formats that hold
            8 bits get 8.
        encoding: by default what the path's suffix says, PNG for a stream.
        profile: an ICC profile to go with it.
        premultiplied: whether the colors have been multiplied by alpha; only TIFF can say so.

    Raises:
        OutputError: the format can't hold that, or the file can't be written.
    """
    name = getattr(target, "name", "output") if hasattr(target, "write") else os.fspath(target)
    if encoding is None:
        encoding = Encoding() if hasattr(target, "write") else Encoding(format_of(Path(name)))
    check_fits(encoding.format, pixels.shape, str(name))

    def write(stream: BinaryIO) -> None:
        _WRITERS[encoding.format.name](stream, pixels, encoding, profile, premultiplied)

    write_whole(target, write)


def write_whole(
    target: str | os.PathLike[str] | BinaryIO, write: Callable[[BinaryIO], None]
) -> None:
    """Let `write` fill a stream, or a file that appears whole or not at all; make its directory.

    Raises:
        OutputError: the file can't be written.
    """
    if not isinstance(target, str | os.PathLike):
        try:
            write(target)
            target.flush()
        except OSError as error:
            name = getattr(target, "name", "output")
            raise OutputError(f"{name}: can't be written: {_reason(error)}") from error
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: can't be made: {_reason(error)}") from error
    try:
        with replacing(path) as temporary, open(temporary, "wb") as stream:
            write(stream)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {_reason(error)}") from error


def check_fits(form: Format, shape: tuple[int, ...], name: str) -> None:
    """Whether a picture of that shape can be held.

    Raises:
        OutputError: it can't.
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


def _png(
    stream: BinaryIO, pixels: Pixels, _: Encoding, profile: bytes | None, premultiplied: bool
) -> None:
    write_png(stream, pixels, profile)


def _tiff(
    stream: BinaryIO, pixels: Pixels, _: Encoding, profile: bytes | None, premultiplied: bool
) -> None:
    write_tiff(stream, pixels, profile, premultiplied=premultiplied)


def _webp(
    stream: BinaryIO, pixels: Pixels, encoding: Encoding, profile: bytes | None, _: bool
) -> None:
    options = webp_options(encoding)
    if profile is not None:
        options["icc_profile"] = profile
    Image.fromarray(to_eight_bits(pixels)).save(stream, "WEBP", **options)


def webp_options(encoding: Encoding) -> dict[str, Any]:
    """What Pillow's WebP writer is told."""
    if encoding.lossless:
        # Of lossless WebP, quality means effort. Colors under alpha 0 are kept.
        return {"lossless": True, "quality": 50, "method": 2, "exact": True}
    return {"quality": encoding.quality, "method": 4}


def _jpeg(
    stream: BinaryIO, pixels: Pixels, encoding: Encoding, profile: bytes | None, _: bool
) -> None:
    options: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    image = Image.fromarray(to_eight_bits(pixels))
    image.save(stream, "JPEG", quality=encoding.quality, subsampling=0, **options)


_WRITERS: dict[FormatName, Callable[[BinaryIO, Pixels, Encoding, bytes | None, bool], None]] = {
    "png": _png,
    "webp": _webp,
    "tiff": _tiff,
    "jpeg": _jpeg,
}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
