"""Official weights: exported, compared with PyTorch, and looked at.

`python -m studies.graphs.official FILE [--images FOLDER] [NAME ...]`, by default lite and general

Each model is fetched from the hub, exported in fp32, fp16 and int8 (its matrix products alone,
without calibration), compared with PyTorch on tensors and on the photographs at its trained size,
and cuts them out. Generated weights can't show this. FILE gets the figures, and beside it
FILE's name with .jpg a contact sheet: each photograph, and its cutout by each file.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.files import replacing
from birefnet_models.base.text import format_bytes
from birefnet_runtime import Color, Segmenter, Style
from PIL import Image, ImageDraw

from studies.tables import table_lines

BIREFNET = (sys.executable, "-c", "from birefnet_apps.cli.main import main; main()")
ROOT = Path(__file__).parents[3]
MODELS = ("lite", "general")
PRECISIONS = ("fp32", "fp16", "int8")
PANEL_SIDE = 480
"""Longest side of a picture on the contact sheet, in pixels."""
CAPTION_PIXELS = 16
KIND = {"png", "jpg", "jpeg", "webp"}


def birefnet(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command; its lines and its progress are shown.

    Raises:
        SystemExit: it printed no JSON: it failed, and said why.
    """
    print("birefnet", *arguments, file=sys.stderr)
    done = subprocess.run([*BIREFNET, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise SystemExit(done.returncode or 1) from None


def row(report: dict[str, Any], name: str, photos: Sequence[Path]) -> dict[str, Any]:
    """What one exported file is, and how far it is from PyTorch."""
    images = [part for photo in photos for part in ("--image", str(photo))]
    verify = ("verify", report["file"], "--against", name, "--pytorch", "--json")
    code, compared = birefnet(*verify, *images)
    return {
        "model": name,
        "precision": report["precision"],
        "lowering": report["lowering"],
        "file": report["file"],
        "file_bytes": report["file_bytes"],
        "nodes": report["nodes"],
        "passed": code == 0,
        "graph": compared["graph"]["parity"],
        "pictures": [
            {"file": Path(one["file"]).name, "network_size": one["network_size"]} | one["parity"]
            for one in compared["pictures"]
        ],
    }


def panel(photo: Path, model: str | None, caption: str) -> Image.Image:
    """A photograph, or its cutout on gray, with a caption."""
    if model is None:
        picture = Image.open(photo).convert("RGB")
    else:
        with Segmenter(Path(model), providers="cpu") as segmenter:
            gray = Style(background=Color((128, 128, 128)), depth=8)
            picture = Image.fromarray(segmenter.compose(photo, gray).pixels)
    picture.thumbnail((PANEL_SIDE, PANEL_SIDE))
    framed = Image.new("RGB", (PANEL_SIDE, PANEL_SIDE + CAPTION_PIXELS), "white")
    framed.paste(picture, (0, CAPTION_PIXELS))
    ImageDraw.Draw(framed).text((2, 2), caption, "black")
    return framed


def contact_sheet(rows: Sequence[dict[str, Any]], photos: Sequence[Path]) -> Image.Image:
    """A line for each photograph: as it is, and cut out by each file."""
    columns = [(None, "photograph")]
    columns += [(one["file"], f"{one['model']} {one['precision']}") for one in rows]
    height = PANEL_SIDE + CAPTION_PIXELS
    sheet = Image.new("RGB", (PANEL_SIDE * len(columns), height * len(photos)), "white")
    for column, (model, caption) in enumerate(columns):
        for line, photo in enumerate(photos):
            sheet.paste(panel(photo, model, caption), (PANEL_SIDE * column, height * line))
    return sheet


def markdown_table(stored: dict[str, Any]) -> str:
    """The files, with the worst photograph of each."""
    heads = (
        *("model", "precision", "file", "logits", "mask: levels, worst photograph"),
        *("mean", "IoU", "within tolerance"),
    )
    cells = []
    for one in stored["rows"]:
        pictures = one["pictures"]
        cells.append(
            (
                one["model"],
                one["precision"],
                format_bytes(one["file_bytes"]),
                f"{one['graph']['logits_max_abs']:.1e}",
                f"{max(picture['max_levels'] for picture in pictures):.2g}",
                f"{max(picture['mae'] for picture in pictures):.5f}",
                f"{min(picture['iou'] for picture in pictures):.4f}",
                "yes" if one["passed"] else "**no**",
            )
        )
    environment = stored["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    note = (
        f"Against PyTorch at the trained size, {len(stored['photos'])} photographs, "
        f"{stored['from']}. {environment['processor']}; {versions}."
    )
    return "\n".join([*table_lines(heads, cells), "", note])


def main(arguments: Sequence[str]) -> None:
    """Export, compare, cut out, and write what was found."""
    parser = argparse.ArgumentParser(prog="studies.graphs.official")
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--images", type=Path, default=ROOT / "examples/photos")
    chosen = parser.parse_args(arguments)
    photos = sorted(
        file for file in chosen.images.iterdir() if file.suffix.lower().lstrip(".") in KIND
    )
    if not photos:
        raise SystemExit(f"{chosen.images}: no photographs in this folder")
    rows = []
    for name in chosen.names or MODELS:
        _, exported = birefnet("export", name, "--precision", ",".join(PRECISIONS), "--json")
        rows += [row(report, name, photos) for report in exported["reports"]]
    environment = read_environment()
    stored = {
        "from": ", ".join(dict.fromkeys(one["graph"]["reference"] for one in rows)),
        "photos": [photo.name for photo in photos],
        "rows": [{key: part for key, part in one.items() if key != "file"} for one in rows],
        "environment": {
            "processor": environment.processor,
            "cores": environment.cores,
            "python": environment.python,
            "packages": environment.packages,
        },
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    sheet = chosen.output.with_suffix(".jpg")
    with replacing(sheet) as unnamed:
        contact_sheet(rows, photos).save(unnamed, format="JPEG", quality=88)
    write_results(chosen.output, stored)
    print(markdown_table(stored), f"\nLook at {sheet}.")


if __name__ == "__main__":
    main(sys.argv[1:])
