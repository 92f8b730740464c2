"""Image files in: what Pillow reads, and through OpenCV what Pillow would cut to 8 bits."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError
from .icc import gray_curve, lab_to_srgb, space_of, to_srgb
from .picture import Picture
from .sixteen_bit import is_sixteen_bit_color, read_sixteen_bit_color

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | ArrayLike | Picture

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm",
    ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""What counts as an image when a folder is searched. A file named by itself may have any suffix."""

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
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})


def read_image(source: ImageSource) -> Picture:
    """Read any of the accepted inputs.

    Of a file (a path, or its bytes) the first frame is read and its EXIF orientation applied. A PIL
    image keeps its pixels where they are. Gray becomes RGB of three equal channels. An RGB profile
    is kept beside the pixels; CMYK, Lab and gray with a profile are converted to sRGB, CMYK without
    one by Pillow's plain formula. 16-bit PNG and TIFF stay 16-bit.

    Args:
        source: path, bytes of an image file, PIL image, Picture, or an array: uint8 or uint16,
            (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, alpha not premultiplied.

    Raises:
        ImageError: the input is none of these; the message names the file.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return _picture(source, "PIL image")
    if isinstance(source, str | os.PathLike | bytes):
        with open_image(source) as (image, name):
            return decode(image, name)
    return _from_array(source)


@contextmanager
def open_image(
    source: str | os.PathLike[str] | bytes, name: str | None = None
) -> Iterator[tuple[Image.Image, str]]:
    """Open an image file without decoding it; yield it and the name that errors give it.

    Args:
        source: a path, or the file's bytes.
        name: by default the path.

    Raises:
        ImageError: it is no image, or the block finds it damaged.
    """
    if name is None:
        name = f"image of {len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            start = stream.read(32)
            if not start:
                raise ImageError(f"{name}: the file is empty")
            heif = start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS
            if heif and not _heif_is_read():
                raise ImageError(
                    f"{name}: HEIC needs a plugin; install it with: "
                    "pip install 'birefnet-ort[heic]'"
                )
            with _quiet(), Image.open(stream) as image:
                yield image, name
    except _DECODING_ERRORS as error:
        raise ImageError(f"{name}: {_decoding_reason(error)}") from error


def decode(image: Image.Image, name: str) -> Picture:
    """Decode the current frame of an opened file.

    Raises:
        ImageError: it has no pixels, or pixels that mean no colors.
    """
    if is_sixteen_bit_color(image):
        pixels = read_sixteen_bit_color(image)
        profile = image.info.get("icc_profile")
        return _split(pixels, profile if space_of(profile) == "RGB" else None)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return _picture(image, name)


def pixels_of(source: str | os.PathLike[str] | bytes) -> int:
    """Read the number of pixels from an image file's header; 0 if it can't be opened."""
    try:
        with open_image(source) as (image, _):
            return image.width * image.height
    except ImageError:
        return 0


def _picture(image: Image.Image, name: str) -> Picture:
    """Make a Picture of a PIL image of any mode."""
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: the image has no pixels: {image.width} x {image.height}")
    profile = image.info.get("icc_profile")
    space = space_of(profile)
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no known range; convert to 8 bits")
    if image.mode.startswith("I"):  # 16-bit gray; as 32-bit integers where a format has no other
        return Picture(_sixteen_bit_gray(image, profile if space == "GRAY" else None))
    opacity = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in {"L", "LA", "La"} else "RGBA")
        opacity = np.asarray(image.getchannel("A"))
        image = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    if profile and space == {"1": "GRAY", "L": "GRAY", "CMYK": "CMYK"}.get(image.mode):
        image = to_srgb(image.convert("L") if image.mode == "1" else image, profile) or image
        profile = None
    if image.mode == "LAB":
        image = lab_to_srgb(image)
    if image.mode == "CMYK":
        profile = None
    if image.mode != "RGB":
        try:
            image = image.convert("RGB")
        except ValueError as error:
            raise ImageError(f"{name}: mode {image.mode} can't become RGB") from error
    return Picture(np.asarray(image), opacity, profile if space == "RGB" else None)


def _sixteen_bit_gray(image: Image.Image, profile: bytes | None) -> NDArray[np.uint16]:
    """Convert 16-bit gray to uint16 (H, W, 3), through its profile if it has one."""
    levels = np.asarray(image).clip(0, 65535).astype(np.uint16)
    curve = gray_curve(profile) if profile else None
    if curve is not None:
        table = np.interp(np.arange(65536) / 257, np.arange(256), curve * 257)
        levels = np.rint(table).astype(np.uint16)[levels]
    return np.repeat(levels[..., None], 3, axis=2)


def _split(pixels: Any, profile: bytes | None = None) -> Picture:
    """Make a Picture of (H, W, 3) RGB or (H, W, 4) RGBA, each of its arrays contiguous."""
    return Picture(
        np.ascontiguousarray(pixels[..., :3]),
        np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None,
        profile,
    )


def _from_array(source: ArrayLike) -> Picture:
    try:
        array = np.asarray(source)
    except (ValueError, TypeError) as error:
        raise ImageError(f"expected an image, got something that is no array: {error}") from error
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if not shaped or array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "expected an image as uint8 or uint16 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, "
            f"got {array.dtype} {array.shape}"
        )
    if array.size == 0:
        raise ImageError(f"the image has no pixels: {array.shape}")
    return Picture(np.repeat(array[..., None], 3, axis=2)) if array.ndim == 2 else _split(array)


def _heif_is_read() -> bool:
    """Register Pillow's HEIC plugin if it is installed; whether HEIC can be read."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return "HEIF" in Image.OPEN
    register_heif_opener()
    return True


class _Quiet:
    """Keeps Pillow's warnings back while any thread reads.

    It warns of half the pixels that it refuses, and of damage that it reads past. Python's own
    `catch_warnings` isn't safe in threads: two that overlap leave the filters wrong.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._rule: Any = warnings.filters[0]
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                filters: Any = warnings.filters
                if self._readers == 0 and self._rule in filters:
                    filters.remove(self._rule)


_quiet = _Quiet()


def _decoding_reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that Pillow doesn't read"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large to be read safely: {error}"
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or str(error)).lower()
    if isinstance(error, MemoryError):
        return "not enough memory to read it"
    return f"the image is damaged: {' '.join(str(error).split()) or type(error).__name__}"
