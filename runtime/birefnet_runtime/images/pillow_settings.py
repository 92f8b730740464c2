"""Pillow as it is: what reading an image sets for the whole process, and what it may raise."""

import ctypes
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from PIL import Image, _imaging

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
