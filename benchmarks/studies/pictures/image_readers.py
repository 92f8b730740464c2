"""Memory of decoding a 12-megapixel picture by format, and time of 16-bit color by library.

`python -m studies.pictures.image_readers FILE`.

Memory: each file is decoded in a process of its own, after a small one, and the peak of resident
memory is compared with what `decoded_bytes` says from the header. Linux alone.
Time: `read_image` against OpenCV's decoder with its channels brought in order, in turns.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_runtime import read_image
from birefnet_runtime.images.read import decode, decoded_bytes, open_image
from birefnet_runtime.images.write import PNG, TIFF, Encoding, write_image
from PIL import Image

from studies.pictures.image_writers import SIZE, added_memory, make_pictures

ROUNDS = 5
TURNED = Image.Exif()
TURNED[0x0112] = 6
FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PNG of 1 bit": ("1", "PNG", {}),
    "PNG, gray": ("L", "PNG", {}),
    "PNG, palette": ("P", "PNG", {}),
    "PNG, RGB": ("RGB", "PNG", {"compress_level": 1}),
    "PNG, RGB, turned": ("RGB", "PNG", {"compress_level": 1, "exif": TURNED}),
    "PNG, RGBA": ("RGBA", "PNG", {"compress_level": 1}),
    "JPEG": ("RGB", "JPEG", {"quality": 95}),
    "JPEG, progressive": ("RGB", "JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
    "JPEG, CMYK": ("CMYK", "JPEG", {}),
    "WebP": ("RGBA", "WEBP", {"method": 0}),
    "WebP without loss": ("RGBA", "WEBP", {"lossless": True, "quality": 0, "method": 0}),
    "TIFF": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "GIF": ("P", "GIF", {}),
    "AVIF": ("RGBA", "AVIF", {"speed": 10}),
    "JPEG 2000": ("RGBA", "JPEG2000", {}),
}
"""By name: Pillow's mode and format, and options of its writer."""


def measure_memory(file: Path) -> dict[str, int]:
    """Peak of memory that decoding a file adds, in a new process, and what was expected."""
    command = [sys.executable, "-m", "studies.pictures.image_readers", "--decode", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, int] = json.loads(done.stdout)
    return measured


def decode_once(file: str) -> dict[str, int]:
    """Decode a file in this process."""
    with open_image(file) as (image, name):
        expected = decoded_bytes(image)
        added = added_memory(lambda: decode(image, name))
    return {"added_memory_bytes": added, "decoded_bytes": expected}


def by_opencv(file: Path) -> Any:
    """Decode 16-bit color with OpenCV."""
    pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return cv2.cvtColor(pixels, code)


def measure_times(file: Path) -> dict[str, dict[str, Any]]:
    """Wall and CPU seconds of both readers, in turns."""
    readers: dict[str, Callable[[Path], Any]] = {"read_image": read_image, "OpenCV": by_opencv}
    times: dict[str, dict[str, Any]] = {name: {"times_s": [], "cpu_s": []} for name in readers}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            started, busy = time.perf_counter(), time.process_time()
            reader(file)
            times[name]["cpu_s"].append(time.process_time() - busy)
            times[name]["times_s"].append(time.perf_counter() - started)
    for record in times.values():
        record["median_s"] = median(record["times_s"])
        record["cpu_s"] = median(record["cpu_s"])
    return times


def main(file: str) -> None:
    """Measure and write the results file."""
    cv2.setNumThreads(1)
    pictures = make_pictures(Path("examples/photos"))
    memory, times = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image")
        rgba = Image.fromarray(pictures["RGBA 8 bits"])
        for name, (mode, form, options) in FILES.items():
            rgba.convert("RGB").convert(mode).save(path, form, **options)
            if mode == "RGBA":
                rgba.save(path, form, **options)
            memory[name] = measure_memory(path)
        for name in ("RGB 16 bits", "RGBA 16 bits", "gray 16 bits"):
            for encoding in (Encoding(PNG), Encoding(TIFF)):
                form = encoding.format.name.upper()
                write_image(path.with_suffix(encoding.format.suffixes[0]), pictures[name], encoding)
                written = path.with_suffix(encoding.format.suffixes[0])
                memory[f"{form}, {name}"] = measure_memory(written)
                if name != "gray 16 bits":
                    times[f"{form}, {name}"] = measure_times(written)
    environment = asdict(read_environment())
    stored = {"environment": environment, "size": SIZE, "threads": 1, "memory": memory}
    write_results(Path(file), {**stored, "times": times})
    for name, record in memory.items():
        share = [count / (SIZE[0] * SIZE[1]) for count in record.values()]
        print(f"{name:22} {share[0]:5.1f} bytes a pixel, {share[1]:5.1f} expected")
    for name, readers in times.items():
        print(name, {reader: round(record["cpu_s"], 3) for reader, record in readers.items()})


if __name__ == "__main__":
    if sys.argv[1] == "--decode":
        read_image(Image.new("RGB", (64, 64)))
        print(json.dumps(decode_once(sys.argv[2])))
    else:
        main(sys.argv[1])
