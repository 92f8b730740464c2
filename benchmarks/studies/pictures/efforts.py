"""Time, size and error of WebP and AVIF by effort: `python -m studies.pictures.efforts FILE`.

A cutout of 12 megapixels, RGBA, as `cutout` would write it: one thread, the writers take turns.
The error is that of the colors where the subject is, at full alpha.
"""

import io
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import PIL
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models.base.text import format_bytes, format_seconds
from birefnet_runtime.cutout.compose import compose
from birefnet_runtime.images.picture import Picture, Pixels
from birefnet_runtime.images.write import AVIF, JPEG, PNG, WEBP, Encoding, write_image
from PIL import Image

from studies.pictures.composites import make_composite
from studies.pictures.image_writers import SIZE, make_pictures
from studies.tables import table_lines

ROUNDS = 3
ENCODINGS = {
    "PNG": Encoding(PNG),
    "JPEG": Encoding(JPEG),
    **{f"WebP, effort {e}": Encoding(WEBP, effort=e) for e in range(7)},
    **{f"WebP without loss, effort {e}": Encoding(WEBP, lossless=True, effort=e) for e in range(5)},
    **{f"AVIF, effort {e}": Encoding(AVIF, effort=e) for e in range(3)},
}


def measure(photos: Path) -> dict[str, Any]:
    """Records by name of the encoding."""
    alpha = make_composite("hair", 0, SIZE).alpha
    picture = Picture(np.asarray(make_pictures(photos)["RGB 8 bits"], dtype=np.uint8))
    cutout = np.asarray(compose(picture, alpha).pixels, dtype=np.uint8)
    opaque = np.ascontiguousarray(cutout[..., :3])
    seconds: dict[str, list[float]] = {name: [] for name in ENCODINGS}
    records: dict[str, Any] = {}
    for _ in range(ROUNDS):
        for name, encoding in ENCODINGS.items():
            pixels: Pixels = opaque if encoding.format == JPEG else cutout
            stream = io.BytesIO()
            started = time.process_time()
            write_image(stream, pixels, encoding)
            seconds[name].append(time.process_time() - started)
            if name not in records:
                with Image.open(stream) as image:
                    read = np.asarray(image.convert("RGB"), dtype=np.float32)
                error = np.abs(read - opaque)[alpha == 1]
                records[name] = {
                    "bytes": stream.getbuffer().nbytes,
                    "mean_error_levels": round(float(error.mean()), 3),
                }
    for name, record in records.items():
        record["median_cpu_s"] = round(median(seconds[name]), 3)
    return records


def markdown_table(stored: dict[str, Any]) -> str:
    """A row an encoding, from the content of a results file."""
    rows = [
        (
            name,
            format_seconds(record["median_cpu_s"]),
            format_bytes(record["bytes"]),
            f"{record['mean_error_levels']:.2f}",
        )
        for name, record in stored["encodings"].items()
    ]
    environment = stored["environment"]
    return "\n".join(
        [
            *table_lines(("encoding", "processor time", "file", "error"), rows),
            "",
            f"A cutout of {stored['megapixels']:.0f} megapixels; the error is the colors' mean in "
            f"levels of 255 where the subject is opaque. {environment['processor']}, Pillow "
            f"{stored['pillow']}.",
        ]
    )


def main() -> None:
    (output,) = sys.argv[1:]
    started = time.perf_counter()
    stored = {
        "environment": asdict(read_environment()),
        "pillow": PIL.__version__,
        "megapixels": SIZE[0] * SIZE[1] / 1e6,
        "rounds": ROUNDS,
        "encodings": measure(Path("examples/photos")),
        "took_s": round(time.perf_counter() - started),
    }
    write_results(Path(output), stored)


if __name__ == "__main__":
    main()
