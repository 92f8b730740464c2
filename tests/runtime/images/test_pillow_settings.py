"""Warnings, log and libtiff's lines: nothing of a file reaches the terminal or stays changed."""

import io
import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.read import open_image, read_image
from PIL import Image

PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def test_libtiff_prints_nothing(capfd):
    """It writes to the terminal past Python, with what a file holds."""
    whole = encoded(PHOTO, "TIFF", compression="tiff_lzw")
    random = np.random.default_rng(3)
    failed = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for position in random.integers(8, len(damaged), 8):
            damaged[position] = random.integers(256)
        try:
            read_image(bytes(damaged))
        except ImageError:
            failed += 1

    assert failed > 5
    assert capfd.readouterr() == ("", "")


def test_pillow_logs_nothing_to_the_terminal(tmp_path):
    """Of a TIFF with too many samples, where no logging is set up."""
    content = bytearray(encoded(PHOTO, "TIFF"))
    entry = content.index(struct.pack("<HHI", 277, 3, 1))
    content[entry + 8 : entry + 10] = struct.pack("<H", 300)
    (tmp_path / "samples.tif").write_bytes(content)
    program = """
import sys
from birefnet_runtime import ImageError, read_image
try:
    read_image(sys.argv[1])
except ImageError as error:
    print("refused")
"""

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "samples.tif")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_pillows_warnings_are_kept_back_in_every_thread_and_back_afterwards():
    """`catch_warnings` would leave the filters wrong where threads overlap."""
    before = list(warnings.filters)
    transparent = Image.new("P", (2, 2))
    content = encoded(transparent, "PNG", transparency=bytes([0, 9]))  # warned of when converted
    failed = []

    def read():
        try:
            for _ in range(20):
                read_image(content)
        except Warning as warning:
            failed.append(warning)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert list(warnings.filters) == before


def test_readers_inside_each_other_leave_everything_as_it_was():
    content = encoded(PHOTO, "PNG")
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS

    with open_image(content, max_pixels=10**9), open_image(content):
        assert Image.MAX_IMAGE_PIXELS is None
        assert len(warnings.filters) == len(filters) + 1

    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (filters, limit)


def test_one_readers_higher_limit_is_not_anothers():
    """Pillow's limit is the process's; what the header says is checked here."""
    large = encoded(Image.new("1", (20_000, 10_000)), "PNG")

    with (
        open_image(encoded(PHOTO, "PNG"), max_pixels=10**9),
        pytest.raises(ImageError, match=r"20000 x 10000 .* 178\.957 megapixels"),
        open_image(large),
    ):
        pass
