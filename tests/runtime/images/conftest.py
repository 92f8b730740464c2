"""Files made from their specifications, byte by byte."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

MakePng = Callable[..., bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(samples: np.ndarray, color_type: int, *extra: bytes, bits: int | None = None) -> bytes:
    """A PNG of unfiltered rows; `extra` chunks before the pixels.

    Args:
        samples: (H, W) or (H, W, channels), uint8 or uint16; with `bits` below 8, packed.
    """
    height, width = samples.shape[:2]
    if bits is None:
        bits = 8 * samples.dtype.itemsize
        rows = [row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples]
    else:
        spread = np.unpackbits(samples[..., None], axis=2)[..., -bits:].reshape(height, -1)
        rows = [row.tobytes() for row in np.packbits(spread, axis=1)]
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels)]
    ) + chunk(b"IEND", b"")


@pytest.fixture
def make_png() -> MakePng:
    return png


@pytest.fixture
def make_chunk() -> Callable[[bytes, bytes], bytes]:
    return chunk
