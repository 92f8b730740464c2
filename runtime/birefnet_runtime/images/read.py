"""Image files in: what Pillow reads, in 8 bits or, where the file has them, in 16."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from birefnet_models.base.extras import install_command
from birefnet_models.base.text import format_bytes, printable
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import ImageError
from .color import (
    CODE_POINTS,
    color_of,
    gray_table,
    lab_to_srgb,
    normalize,
    parse_code_points,
    rgb_profile,
    space_of,
    to_srgb,
)
from .isobmff import avif_code_points, is_sequence
from .metadata import XMP, read_dpi, read_exif, read_xmp, turn_upright
from .picture import Picture, image_strips
from .pillow_settings import (
    DECODING_ERRORS,
    SEQUENCE,
    decoding_error,
    mended_jpeg,
    pillow_settings,
    silence_libtiff,
)
from .png import without_texts
from .psd import ON_WHITE, prepare_psd, without_white
from .sixteen_bit import read_sixteen_bit_color, sixteen_bit_packing
from .unread import raw_kind, undecoded_tiff, unread_kind

FileSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the content of an image file, or an open one."""
ImageSource: TypeAlias = FileSource | Image.Image | ArrayLike | Picture
"""A file, one of Pillow's images, an array as `read_image` takes it, or a picture."""

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs",
    ".hif", ".ico", ".j2c", ".j2k", ".jfif", ".jif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi",
    ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""What counts as an image when a folder is searched. A file named by itself may have any suffix."""
PILLOW_FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000"),
    *("ICO", "PSD", "QOI", "PCX", "SGI", "TGA"),
)
"""All that Pillow may open, and HEIF: none that runs another program, as EPS does."""
MOST_PIPE_BYTES = 1 << 30
_SUBFILE, _OLD_SUBFILE, _REDUCED, _MASK, _MOST_PAGES = 254, 255, 1, 4, 64

_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN = (_PNG, b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM")
"""Signatures of files that are surely no raw ones."""
_NOT_READ = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"v/1\x01": "OpenEXR",
}
"""Signatures of images that nothing here reads, for the message."""
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
_DECODER_BYTES = {"WEBP": 20, "AVIF": 16, "HEIF": 14, "JPEG2000": 28}
"""For each pixel, of decoders that hold a whole picture of their own beside Pillow's."""
_STRIPS_BYTES = 32 << 20
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _EXTRA, _SAMPLE_FORMAT = 258, 262, 284, 338, 339
_WHITE_IS_ZERO, _SEPARATE, _PREMULTIPLIED, _SIGNED = 0, 2, 1, 2


def read_image(source: ImageSource, *, max_pixels: int | None = None) -> Picture:
    """Read any of the accepted inputs.

    Of a file (a path, its bytes, or an open one) the first frame is read and its EXIF orientation
    applied. A PIL image keeps its pixels where they are. Gray becomes RGB of three equal channels.
    An RGB profile is kept beside the pixels; what a file says by code points (cICP, nclx) or gAMA
    and cHRM becomes such a profile, and HDR is tone-mapped to sRGB. CMYK, Lab and gray with a
    profile are converted to sRGB, CMYK without one by Pillow's plain formula. 16-bit PNG and TIFF
    stay 16-bit.

    Args:
        source: path, bytes or a memoryview of an image file, a file open for reading in binary
            (read from its start, and left open), PIL image, Picture, or an array: uint8 or uint16,
            (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, alpha not premultiplied.
        max_pixels: of a file: the most that its header may say; by default Pillow's bound, twice
            `PIL.Image.MAX_IMAGE_PIXELS` (179 million).

    Raises:
        ImageError: the input is none of these; the message names the file.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return picture_of(source, "PIL image")
    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(
        source, "read"
    ):
        with open_image(cast(FileSource, source), max_pixels=max_pixels) as (image, name):
            return decode(image, name)
    return _from_array(source)


@contextmanager
def open_image(
    source: FileSource,
    name: str | None = None,
    *,
    max_pixels: int | None = None,
) -> Iterator[tuple[Image.Image, str]]:
    """Open an image file without decoding it; yield it and the name that errors give it.

    Args:
        source: a path, the file's bytes, or a file open for reading in binary, which stays open. A
            pipe is read whole, up to `MOST_PIPE_BYTES`.
        name: by default the path.
        max_pixels: as in `read_image`.

    Raises:
        ImageError: it is not an image that is read, it is too large, or the block finds it damaged.
    """
    try:
        opened, own_name = _opened(source)
    except OSError as error:
        raise decoding_error(printable(name or os.fspath(cast(str, source))), error) from error
    name = printable(name or own_name)
    try:
        with (
            opened as file,
            pillow_settings(max_pixels),
            _identify(file, name) as image,
        ):
            limit = pixel_limit(max_pixels)
            if limit is not None and image.width * image.height > limit:
                raise ImageError(
                    f"{name}: too large to be read safely: {image.width} x {image.height} pixels, "
                    f"more than {limit / 1e6:.6g} megapixels; max_pixels (--max-pixels) raises "
                    "the limit"
                )
            yield image, name
    except DECODING_ERRORS as error:
        raise decoding_error(name, error) from error


def _opened(source: FileSource) -> tuple[AbstractContextManager[BinaryIO], str]:
    """The file, closed with the block if it is opened here, and what messages call it."""
    if isinstance(source, str | os.PathLike):
        return open(source, "rb"), os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), f"image of {memoryview(source).nbytes} bytes"
    name = getattr(source, "name", None)
    name = name if isinstance(name, str) else "image of an open file"
    if isinstance(source, io.TextIOBase):
        raise ImageError(f"{name}: opened as text; open it with mode 'rb'")
    if source.closed:
        raise ImageError(f"{name}: the file is closed")
    if source.seekable():
        source.seek(0)
    return nullcontext(source), name


def pixel_limit(max_pixels: int | None) -> int | None:
    """The most pixels that are read, while a file is open; None: Pillow's bound is switched off."""
    return pillow_settings.limit if max_pixels is None else max_pixels


def decode(image: Any, name: str) -> Picture:
    """Decode the current frame of an opened file, and read what it says of itself.

    Raises:
        ImageError: it has no pixels, or pixels that mean no colors.
    """
    dpi = read_dpi(image)
    picture = _decode_pixels(image, name)
    return replace(
        picture, dpi=dpi, exif=read_exif(image), xmp=read_xmp(image) if XMP in image.info else None
    )


def _decode_pixels(image: Any, name: str) -> Picture:
    packing = sixteen_bit_packing(image) if image.format in {"PNG", "TIFF"} else None
    if packing:
        profile, points = color_of(image)
        pixels, opacity = read_sixteen_bit_color(image, packing)
        table = None
        if profile and packing.startswith("LA") and space_of(profile) == "GRAY":
            table = gray_table(profile)
        if table is not None:
            for row in pixels:
                row[...] = table[row]
        if points:
            normalize(pixels, points)
        return Picture(pixels, opacity, rgb_profile(profile))
    check_kind(image, name)
    key = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(key, int):
        bits = {"L;2": 2, "L;4": 4}.get(image.tile[0].args if image.tile else "", 8)
        image.info["transparency"] = key * 255 // (2**bits - 1)  # as the pixels are scaled
    stream = image.fp
    try:
        image.load()
    except OSError as error:
        is_jpeg = image.format in {"JPEG", "MPO"}
        reason = undecoded_tiff(image) if image.format == "TIFF" else None
        reason = unread_kind(stream) if is_jpeg else reason
        if reason is not None:
            raise ImageError(f"{name}: {reason}") from error
        mended = mended_jpeg(stream) if is_jpeg else None
        if mended is None:
            raise
        image = mended
    turn_upright(image)
    picture = picture_of(image, name)
    return without_white(picture) if image.info.get(ON_WHITE) else picture


def picture_bytes(image: Image.Image) -> int:
    """Bytes that the Picture of an opened file keeps, from its header."""
    sixteen_bit = image.format in {"PNG", "TIFF"} and sixteen_bit_packing(image)
    wide = 2 if sixteen_bit or image.mode.startswith("I") else 1
    return image.width * image.height * wide * (4 if image.has_transparency_data else 3)


def decoded_bytes(image: Image.Image) -> int:
    """Bytes that `decode` takes at most for an opened file, from its header.

    The Picture is among them, the encoded file is not. From above: 12 megapixels of each format
    stay below it (benchmarks/results/image_readers.json).
    """
    pixels = image.width * image.height
    stored = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}.get(image.mode, 4)
    at_once = pixels * _DECODER_BYTES.get(image.format or "", 0)
    if "progressive" in image.info:
        at_once = stored + 2 * pixels * len(image.getbands())  # the coefficients of all scans
    turned = 2 * stored  # by the EXIF orientation, which may come behind the pixels
    return max(stored + picture_bytes(image), turned, at_once) + _STRIPS_BYTES


def pixels_of(source: FileSource) -> int:
    """Read the number of pixels from an image file's header; 0 if it can't be opened."""
    try:
        with open_image(source) as (image, _):
            return image.width * image.height
    except ImageError:
        return 0


def picture_of(image: Image.Image, name: str) -> Picture:
    """Make a Picture of a PIL image of any mode, where its pixels are.

    Raises:
        ImageError: it has no pixels, or pixels that mean no colors.
    """
    check_kind(image, name)
    tags: Any = getattr(image, "tag_v2", {})
    image.load()
    profile, points = color_of(image)
    if image.mode.startswith("I"):  # 16-bit gray; as 32-bit integers where a format has no other
        picture = _from_sixteen_bit_gray(image, profile, tags)
        if points:
            normalize(picture.pixels, points)
        return replace(picture, profile=rgb_profile(profile))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    opacity = np.empty(pixels.shape[:2], np.uint8) if image.has_transparency_data else None
    for rows, strip in image_strips(image):
        if opacity is not None:
            strip = strip.convert("LA" if image.mode in {"L", "LA", "La"} else "RGBA")
            opacity[rows] = np.asarray(strip.getchannel("A"))
            strip = strip.getchannel("L") if strip.mode == "LA" else strip.convert("RGB")
        pixels[rows] = np.asarray(strip if strip.mode == "RGB" else _to_rgb(strip, profile, name))
    if points:
        normalize(pixels, points)
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
    for rows, strip in image_strips(image):
        stored = np.asarray(strip)
        if tags.get(_BITS_PER_SAMPLE) == (32,):  # unsigned, which Pillow takes for signed
            stored = stored.view(np.uint32) >> 16
        levels: NDArray[np.uint16] = stored.clip(0, 65535).astype(np.uint16)
        if opacity is not None:
            opacity[rows] = np.where(levels == key, 0, 65535)
        if tags.get(_BITS_PER_SAMPLE) == (12,):
            levels = (levels << 4 | levels >> 8).astype(np.uint16)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            levels = np.invert(levels)
        pixels[rows] = (levels if table is None else table[levels])[..., None]
    return Picture(pixels, opacity)


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
        raise ImageError(f"expected an image, got something that is not one: {error}") from error
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if not shaped or array.dtype not in (np.uint8, np.uint16):
        if array.dtype == object:
            raise ImageError(
                "expected an image: a path, the bytes of a file, an open file, a PIL image or an "
                f"array; got {type(source).__name__}"
            )
        raise ImageError(
            "expected an image as uint8 or uint16 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, "
            f"got {array.dtype} {array.shape}"
        )
    if array.size == 0:
        raise ImageError(f"the image has no pixels: {array.shape}")
    return Picture(np.repeat(array[..., None], 3, axis=2)) if array.ndim == 2 else _split(array)


def _identify(file: BinaryIO, name: str) -> Image.Image:
    """Open the image in a file by what is in it."""
    if not file.seekable():
        file = io.BytesIO(file.read(MOST_PIPE_BYTES + 1))
        if file.getbuffer().nbytes > MOST_PIPE_BYTES:
            raise ImageError(
                f"{name}: more than {format_bytes(MOST_PIPE_BYTES)} from a pipe; save it as a file"
            )
    start = file.read(32)
    if not start:
        raise ImageError(f"{name}: the file is empty")
    if not start.startswith(_PLAIN) and (kind := raw_kind(file)):
        raise ImageError(f"{name}: a raw file ({kind}); develop it first, to TIFF or PNG")
    heif = start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS
    if heif and not _heif_is_read():
        raise ImageError(f"{name}: HEIC needs a plugin; install it with: {install_command('heic')}")
    chunks = without_texts(file) if start.startswith(_PNG) else None
    if chunks and chunks.for_apple:
        raise ImageError(f"{name}: a PNG of Apple's own kind (CgBI); save it as plain PNG")
    stream = chunks.stream if chunks else file
    try:
        image = Image.open(stream, formats=[*PILLOW_FORMATS, *(["HEIF"] if heif else [])])
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_unidentified_reason(start, stream)}") from error
    if chunks:
        if chunks.profile is not None:
            image.info["icc_profile"] = chunks.profile
        if chunks.cicp is not None:
            image.info[CODE_POINTS] = parse_code_points(chunks.cicp)
    elif image.format in _PREPARED:
        _PREPARED[image.format](image, file)
    return image


def _prepare_tiff(image: Any, file: BinaryIO) -> None:
    """Go to the first page that is neither a thumbnail nor a mask (TIFF 6.0, NewSubfileType)."""
    silence_libtiff()
    if not image.tag_v2.get(_SUBFILE, 0) & _REDUCED and image.tag_v2.get(_OLD_SUBFILE) != 2:
        return
    with suppress(*DECODING_ERRORS):
        for page in range(1, min(image.n_frames, _MOST_PAGES)):
            image.seek(page)
            if not image.tag_v2.get(_SUBFILE, 0) & (_REDUCED | _MASK):
                return
    image.seek(0)


def _prepare_heif(image: Any, file: BinaryIO) -> None:
    image.info[SEQUENCE] = is_sequence(file)


def _prepare_avif(image: Any, file: BinaryIO) -> None:
    image.info[CODE_POINTS] = avif_code_points(file)


_PREPARED: dict[str, Callable[[Any, BinaryIO], None]] = {
    "TIFF": _prepare_tiff,
    "PSD": prepare_psd,
    "HEIF": _prepare_heif,
    "AVIF": _prepare_avif,
}
"""What an opened file needs that Pillow doesn't do."""


def _heif_is_read() -> bool:
    """Register Pillow's HEIC plugin if it is installed; whether HEIC can be read."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return "HEIF" in Image.OPEN
    register_heif_opener()
    return True


def _unidentified_reason(start: bytes, stream: BinaryIO) -> str:
    for signature, kind in _NOT_READ.items():
        if start.startswith(signature):
            return f"{kind}, which isn't read; convert it to PNG or TIFF first"
    return unread_kind(stream) or "not an image, or of a format that Pillow doesn't read"
