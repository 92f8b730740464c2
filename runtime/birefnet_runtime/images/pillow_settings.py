"""Pillow as it is: what reading an image sets for the whole process, and what it may raise."""

import ctypes
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from birefnet_models.base.text import printable
from PIL import Image, ImageChops, _imaging

from ..errors import ImageError

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files; they share no base class."""

_UNSUPPORTED = ("unsupported", "not supported", "not yet supported", "not available", "not impl")
"""Words of Pillow's about sound files of a kind that it doesn't read."""
_END_OF_JPEG = b"\xff\xd9"
_MOST_LOST = 0.02
"""Share of a picture up to which the lost end of a JPEG is overlooked."""

_ANIMATED = frozenset({"GIF", "WEBP", "PNG", "AVIF", "HEIF"})
"""Formats whose frames may follow each other in time; a TIFF's are pages."""
SEQUENCE = "birefnet_sequence"
"""Set in a HEIF's `info`: whether its images follow each other, or are a collection."""

# Without a handler Python prints what Pillow logs of a damaged TIFF to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _PillowSettings:
    """Keeps Pillow's warnings back, and its limit of pixels at ours, while any thread reads.

    It warns of half the pixels that it refuses, and of damage that it reads past. Both settings are
    the process's; Python's own `catch_warnings` isn't safe in threads, where two that overlap leave
    the filters wrong. So the first reader sets them and the last one puts them back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers = 0
        self.limit: int | None = None
        """Pixels that Pillow refuses to pass."""

    @contextmanager
    def __call__(self, max_pixels: int | None) -> Iterator[None]:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._rule: Any = warnings.filters[0]
                self._before = Image.MAX_IMAGE_PIXELS
                self.limit = 2 * self._before if self._before else None
            if max_pixels and self.limit and max_pixels > self.limit:
                Image.MAX_IMAGE_PIXELS = None  # what is opened meanwhile is checked here
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                filters: Any = warnings.filters
                if self._readers == 0:
                    Image.MAX_IMAGE_PIXELS = self._before
                    if self._rule in filters:
                        filters.remove(self._rule)


pillow_settings = _PillowSettings()


def silence_libtiff() -> None:
    """Keep libtiff from printing to the terminal, past Python; Pillow has no switch for it.

    On Windows, where its functions can't be reached, it goes on.
    """
    try:
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
    except (OSError, AttributeError):
        pass


def decoding_error(name: str, error: BaseException) -> ImageError:
    """Make the error for what Pillow raised of a file of that name."""
    reason = printable(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        reason = (
            f"too large to be read safely: {reason}; max_pixels (--max-pixels) raises the limit"
        )
    elif isinstance(error, OSError) and error.errno is not None:
        reason = (error.strerror or reason).lower()
    elif isinstance(error, MemoryError):
        reason = "not enough memory to read it"
    elif any(word in reason.lower() for word in _UNSUPPORTED):
        reason = f"can't be read: {reason}"
    else:
        reason = f"the image is damaged: {reason}"
    return ImageError(f"{name}: {reason}")


def mended_jpeg(stream: Any) -> Image.Image | None:
    """Decode a JPEG that lacks its last bytes; None if more than a trace of the picture is lost.

    Pixels that are lost take what follows: with nothing behind the file and with something they
    differ.
    """
    stream.seek(0)
    content = stream.read().rstrip(b"\xff")
    whole = []
    for filler in (b"", b"\xaa\x55\xa5" * 1000):
        image = Image.open(io.BytesIO(content + filler + _END_OF_JPEG), formats=["JPEG"])
        image.load()
        whole.append(image)
    lost = ImageChops.difference(*whole).getbbox(alpha_only=False)
    if lost is not None:
        left, top, right, bottom = lost
        if (right - left) * (bottom - top) > _MOST_LOST * image.width * image.height:
            return None
    return whole[0]


def is_animated(image: Image.Image) -> bool:
    """Whether an opened file has several frames that follow each other in time."""
    in_time = image.format in _ANIMATED and image.info.get(SEQUENCE, True)
    return bool(in_time) and getattr(image, "n_frames", 1) - first_frame(image) > 1


def first_frame(image: Image.Image) -> int:
    """The number of an animation's first frame: a PNG may have a still image before them."""
    return int(bool(image.info.get("default_image")))
