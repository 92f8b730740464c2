"""What pictures take beside the model, and whether `--max-memory` holds with both.

`python -m studies.runs.memory_limits LITE_DIRECTORY FILE`, the first an export of a Swin T
checkpoint (`studies.graphs.golden_checkpoints` writes one; `--external-data --lowering rows` takes
least).

Each run is a `birefnet cutout` of its own. Its peak is read from `VmHWM`, in the program itself,
since `ru_maxrss` of a child starts at its parent's peak.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_runtime import Blur, Canvas, Clean, Color, Encoding, Style
from birefnet_runtime.cutout.memory import SLACK_BYTES, peak_bytes
from birefnet_runtime.images.read import open_image
from birefnet_runtime.images.write import JPEG, PNG, TIFF, WEBP
from PIL import Image

PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "china.jpg"
PROGRAM = """
import sys
from birefnet_apps.cli.main import main
from birefnet_runtime.machine import peak_rss_bytes
try:
    main()
except SystemExit as end:
    print(f"{peak_rss_bytes()} {end.code or 0}", file=sys.stderr)
"""
WAYS: dict[str, tuple[Style, Encoding, tuple[str, ...]]] = {
    "cutout.png": (Style(), Encoding(PNG), ()),
    "cutout.tif": (Style(), Encoding(TIFF), ()),
    "cutout.webp": (Style(), Encoding(WEBP), ()),
    "mask.png": (Style(mask=True), Encoding(PNG), ("--mask",)),
    "mask16.png": (Style(mask=True, depth=16), Encoding(PNG), ("--mask", "--depth", "16")),
    "deep.png": (Style(depth=16), Encoding(PNG), ("--depth", "16")),
    "shadow.png": (Style(shadow="drop"), Encoding(PNG), ("--shadow", "drop")),
    "clean.png": (Style(clean=Clean()), Encoding(PNG), ("--clean", "specks")),
    "clean-mask.png": (
        Style(mask=True, clean=Clean()),
        Encoding(PNG),
        ("--mask", "--clean", "specks"),
    ),
    "canvas.png": (Style(layout=Canvas((3500, 3500))), Encoding(PNG), ("--canvas", "3500x3500")),
    "square.jpg": (
        Style(layout=Canvas(1.0), background=Color((255, 255, 255)), shadow="drop"),
        Encoding(JPEG),
        ("--canvas", "1:1", "--background", "white", "--shadow", "drop"),
    ),
    "square-mask.png": (
        Style(mask=True, layout=Canvas(1.0)),
        Encoding(PNG),
        ("--mask", "--canvas", "1:1"),
    ),
    "white.jpg": (
        Style(background=Color((255, 255, 255))),
        Encoding(JPEG),
        ("--background", "white"),
    ),
    "blur.jpg": (
        Style(background=Blur(), shadow="drop"),
        Encoding(JPEG),
        ("--background", "blur", "--shadow", "drop"),
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Measure both and write the results file."""
    lite, output = map(Path, arguments)
    with tempfile.TemporaryDirectory() as folder:
        stored = {
            "environment": asdict(read_environment()),
            "pictures": measure_pictures(Path(folder)),
            "limits": measure_limits(Path(folder), lite),
        }
    write_results(output, stored)


def make_photos(folder: Path, megapixels: int) -> dict[str, Path]:
    """A photograph as JPEG, with alpha, and with 16 bits a channel."""
    width = round((megapixels * 1.5e6) ** 0.5)
    image = Image.open(PHOTO).resize((width, round(megapixels * 1e6 / width)))
    files = {"8-bit": folder / f"{megapixels}.jpg", "with alpha": folder / f"{megapixels}a.png"}
    image.save(files["8-bit"], quality=90)
    image.putalpha(200)
    image.save(files["with alpha"], compress_level=1)
    return files


def cut_out(*arguments: object) -> dict[str, Any]:
    """Run `birefnet cutout`; its peak, exit code and what it said."""
    command = [sys.executable, "-c", PROGRAM, "cutout", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *said, measured = done.stderr.strip().splitlines()
    peak, code = measured.split()
    lines = [line for line in said if line.startswith("birefnet: ")]
    return {"peak_rss_bytes": int(peak), "exit_code": int(code), "said": lines}


def measure_pictures(folder: Path) -> list[dict[str, Any]]:
    """What a picture of 12 megapixels takes in each way, above a tiny one, and the estimate."""
    Image.new("RGB", (64, 64)).save(folder / "tiny.png")
    base = cut_out(folder / "tiny.png", "-o", folder / "out.png", "-m", "nano")["peak_rss_bytes"]
    files = make_photos(folder, 12)
    Image.open(files["8-bit"]).save(folder / "deep.png", compress_level=1)
    files["16-bit"] = folder / "12deep.tif"
    deep = (folder / "deep.png", "-o", files["16-bit"], "-m", "nano", "--background", "white")
    cut_out(*deep, "--depth", "16", "--foreground", "none")
    rows = []
    for kind, file in files.items():
        for way, (style, encoding, options) in WAYS.items():
            run = cut_out(file, "-o", folder / way, "-m", "nano", *options)
            with open_image(file) as (image, _):
                estimate = peak_bytes(image, style, encoding) + SLACK_BYTES
                pixels = image.width * image.height
            taken = run["peak_rss_bytes"] - base
            row = {"picture": kind, "result": way, "taken_bytes": taken, "estimate_bytes": estimate}
            rows.append(row | {"taken_per_pixel": taken / pixels, "exit_code": run["exit_code"]})
            print(f"{kind:11} {way:12} {taken / 1e6:6.0f} MB of {estimate / 1e6:.0f}", flush=True)
    return rows


def measure_limits(folder: Path, lite: Path) -> list[dict[str, Any]]:
    """Peaks under limits: one picture, several at once, and those that are refused."""
    photos = {
        f"{megapixels} megapixels": make_photos(folder, megapixels)["8-bit"]
        for megapixels in (12, 50, 100)
    }
    many = folder / "many"
    many.mkdir()
    for number in range(8):
        (many / f"{number}.jpg").write_bytes(photos["12 megapixels"].read_bytes())
    settings: list[tuple[str, int, tuple[str, ...], dict[str, Path]]] = [
        (str(lite), 1_000_000_000, (), photos),
        (str(lite), 1_000_000_000, ("--size", "512"), photos),
        ("nano", 400_000_000, (), photos),
        ("nano", 1_000_000_000, (), {**photos, "8 of 12 megapixels": many}),
    ]
    rows = []
    for model, limit, options, sources in settings:
        for what, source in sources.items():
            run = cut_out(
                *(source, "-o", folder / "limits", "-m", model, "--max-memory", limit, *options)
            )
            row: dict[str, Any] = {"model": "nano" if model == "nano" else "lite", **run}
            row |= {"limit_bytes": limit, "options": list(options), "input": what}
            row["said"] = [line.replace(str(folder), "") for line in run["said"]]
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
