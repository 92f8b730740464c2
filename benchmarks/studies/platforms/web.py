"""The network in a browser, and transformers.js step by step.

`python -m studies.platforms.web FILE [CHECKPOINT]`.

Wants Chromium and Node on the path and what `make web` and `make interop` install. CHECKPOINT is
lite-sized, as `studies.graphs.golden_checkpoints` writes `swin_v1_t.safetensors`; nano comes by
itself.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_export.export import export_onnx
from birefnet_models.base.text import format_seconds
from birefnet_runtime import Segmenter
from numpy.typing import NDArray

from studies.platforms import browser, web_pages
from studies.tables import table_lines

PHOTOS = tuple(
    web_pages.ROOT / "examples" / "photos" / name for name in ("china.jpg", "flower.jpg")
)
NANO = web_pages.ROOT / "models" / "nano" / "model.safetensors"
PATIENCE_S = 900.0
"""For one run of the page: a busy machine takes minutes for the large network."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A model as both files: tensors to logits, and pixels to alpha."""

    name: str
    size: tuple[int, int]
    """(height, width) of the network."""
    directory: Path

    @property
    def end_to_end(self) -> Path:
        """Pixels to alpha."""
        return self.directory / "onnx" / "model_end_to_end.onnx"


def exported(name: str, checkpoint: Path, side: int, directory: Path) -> Exported:
    """Write both files of a checkpoint."""
    size = (side, side)
    export_onnx(checkpoint, directory / name, trained_size=size, verify=False, end_to_end=True)
    return Exported(name, size, directory / name)


def in_levels(model: Exported, photo: Path) -> NDArray[np.float64]:
    """Python's mask of a photograph, float64 (H, W), whole numbers from 0 to 255."""
    return np.rint(Segmenter(model.directory)(photo).astype(np.float64) * 255)


def difference(mask: NDArray[Any], reference: NDArray[np.float64]) -> dict[str, float]:
    """Absolute, in levels of 255."""
    off = np.abs(mask - reference)
    return {"mask_max": float(off.max()), "mask_mean": float(off.mean())}


def page_rows(tab: browser.Tab, model: Exported, isolated: bool) -> Iterator[dict[str, Any]]:
    """The page's run of each photograph, in one visit."""
    with web_pages.serving(model.end_to_end, isolated=isolated) as server:
        tab.open(server.url, width=1200, phone=False, scheme="light")
        for photo in PHOTOS:
            run = web_pages.cut_out(tab, photo, PATIENCE_S, device="cpu")
            yield {
                "model": model.name,
                "network": list(model.size),
                "photo": photo.name,
                "image": list(run.alpha.shape),
                "file_bytes": model.end_to_end.stat().st_size,
                "device": run.device,
                "threads": run.threads,
                "seconds": run.seconds,
                "wasm_bytes": run.memory_bytes,
                **difference(run.alpha, in_levels(model, photo)),
            }


def step_rows(tab: browser.Tab, model: Exported) -> Iterator[dict[str, Any]]:
    """transformers.js with its own or our resizing, before and after the network."""
    session = onnxruntime.InferenceSession(model.directory / "onnx" / "model.onnx")
    for photo in PHOTOS:
        reference = in_levels(model, photo)
        for where, result in (
            ("Node", web_pages.steps_in_node(model.directory, photo)),
            ("Chromium", web_pages.steps_in_browser(tab, model.directory, photo, PATIENCE_S)),
        ):
            for before in ("theirs", "ours"):
                tensors = result[before]
                (logits,) = session.run(None, {"input_image": tensors["input"]})
                for after in ("theirs", "ours"):
                    mask = result["masks"][f"in {before}, back {after}"]
                    yield {
                        "where": where,
                        "photo": photo.name,
                        "before": before,
                        "after": after,
                        "logits_max": float(np.abs(logits - tensors["logits"]).max()),
                        **difference(mask, reference),
                    }


def versions() -> dict[str, str]:
    """Of what isn't Python's."""
    said = subprocess.run([browser.find() or "", "--version"], capture_output=True, text=True)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True)
    packages = {
        "onnxruntime-web": web_pages.WEB,
        "transformers.js": web_pages.TRANSFORMERS,
        "transformers.js's onnxruntime-web": web_pages.INTEROP / "onnxruntime-web",
    }
    return {
        "browser": " ".join(said.stdout.split()[:2]),
        "node": node.stdout.strip().removeprefix("v"),
        **{
            name: json.loads((folder / "package.json").read_text())["version"]
            for name, folder in packages.items()
        },
    }


def markdown_table(stored: dict[str, Any]) -> str:
    """The page's runs, from the content of a results file."""
    rows = [
        (
            f"{row['model']} at {row['network'][0]} x {row['network'][1]}",
            f"{row['file_bytes'] / 1e6:.0f} MB",
            str(row["threads"]),
            f"{row['image'][1]} x {row['image'][0]}",
            format_seconds(row["seconds"]),
            f"{row['wasm_bytes'] / 1e6:.0f} MB",
            f"{row['mask_max']:.0f}",
            f"{row['mask_mean']:.3f}",
        )
        for row in stored["page"]
    ]
    heads = ("model", "file", "threads", "picture", "time", "wasm memory", "mask, most", "mean")
    about = stored["versions"]
    return "\n".join(
        [
            *table_lines(heads, rows),
            "",
            "Mask: the difference to Python's in levels of 255. Memory is the peak of all runs so "
            f"far. {about['browser']}, onnxruntime-web {about['onnxruntime-web']}, "
            f"{stored['environment']['processor']}.",
        ]
    )


def steps_table(stored: dict[str, Any]) -> str:
    """transformers.js step by step, from the content of a results file."""
    whose = {"theirs": "its own", "ours": "replaced"}
    rows: dict[tuple[str, str], list[str]] = {}
    columns = sorted({(row["where"], row["photo"]) for row in stored["transformers_js"]})
    for row in stored["transformers_js"]:
        cells = rows.setdefault((row["before"], row["after"]), [""] * len(columns))
        place = columns.index((row["where"], row["photo"]))
        cells[place] = f"{row['mask_max']:.0f}, {row['mask_mean']:.2f}"
    heads = (
        *("resize before", "resize after"),
        *(f"{where}, {photo.partition('.')[0]}" for where, photo in columns),
    )
    lines = [(whose[before], whose[after], *cells) for (before, after), cells in rows.items()]
    logits = max(row["logits_max"] for row in stored["transformers_js"])
    about = stored["versions"]
    return "\n".join(
        [
            *table_lines(heads, lines),
            "",
            "Difference to Python's mask in levels of 255: at most, on average. Logits of the same "
            f"tensor differ by {logits:.0e} at most. transformers.js {about['transformers.js']}, "
            f"Node {about['node']}, {about['browser']}.",
        ]
    )


def main(arguments: Sequence[str]) -> None:
    """Measure nano and the checkpoint in a browser, and transformers.js with nano."""
    output, *checkpoints = map(Path, arguments)
    found = browser.find()
    if found is None:
        raise SystemExit(f"no Chromium on the path: none of {', '.join(browser.NAMES)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nano = exported("nano", NANO, 192, folder)
        runs = [(nano, True), (nano, False)]
        runs += [(exported("lite-sized", file, 1024, folder), True) for file in checkpoints]
        rows: list[dict[str, Any]] = []
        for model, isolated in runs:
            with browser.tab(found, folder / f"profile-{len(rows)}") as tab:
                rows += page_rows(tab, model, isolated)
        with browser.tab(found, folder / "profile-steps") as tab:
            steps = list(step_rows(tab, nano))
    stored = {
        "environment": dataclasses.asdict(read_environment()),
        "versions": versions(),
        "page": rows,
        "transformers_js": steps,
    }
    write_results(output, stored)
    print(markdown_table(stored), steps_table(stored), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
