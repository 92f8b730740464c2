"""Image files in, image files out."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from birefnet_models.files import replacing
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError, OutputError

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | ArrayLike

# fmt: off
SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""What counts as an image when a folder is searched. A file named by itself may have any suffix."""

PNG_LEVEL = 4
"""Files as small as at zlib's default of 6, in a third to a half of the time."""

# What Pillow's decoders raise on damaged files; they share no base class.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(source: ImageSource) -> NDArray[np.uint8]:
    """Read any of the accepted inputs.

    Of a file (a path, or its bytes) the first frame is read and its EXIF orientation applied. A PIL
    image keeps its pixels where they are. Both become 8-bit RGB: alpha is composited over white,
    16-bit grey is scaled, CMYK is converted by Pillow without its colour profile.

    Args:
        source: path, bytes of an image file, PIL image, or uint8 (H, W, 3) RGB, 0–255.

    Returns:
        uint8 (H, W, 3) RGB, 0–255.

    Raises:
        ImageError: the input is none of these; the message names the file.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        try:
            with open(source, "rb") as stream:
                return _decode(stream, name)
        except OSError as error:
            raise ImageError(f"{name}: {_reason(error)}") from error
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), f"image of {len(source)} bytes")
    if isinstance(source, Image.Image):
        return _rgb(source, "PIL image")
    return _check_array(source)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8, as PNG.

    The file appears whole or not at all.

    Raises:
        OutputError: the file can't be written.
    """
    try:
        with replacing(path) as temporary:
            Image.fromarray(image).save(temporary, format="PNG", compress_level=PNG_LEVEL)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {_reason(error)}") from error


def _decode(stream: BinaryIO, name: str) -> NDArray[np.uint8]:
    try:
        if not stream.read(1):
            raise ImageError(f"{name}: the file is empty")
        with warnings.catch_warnings():
            # Pillow warns of half the pixels that it refuses, and of damage that it reads past.
            warnings.simplefilter("ignore")
            with Image.open(stream) as image:
                image.load()
                return _rgb(ImageOps.exif_transpose(image), name)
    except _DECODING_ERRORS as error:
        raise ImageError(f"{name}: {_decoding_reason(error)}") from error


def _rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """8-bit RGB of a PIL image of any mode."""
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: the image has no pixels: {image.width} x {image.height}")
    if image.mode.startswith("I"):  # 16-bit grey; as 32-bit integers where a format has no other
        grey = np.clip(np.asarray(image, dtype=np.float32) / np.float32(257), 0, 255)
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no known range; convert to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    try:
        return np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise ImageError(f"{name}: mode {image.mode} can't be converted to RGB") from error


def _check_array(source: ArrayLike) -> NDArray[np.uint8]:
    try:
        array = np.asarray(source)
    except (ValueError, TypeError) as error:
        raise ImageError(f"expected an image, got something that is no array: {error}") from error
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageError(
            f"expected an image as uint8 (H, W, 3) RGB, got {array.dtype} {array.shape}"
        )
    if array.size == 0:
        raise ImageError(f"the image has no pixels: {array.shape}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _decoding_reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that Pillow doesn't read"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large to be read safely: {error}"
    if isinstance(error, OSError) and error.errno is not None:
        return _reason(error)
    if isinstance(error, MemoryError):
        return "not enough memory to read it"
    return f"the image is damaged: {' '.join(str(error).split()) or type(error).__name__}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
