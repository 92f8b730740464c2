"""Does it cut out on Arm as it does here? `make arm` runs this; some minutes, all of it emulated.

    python -m studies.platforms.arm64 [--processors LIST] [--write benchmarks/results/arm64.json]

Builds the wheel, installs it with the aarch64 wheels into .arm64 (see arm64_machine.py), and holds
what `birefnet doctor`, `cutout`, `serve` and the models of every lowering and precision do on
emulated Arm processors against the same here: masks of examples/photos may differ by one gray
level, those of int8 and bf16 are reported. Exit code 1 beyond that. No times: an emulator's say
nothing.
"""

import argparse
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studies.platforms.arm64_machine import ROOT, Machine, install, prepare
from studies.platforms.arm64_served import served_mask

PHOTOGRAPHS = sorted((ROOT / "examples/photos").glob("*.jpg"))
CHECKPOINT = ROOT / "models/nano/model.safetensors"
PROCESSORS = ("cortex-a72", "neoverse-n1", "neoverse-v1")
"""Raspberry Pi 4; Graviton 2, Ampere Altra and, by its instructions, Raspberry Pi 5; Graviton 3."""
BF16 = {"neoverse-v1"}
"""Those that multiply in bfloat16."""
MOST = 1
"""Gray levels of 255 by which a mask may differ."""
EXPORTS: dict[str, list[str]] = {
    "native": ["--lowering", "native"],
    "rows": ["--lowering", "rows"],
    "gridsample": ["--lowering", "gridsample"],
    "int8": ["--precision", "int8", "--calibrate", str(ROOT / "examples/photos")],
}
"""Files that are made here, with their options."""
BIREFNET = "from birefnet_apps.cli.main import main; main()"


def main() -> None:
    """Prepare, run each part, and end with what differs too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processors", default=",".join(PROCESSORS), help="of QEMU, with commas")
    parser.add_argument("--write", type=Path, help="results file")
    asked = parser.parse_args()
    folder = ROOT / ".arm64"
    machine = prepare(folder)
    serves = "serve" in entry_points(group="birefnet.commands").names
    install(machine, ROOT, "cpu,serve" if serves else "cpu")
    models = {"nano": "nano"} | export_models(folder / "models")
    expected = masks_of([sys.executable], folder / "here.npz", models)
    rows = int8_errors("here", expected)
    for processor in asked.processors.split(","):
        python = machine.command(processor)
        found = masks_of(python, folder / "there.npz", models, machine)
        rows += compare(processor, "", expected, found) + int8_errors(processor, found)
        if processor in BF16:
            there = masks_of(python, folder / "there.npz", models, machine, "cpu:bf16")
            rows += compare(processor, "bf16", expected, there)
    doctor = run_doctor(machine)
    rows += compare_cutouts(machine)
    rows += compare_served(machine, expected) if serves else []
    if not serves:
        print("serve: left out, for this birefnet has no such command")
    if asked.write:
        emulator = subprocess.check_output([machine.qemu, "--version"], text=True).split("\n")[0]
        stored = {"emulated": emulator, "here": expected["versions"], "arm64": found["versions"]}
        stored |= {"doctor": doctor, "unit": "gray levels of 255", "rows": rows}
        asked.write.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    wrong = [row for row in rows if row["required"] and row["largest"] > MOST]
    raise SystemExit(
        f"{len(wrong)} of {len(rows)} masks differ by more than {MOST}" if wrong else 0
    )


def markdown_table(stored: dict[str, Any]) -> str:
    """Largest and mean difference by model and processor, from the content of a results file."""
    processors = list(dict.fromkeys(row["processor"] for row in stored["rows"]))
    lines = [f"| masks | {' | '.join(processors)} |", "| --- " * (len(processors) + 1) + "|"]
    for what in dict.fromkeys(row["what"] for row in stored["rows"]):
        cells = [what]
        for processor in processors:
            rows = [r for r in stored["rows"] if (r["what"], r["processor"]) == (what, processor)]
            largest = max((row["largest"] for row in rows), default=None)
            mean = max((row["mean"] for row in rows), default=None)
            cells.append("" if largest is None else f"{largest} ({mean:.4f})")
        lines.append(f"| {' | '.join(cells)} |")
    packages = stored["arm64"]["packages"]
    return "\n".join(
        [
            *lines,
            "",
            "Largest difference of a mask to the same model's on x86-64, and in brackets the mean "
            "(the larger one of two photographs), in gray levels of 255; `int8 to float32`: to "
            "float32's on the same processor, `here` being x86-64. onnxruntime "
            f"{packages['onnxruntime']}, Python {stored['arm64']['python']}, {stored['emulated']}.",
        ]
    )


def export_models(folder: Path) -> dict[str, str]:
    """The files of EXPORTS, made here if they are not there yet, by name."""
    files = {}
    for name, options in EXPORTS.items():
        place = folder / name / "onnx"
        if not list(place.glob("*.onnx")):
            print(f"exporting {name}", flush=True)
            arguments = ["export", str(CHECKPOINT), "--output", str(place.parent), *options]
            arguments += ["--trained-size", "192", "--lock", str(folder / "birefnet.lock")]
            subprocess.run([sys.executable, "-c", BIREFNET, *arguments], check=True)
        (file,) = place.glob("*.onnx")
        files[name] = str(file)
    return files


def masks_of(
    python: list[str],
    target: Path,
    models: dict[str, str],
    machine: Machine | None = None,
    provider: str = "cpu",
) -> dict[str, Any]:
    """Masks by model and photograph, and the versions, from a process of its own."""
    program = str(Path(__file__).with_name("arm64_masks.py"))
    command = [*python, program, str(target), provider, *models.values(), "--"]
    environment = machine.environment() if machine else None
    said = subprocess.check_output([*command, *map(str, PHOTOGRAPHS)], text=True, env=environment)
    with np.load(target) as stored:
        masks = {
            (name, photograph.name): stored[f"{model}|{photograph}"]
            for name, model in models.items()
            for photograph in PHOTOGRAPHS
        }
    return {"versions": json.loads(said.splitlines()[-1]), "masks": masks}


def compare(
    processor: str, arithmetic: str, expected: dict[str, Any], found: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row a model and photograph."""
    required = not arithmetic
    return [
        difference(processor, f"{model} {arithmetic}".strip(), name, mask, found["masks"][key])
        | {"required": required and model != "int8"}
        for key, mask in expected["masks"].items()
        for model, name in [key]
    ]


def int8_errors(processor: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """How far int8 is from float32 on the same processor."""
    masks = found["masks"]
    return [
        difference(processor, "int8 to float32", name, masks["rows", name], masks["int8", name])
        | {"required": False}
        for name in (photograph.name for photograph in PHOTOGRAPHS)
    ]


def difference(processor: str, what: str, photograph: str, mask: Any, other: Any) -> dict[str, Any]:
    """Largest and mean difference of two uint8 masks of one size; printed."""
    apart = np.abs(mask.astype(int) - other)
    row: dict[str, Any] = {"processor": processor, "what": what, "photograph": photograph}
    row |= {"largest": int(apart.max()), "mean": round(float(apart.mean()), 5), "required": True}
    print(
        f"{processor:12} {what:16} {photograph:12} {row['largest']:4} {row['mean']:9.5f}",
        flush=True,
    )
    return row


def run_doctor(machine: Machine) -> dict[str, Any]:
    """What `birefnet doctor` finds on the first processor; it must be healthy."""
    command = machine.command(PROCESSORS[0], str(machine.folder / "wheel/bin/birefnet"))
    said = subprocess.check_output([*command, "doctor", "--json"], env=machine.environment())
    facts = json.loads(said)
    print(f"doctor: {facts['processor']['model']}, {facts['advice']}")
    return {"healthy": facts["healthy"], "processor": facts["processor"], "advice": facts["advice"]}


def compare_cutouts(machine: Machine) -> list[dict[str, Any]]:
    """The alpha of what `birefnet cutout` writes, there and here."""
    script = str(machine.folder / "wheel/bin/birefnet")
    here, there = machine.folder / "cutouts-here", machine.folder / "cutouts-there"
    options = ["cutout", str(ROOT / "examples/photos"), "--threads", "1", "--output"]
    subprocess.run([sys.executable, "-c", BIREFNET, *options, str(here)], check=True)
    command = machine.command(PROCESSORS[0], script, *options, str(there))
    subprocess.run(command, env=machine.environment(), check=True)
    rows = []
    for photograph in PHOTOGRAPHS:
        name = f"{photograph.stem}.png"
        pair = [np.asarray(Image.open(folder / name))[..., 3] for folder in (here, there)]
        rows.append(difference(PROCESSORS[0], "birefnet cutout", photograph.name, *pair))
    return rows


def compare_served(machine: Machine, expected: dict[str, Any]) -> list[dict[str, Any]]:
    """The mask that `birefnet serve` answers with."""
    photograph = PHOTOGRAPHS[0]
    script = str(machine.folder / "wheel/bin/birefnet")
    command = machine.command(PROCESSORS[0], script, "serve", "--port", "0", "--threads", "1")
    mask = served_mask(command, machine.environment(), photograph)
    here = expected["masks"]["nano", photograph.name]
    return [difference(PROCESSORS[0], "birefnet serve", photograph.name, here, mask)]


if __name__ == "__main__":
    main()
