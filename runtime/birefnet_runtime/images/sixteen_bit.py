"""16-bit color, which Pillow would cut to 8 bits: read through OpenCV."""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_PLANAR = 284
_RGB_PHOTOMETRIC, _PHOTOMETRIC = 2, 262
_TURNS: dict[int, tuple[bool, int]] = {
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}
"""EXIF orientation: mirrored left to right first, then turned so many quarters counterclockwise."""


def is_sixteen_bit_color(image: Image.Image) -> bool:
    """Whether an opened file, not yet decoded, has 16-bit color that OpenCV reads.

    16-bit gray is not among them: Pillow reads it whole.
    """
    if image.format == "PNG":
        return image.mode in {"RGB", "RGBA"} and any(
            ";16B" in str(tile[3]) for tile in getattr(image, "tile", ())
        )
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, ())
        chunky = tags.get(_PLANAR, 1) == 1  # OpenCV 5.0 reads one plane of the others
        return (
            tags.get(_PHOTOMETRIC) == _RGB_PHOTOMETRIC and chunky and bits in {(16,) * 3, (16,) * 4}
        )
    return False


def read_sixteen_bit_color(image: Any) -> NDArray[np.uint16]:
    """Decode an opened PIL image for which `is_sixteen_bit_color` holds.

    Returns:
        uint16 (H, W, 3) RGB or (H, W, 4) RGBA, turned by its EXIF orientation.

    Raises:
        ValueError: the file is damaged.
    """
    orientation = _orientation(image)
    image.fp.seek(0)
    encoded = bytearray(image.fp.read())
    if image.format == "TIFF":
        _lay_upright(encoded)
    else:
        image.verify()  # libpng would print what it finds to the terminal
    log: Any = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("OpenCV can't decode it") from error
    finally:
        log.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("OpenCV can't decode it")
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return turn(np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint16), orientation)


def turn(pixels: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Apply an EXIF orientation to (H, W, ...)."""
    mirrored, quarters = _TURNS.get(orientation, (False, 0))
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.rot90(pixels, quarters)


def _orientation(image: Any) -> int:
    """EXIF orientation, 1 to 8. `getexif` would decode a PNG for chunks behind its pixels."""
    if image.format == "TIFF":
        return int(image.tag_v2.get(_ORIENTATION, 1))
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return int(exif.get(_ORIENTATION, 1))


def _lay_upright(tiff: bytearray) -> None:
    """Set the orientation of the first page to 1, in place: OpenCV 5.0 fails on the others."""
    order = "<" if tiff[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", tiff, 2)[0] != 42:
        return  # BigTIFF
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", tiff, entry)[0] == _ORIENTATION:
            struct.pack_into(order + "H", tiff, entry + 8, 1)
