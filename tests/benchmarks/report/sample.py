"""A run as it might have been: figures chosen by hand, pictures drawn."""

import dataclasses
from pathlib import Path

import numpy as np
from birefnet_benchmarks.bench.environment import Environment
from birefnet_benchmarks.bench.results import (
    ColdStart,
    Difference,
    GraphParity,
    Outcome,
    Peak,
    Picture,
    PictureParity,
    Report,
    Row,
    Turn,
    Work,
)
from PIL import Image

HOSTILE = "<script>alert(1)</script>|x"
BASELINE = Row("lite", "pytorch", "eager", "fp32", "cpu", (1024, 1024), 1, 2, "lite.pth", True)
ROWS = dataclasses.replace(
    BASELINE, backend="onnxruntime", variant="rows", source="lite.onnx", baseline=False
)
NATIVE = dataclasses.replace(ROWS, variant="native")
INT8 = dataclasses.replace(ROWS, precision="int8")
TENSORRT = dataclasses.replace(ROWS, provider="tensorrt")
OTHER = dataclasses.replace(ROWS, backend=f"{HOSTILE}:Mine", variant="plain")


def turns(*medians: float, heat: int = 0, others: float = 0.0, energy: float | None = None):
    """A turn a round, of three runs each: 2 % below the median, the median, 4 % above."""
    return tuple(
        Turn(heat, round, (0.98 * median, median, 1.04 * median), others, energy)
        for round, median in enumerate(medians)
    )


def close(scale: float, problem: str | None = None) -> GraphParity:
    return GraphParity(
        Difference(10 * scale, 4 * scale, scale), Difference(scale, scale / 4, scale / 20), problem
    )


def picture(row: str, levels: int, problem: str | None = None, image: str = "disc") -> Picture:
    """Of a row that is called so; it has a difference and parity unless it is the baseline."""
    base = f"pictures/{image}"
    if row == "eager":
        return Picture(f"{image}.jpg", f"{base}.jpg", f"{base}-{row}.png")
    parity = PictureParity(
        *(levels / 2550, levels, 1 - levels / 1000, 0.05, levels / 510, levels),
        *(1 - levels / 100, problem),
    )
    return Picture(
        f"{image}.jpg", f"{base}.jpg", f"{base}-{row}.png", f"{base}-{row}-off.png", parity
    )


def draw(directory: Path) -> None:
    """A disc before a gradient, its masks, and how far each is off at the edge."""
    directory.mkdir(parents=True)
    y, x = np.mgrid[:180, :240].astype(np.float32)
    distance = np.hypot(y - 90, x - 120) - 60
    ground = np.stack([x, y, 255 - x], -1).clip(0, 255)
    disc = np.where(distance[..., None] < 0, (230, 120, 40), ground).astype(np.uint8)
    Image.fromarray(disc).save(directory / "disc.jpg", quality=90)
    mask = ((2 - distance) / 4).clip(0, 1)
    for row, levels in (("eager", 0), ("rows", 1), ("native", 1), ("int8", 60)):
        off = np.where(np.abs(distance) < 3, levels, 0)
        Image.fromarray((mask * 255).clip(0, 255 - off).astype(np.uint8)).save(
            directory / f"disc-{row}.png"
        )
        if row != "eager":
            Image.fromarray(off.astype(np.uint8)).save(directory / f"disc-{row}-off.png")


def outcomes() -> tuple[Outcome, ...]:
    """Rows of every kind, at four cases of `lite` and one of a model without a baseline."""

    def at(row: Row, size: int = 1024, batch: int = 1) -> Row:
        return dataclasses.replace(row, size=(size, size), batch=batch)

    cuda = dataclasses.replace(ROWS, model="swin", variant="native", precision="fp16")
    return (
        Outcome(
            BASELINE,
            ColdStart(2.0, 0.5, 9.5),
            turns(8.0, 8.2, 8.4),
            2_900_000_000,
            facts={"torch": "2.13.0"},
            pictures=(picture("eager", 0),),
        ),
        Outcome(
            ROWS,
            ColdStart(0.25, 0.85, 2.9),
            turns(2.5, 2.6, 2.7),
            820_000_000,
            facts={"onnxruntime": "1.31.1", "nodes": "CPU 1638"},
            graph=close(1e-6),
            pictures=(picture("rows", 1),),
        ),
        Outcome(
            NATIVE,
            ColdStart(0.25, 0.8, 3.1),
            turns(2.7, 3.6, 2.8, others=0.5),
            1_800_000_000,
            graph=close(2e-6),
            pictures=(picture("native", 1),),
        ),
        Outcome(
            INT8,
            ColdStart(0.25, 0.6, 2.2),
            turns(1.9, 1.95, 2.0, heat=1),
            700_000_000,
            graph=close(0.02, "mask: 2.0e-02 off, and 1.0e-02 are allowed"),
            pictures=(picture("int8", 60, "60 levels off, and 8 are allowed"),),
        ),
        Outcome(TENSORRT, error="tensorrt can't run here: libnvinfer.so.10 isn't installed"),
        Outcome(OTHER, ColdStart(0.1, 0.1, 0.1), error=f"ran out of memory {HOSTILE}"),
        Outcome(at(BASELINE, 512), ColdStart(2.0, 0.5, 2.5), turns(2.0, 2.1), 1_500_000_000),
        Outcome(at(ROWS, 512), None, turns(0.64, 0.65), 467_000_000, graph=close(1e-6)),
        Outcome(at(BASELINE, 512, 2), None, turns(4.1, 4.2), 1_900_000_000),
        Outcome(at(ROWS, 512, 2), None, turns(1.28, 1.30), 537_000_000, graph=close(1e-6)),
        Outcome(
            at(BASELINE, 2048),
            ColdStart(2.0, 0.5, 44.0),
            error="took longer than 60 s",
        ),
        Outcome(at(ROWS, 2048), None, turns(11.0), 2_300_000_000, error="took longer than 60 s"),
        Outcome(
            dataclasses.replace(cuda, provider="cuda"),
            ColdStart(0.5, 1.5, 1.0),
            turns(0.05, 0.05, energy=30.0),
            1_200_000_000,
            3_400_000_000,
        ),
    )


ENVIRONMENT = Environment(
    processor="Imaginary CPU",
    cores=2,
    memory_bytes=24_000_000_000,
    system="Linux x86_64",
    python="3.11.7",
    packages={"numpy": "2.3.4", "onnxruntime": "1.31.1", "torch": "2.13.0"},
    gpus=("Imaginary GPU (9.0)",),
    driver="580.1",
)


def make_report() -> Report:
    """The run."""
    return Report(
        started="2026-01-02T03:04:05+00:00",
        took_s=312.0,
        command=("birefnet", "bench", "lite", "--against", "lite.pth", "--output", "out/run"),
        seconds=10.0,
        environment=ENVIRONMENT,
        outcomes=outcomes(),
        peaks=(Peak(2, "numpy", 2.0e11), Peak(2, "torch", 2.5e11), Peak(1, "torch", 1.2e11)),
        work=(
            Work("lite", (1024, 1024), 1, 3.19e11),
            Work("lite", (512, 512), 1, 8.0e10),
            Work("lite", (512, 512), 2, 1.6e11),
        ),
        notes=("OpenVINO was left out: its plugin isn't installed.",),
    )
