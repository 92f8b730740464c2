"""What pictures take beside the model, whether `--max-memory` holds with both, and how near to the
limit it gets.

`python -m studies.runs.memory_limits FILE lite=DIRECTORY NAME=MODEL...`, exports of checkpoints
(`studies.graphs.golden_checkpoints` writes some) or names of the zoo. `--part choices` measures
how near it gets alone, and leaves the rest of FILE as it is.

Each run is a `birefnet cutout` of its own. Its peak is read from `VmHWM`, in the program itself,
since `ru_maxrss` of a child starts at its parent's peak.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_runtime import Blur, Canvas, Clean, Color, Encoding, Segmenter, Style
from birefnet_runtime.cutout.memory import SLACK_BYTES, peak_bytes
from birefnet_runtime.images.read import open_image
from birefnet_runtime.images.write import JPEG, PNG, TIFF, WEBP
from PIL import Image

from studies.tables import table_lines

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


LIMITS_MB = (600, 700, 800, 1000, 1500, 2000)
STEP = 64
"""Between the sizes at which peaks are measured, in pixels."""


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file, after each part."""
    only_choices = "--part" in arguments
    output, *named = (each for each in arguments if each not in ("--part", "choices"))
    models = dict(each.split("=", 1) for each in named)
    file = Path(output)
    stored: dict[str, Any] = json.loads(file.read_text()) if only_choices else {}
    stored["choices_environment"] = asdict(read_environment())
    with tempfile.TemporaryDirectory() as folder:
        if not only_choices:
            stored["environment"] = stored["choices_environment"]
            stored["pictures"] = measure_pictures(Path(folder))
            stored["limits"] = measure_limits(Path(folder), models["lite"])
            write_results(file, stored)
        photo = make_photos(Path(folder), 12)["8-bit"]
        stored["choices"] = []
        for name, model in models.items():
            stored["choices"] += measure_choices(photo, name, model)
            write_results(file, stored)
    print(markdown_table(stored))


def measure_choices(photo: Path, name: str, model: str) -> list[dict[str, Any]]:
    """What each limit led to for a photograph of 12 megapixels, what it took, and the largest size
    that would have kept the limit, by runs without one."""
    trained = min(Segmenter(model).model_size((1, 1)))
    sizes = range(trained, trained // 2 - 1, -STEP)
    peaks = {size: _run(photo, model, "--size", size, "--memory", "low") for size in sizes}
    rows = []
    for limit in (1_000_000 * megabytes for megabytes in LIMITS_MB):
        run = _run(photo, model, "--max-memory", limit)
        said = re.search(r"running at (\d+)x", " ".join(run["said"]))
        chosen = (int(said[1]) if said else trained) if run["exit_code"] == 0 else None
        kept = [size for size, row in peaks.items() if row["peak_rss_bytes"] <= limit]
        row = {
            "model": name,
            "limit_bytes": limit,
            "chosen": chosen,
            "best": max(kept, default=None),
        }
        row |= {"peak_rss_bytes": run["peak_rss_bytes"], "said": run["said"]}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def _run(photo: Path, model: str, *options: object) -> dict[str, Any]:
    run = cut_out(photo, "-o", photo.with_name("cutout.png"), "-m", model, *options)
    run["said"] = [line.replace(str(photo.parent), "") for line in run["said"]]
    return run


def markdown_table(stored: dict[str, Any]) -> str:
    """A row a model, from the content of a results file: for each limit the size that was chosen,
    what that took, and the best size where it is another."""
    rows: dict[str, list[str]] = {}
    for each in stored["choices"]:
        chosen, best = each["chosen"], each["best"]
        cell = f"{chosen}, {each['peak_rss_bytes'] / 1e6:.0f} MB" if chosen else "refused"
        cell += f" ({best})" if best and best != chosen else ""
        rows.setdefault(each["model"], []).append(cell)
    header = ("model", *(f"{limit:,} MB" for limit in LIMITS_MB))
    lines = table_lines(header, [(name, *cells) for name, cells in rows.items()])
    machine = stored["choices_environment"]
    lines += [
        "",
        "A photograph of 12 megapixels under limits: the size that was chosen and the peak of the "
        f"process; in brackets the largest size, in steps of {STEP}, that would have kept the "
        f"limit, where that is another. Generated weights, one at a time; {machine['processor']}, "
        f"{machine['cores']} cores, onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


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


def measure_limits(folder: Path, lite: str) -> list[dict[str, Any]]:
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
        (lite, 1_000_000_000, (), photos),
        (lite, 1_000_000_000, ("--size", "512"), photos),
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
