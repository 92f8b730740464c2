"""Seeds of `studies.runs.fuzz_cases` that Pillow doesn't write: color chunks, TIFF, PSD, HEIF."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image

ADOBE_CHRM = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


def with_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that more than those is met."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def color_chunks(png: bytes) -> Iterator[tuple[str, bytes]]:
    """A PNG that says what its colors are in several ways."""
    chunks = {
        b"cICP": (b"\x0c\x0d\0\1", b"\x09\x10\0\1", b"\x09\x12\0\0", b"\1\x08\0\1"),
        b"gAMA": ((45455).to_bytes(4, "big"), (100_000).to_bytes(4, "big")),
        b"cHRM": (b"".join(value.to_bytes(4, "big") for value in ADOBE_CHRM),),
    }
    for kind, contents in chunks.items():
        for content in contents:
            chunk = len(content).to_bytes(4, "big") + kind + content + bytes(4)
            yield "png", with_checksums(png[:33] + chunk + png[33:])


def others(photo: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """Other kinds of files with a photograph, uint8 (H, W, 3) RGB."""
    yield from _tiffs(photo)
    yield from _photoshop(photo)
    yield from _of_phones(photo)


def _tiffs(photo: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """TIFF files in planes, of 32 bits, and with a thumbnail first."""
    planes = np.ascontiguousarray(photo.transpose(2, 0, 1)).astype(np.uint16) * 257
    separate = {"photometric": "rgb", "planarconfig": "separate", "compression": "adobe_deflate"}
    for pixels, options in (
        (planes, separate),
        (planes, {**separate, "predictor": True, "byteorder": ">"}),
        (planes, {**separate, "tile": (64, 64)}),
        (photo[..., 0].astype(np.uint32) << 24, {"photometric": "minisblack"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, metadata=None, **options)
        yield "tif", buffer.getvalue()
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(photo[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(photo, photometric="rgb")
    yield "tif", buffer.getvalue()


def _photoshop(photo: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """PSD files: RGB, with a saved selection, with transparency, CMYK, in PackBits, of 16 bits."""
    five = np.dstack([photo, photo[..., :2]])
    for channels, mode, layers, packed in (
        *((3, 3, 0, False), (4, 3, 0, True), (4, 3, -1, False), (5, 3, -1, True)),
        *((4, 4, 0, False), (5, 4, 0, True), (1, 1, 0, True), (2, 1, -1, False)),
    ):
        yield "psd", _psd(five[..., :channels], mode, layers, packed=packed)
    yield "psd", _psd(photo.astype(">u2") * 257, 3, 0, packed=False, bits=16)


def _psd(
    samples: NDArray[np.generic], mode: int, layers: int, *, packed: bool, bits: int = 8
) -> bytes:
    """A PSD of (H, W, channels), whose header says how many layers it has."""
    height, width, channels = samples.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, bits, mode)
    info = struct.pack(">IhH", 4, layers, 0)
    planes = samples.transpose(2, 0, 1)
    merged = b"\0\0" + planes.tobytes()
    if packed:  # rows of up to 128 literal bytes
        parts = [row.tobytes() for plane in planes for row in plane]
        rows = [
            b"".join(
                bytes([len(row[at : at + 128]) - 1]) + row[at : at + 128]
                for at in range(0, len(row), 128)
            )
            for row in parts
        ]
        merged = b"\0\1" + b"".join(struct.pack(">H", len(row)) for row in rows) + b"".join(rows)
    return head + bytes(8) + struct.pack(">I", len(info)) + info + merged


def _of_phones(photo: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """HEIC and AVIF: with transparency, an orientation, code points of color, several images."""
    picture = Image.fromarray(photo)
    alpha = picture.copy()
    alpha.putalpha(picture.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for images, options in (
        ([picture], {"exif": exif.tobytes()}),
        ([alpha], {}),
        ([picture, picture.resize((64, 43))], {"save_all": True}),
        ([picture], {"color_primaries": 12, "transfer_characteristics": 13}),
        ([picture], {"color_primaries": 9, "transfer_characteristics": 16}),
    ):
        buffer = io.BytesIO()
        make: Any = pillow_heif.HeifFile  # without types
        file = make()
        for image in images:
            file.add_from_pillow(image)
        file.save(buffer, quality=50, **options)
        yield "heic", buffer.getvalue()
    for image in (picture, alpha):
        buffer = io.BytesIO()
        image.save(buffer, "AVIF", quality=50)
        yield "avif", buffer.getvalue()
