"""Time, size and memory of writing a 12-megapixel PNG or TIFF, by library.

`python -m studies.pictures.image_writers FILE`.

Gray, RGB and RGBA of 8 and 16 bits, each with an ICC profile that has to come back. The writers
take turns, so that a slow moment of the machine meets all of them. Figures of a writer that was
replaced stay in the file under `former`, with the commit that had it, from the same run.
"""

import gc
import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_runtime.images.picture import Pixels
from birefnet_runtime.images.png import write_png
from birefnet_runtime.images.write import write_tiff
from PIL import Image, ImageCms

from studies.pictures.composites import make_composite

SIZE = (3000, 4000)
ROUNDS = 5
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
Writer = Callable[[Pixels], memoryview]


def make_pictures(photos: Path) -> dict[str, Pixels]:
    """Gray, RGB and RGBA of 8 and 16 bits, with the grain of real photographs."""
    alpha = make_composite("hair", 0, SIZE).alpha
    tiles = [np.asarray(Image.open(photo).convert("RGB")) for photo in sorted(photos.glob("*.jpg"))]
    row = np.concatenate(tiles, axis=1)
    repeats = (-(-SIZE[0] // row.shape[0]), -(-SIZE[1] // row.shape[1]), 1)
    colors = np.tile(row, repeats)[: SIZE[0], : SIZE[1]]
    # Blurred by a pixel, or the lower byte would be a copy of the upper one.
    fine = np.asarray(cv2.GaussianBlur(colors.astype(np.uint16) * 257, (0, 0), 1), dtype=np.uint16)
    pictures: dict[str, Pixels] = {}
    for bits, rgb in ((8, colors), (16, fine)):
        gray = np.rint(alpha * (2**bits - 1)).astype(rgb.dtype)
        pictures |= {
            f"gray {bits} bits": gray,
            f"RGB {bits} bits": np.ascontiguousarray(rgb),
            f"RGBA {bits} bits": np.dstack([rgb, gray]),
        }
    return pictures


def by_product(write_to: Callable[[BinaryIO, Pixels, bytes], None]) -> Writer:
    """PNG or TIFF as the runtime writes it."""

    def write(pixels: Pixels) -> memoryview:
        stream = io.BytesIO()
        write_to(stream, pixels, PROFILE)
        return stream.getbuffer()

    return write


def by_opencv(level: int) -> Writer:
    """PNG of OpenCV's encoder at a level of zlib, with the filter that suits photographs."""

    def write(pixels: Pixels) -> memoryview:
        code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        image = pixels if channels == 1 else cv2.cvtColor(pixels, code[channels])
        options = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_FILTER]
        done, encoded = cv2.imencodeWithMetadata(
            ".png",
            image,
            [cv2.IMAGE_METADATA_ICCP],
            [np.frombuffer(PROFILE, np.uint8)],
            [*options, cv2.IMWRITE_PNG_FILTER_UP],
        )
        assert done
        whole: Any = encoded
        return memoryview(whole)

    return write


def by_pillow(form: str, **options: Any) -> Writer:
    """Pillow's encoder; of 16 bits it writes gray alone."""

    def write(pixels: Pixels) -> memoryview:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form, icc_profile=PROFILE, **options)
        return stream.getbuffer()

    return write


WRITERS: dict[str, Writer] = {
    "PNG, ours": by_product(write_png),
    "PNG, OpenCV level 1": by_opencv(1),
    "PNG, OpenCV level 2": by_opencv(2),
    "PNG, Pillow level 1": by_pillow("PNG", compress_level=1),
    "TIFF, tifffile": by_product(write_tiff),
    "TIFF, Pillow": by_pillow("TIFF", compression="tiff_adobe_deflate"),
}


def added_memory(work: Callable[[], object]) -> int:
    """Bytes by which a call raises the process's resident memory at its highest; Linux alone."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def keeps_profile(encoded: memoryview) -> bool:
    """Whether the ICC profile comes back as it was."""
    with Image.open(io.BytesIO(encoded)) as opened:
        return opened.info.get("icc_profile") == PROFILE


def compare(pixels: Pixels, writers: dict[str, Writer]) -> dict[str, Any]:
    """Each writer's median wall and CPU seconds, bytes, added memory; those that can write it."""
    measured: dict[str, Any] = {}
    for name, write in writers.items():
        try:
            encoded = write(pixels)
        except (TypeError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        measured[name] = {"bytes": len(encoded), "profile_kept": keeps_profile(encoded)}
        measured[name] |= {"times_s": [], "cpu_s": []}
        del encoded
        measured[name]["added_memory_bytes"] = added_memory(lambda: write(pixels))  # noqa: B023
    for _ in range(ROUNDS):
        for name, record in measured.items():
            started, busy = time.perf_counter(), time.process_time()
            writers[name](pixels)
            record["cpu_s"].append(time.process_time() - busy)
            record["times_s"].append(time.perf_counter() - started)
    for record in measured.values():
        record["cpu_s"] = median(record["cpu_s"])
        record["median_s"] = median(record["times_s"])
    return measured


def main(file: str) -> None:
    """Measure and write the results file."""
    cv2.setNumThreads(1)
    former = json.loads(Path(file).read_text()).get("former") if Path(file).exists() else None
    stored = {
        "environment": asdict(read_environment()),
        "tifffile": version("tifffile"),
        "threads": 1,
        "size": SIZE,
        "pictures": {
            name: compare(pixels, WRITERS)
            for name, pixels in make_pictures(Path("examples/photos")).items()
        },
        **({"former": former} if former else {}),
    }
    write_results(Path(file), stored)
    for picture, writers in stored["pictures"].items():
        for name, record in writers.items():
            print(
                f"{picture:13} {name:22} {record['median_s']:.3f} s {record['cpu_s']:.3f} s CPU "
                f"{record['bytes'] / 1e6:6.2f} MB, memory {record['added_memory_bytes'] / 1e6:+.0f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
