"""A run as it might have been: figures chosen by hand, pictures drawn."""

import dataclasses
from pathlib import Path

import numpy as np
from birefnet_benchmarks.bench.environment import Environment
from birefnet_benchmarks.bench.results import (
    BenchReport,
    ColdStart,
    Configuration,
    ConfigurationResult,
    GraphParity,
    MatmulPeak,
    OperationCount,
    PipelineParity,
    Preview,
    Round,
    TensorDifference,
)
from PIL import Image

HOSTILE = "<script>alert(1)</script>|x"
BASELINE = Configuration(
    "lite", "pytorch", "eager", "fp32", "cpu", (1024, 1024), 1, 2, "lite.pth", True
)
ROWS = dataclasses.replace(
    BASELINE, backend="onnxruntime", variant="rows", source="lite.onnx", baseline=False
)
NATIVE = dataclasses.replace(ROWS, variant="native")
INT8 = dataclasses.replace(ROWS, precision="int8")
TENSORRT = dataclasses.replace(ROWS, provider="tensorrt")
OTHER = dataclasses.replace(ROWS, backend=f"{HOSTILE}:Mine", variant="plain")


def rounds(*medians: float, group: int = 0, other_cores: float = 0.0, energy: float | None = None):
    """A turn a round, of three runs each: 2 % below the median, the median, 4 % above."""
    return tuple(
        Round(group, round, (0.98 * median, median, 1.04 * median), other_cores, energy)
        for round, median in enumerate(medians)
    )


def close(scale: float, problem: str | None = None) -> GraphParity:
    return GraphParity(
        TensorDifference(10 * scale, 4 * scale, scale),
        TensorDifference(scale, scale / 4, scale / 20),
        problem,
    )


def preview(
    configuration: str, levels: int, problem: str | None = None, image: str = "disc"
) -> Preview:
    """Of a configuration by its short name; with difference and parity unless it's the baseline."""
    base = f"pictures/{image}"
    if configuration == "eager":
        return Preview(f"{image}.jpg", f"{base}.jpg", f"{base}-{configuration}.png")
    parity = PipelineParity(
        *(levels / 2550, levels, 1 - levels / 1000, 0.05, levels / 510, levels),
        *(1 - levels / 100, problem),
    )
    return Preview(
        f"{image}.jpg",
        f"{base}.jpg",
        f"{base}-{configuration}.png",
        f"{base}-{configuration}-off.png",
        parity,
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
    for configuration, levels in (("eager", 0), ("rows", 1), ("native", 1), ("int8", 60)):
        off = np.where(np.abs(distance) < 3, levels, 0)
        Image.fromarray((mask * 255).clip(0, 255 - off).astype(np.uint8)).save(
            directory / f"disc-{configuration}.png"
        )
        if configuration != "eager":
            Image.fromarray(off.astype(np.uint8)).save(directory / f"disc-{configuration}-off.png")


def results() -> tuple[ConfigurationResult, ...]:
    """Results of every kind: four workloads of `lite`, and one model without a baseline."""

    def at(configuration: Configuration, size: int = 1024, batch: int = 1) -> Configuration:
        return dataclasses.replace(configuration, size=(size, size), batch=batch)

    cuda = dataclasses.replace(ROWS, model="swin", variant="native", precision="fp16")
    return (
        ConfigurationResult(
            BASELINE,
            ColdStart(2.0, 0.5, 9.5),
            rounds(8.0, 8.2, 8.4),
            2_900_000_000,
            facts={"torch": "2.13.0"},
            previews=(preview("eager", 0),),
        ),
        ConfigurationResult(
            ROWS,
            ColdStart(0.25, 0.85, 2.9),
            rounds(2.5, 2.6, 2.7),
            820_000_000,
            facts={"onnxruntime": "1.31.1", "nodes": "CPU 1638"},
            graph=close(1e-6),
            previews=(preview("rows", 1),),
        ),
        ConfigurationResult(
            NATIVE,
            ColdStart(0.25, 0.8, 3.1),
            rounds(2.7, 3.6, 2.8, other_cores=0.5),
            1_800_000_000,
            graph=close(2e-6),
            previews=(preview("native", 1),),
        ),
        ConfigurationResult(
            INT8,
            ColdStart(0.25, 0.6, 2.2),
            rounds(1.9, 1.95, 2.0, group=1),
            700_000_000,
            graph=close(0.02, "mask: 2.0e-02 off, and 1.0e-02 are allowed"),
            previews=(preview("int8", 60, "60 levels off, and 8 are allowed"),),
        ),
        ConfigurationResult(
            TENSORRT, error="tensorrt can't run here: libnvinfer.so.10 isn't installed"
        ),
        ConfigurationResult(OTHER, ColdStart(0.1, 0.1, 0.1), error=f"ran out of memory {HOSTILE}"),
        ConfigurationResult(
            at(BASELINE, 512), ColdStart(2.0, 0.5, 2.5), rounds(2.0, 2.1), 1_500_000_000
        ),
        ConfigurationResult(
            at(ROWS, 512), None, rounds(0.64, 0.65), 467_000_000, graph=close(1e-6)
        ),
        ConfigurationResult(at(BASELINE, 512, 2), None, rounds(4.1, 4.2), 1_900_000_000),
        ConfigurationResult(
            at(ROWS, 512, 2), None, rounds(1.28, 1.30), 537_000_000, graph=close(1e-6)
        ),
        ConfigurationResult(
            at(BASELINE, 2048),
            ColdStart(2.0, 0.5, 44.0),
            error="took longer than 60 s",
        ),
        ConfigurationResult(
            at(ROWS, 2048), None, rounds(11.0), 2_300_000_000, error="took longer than 60 s"
        ),
        ConfigurationResult(
            dataclasses.replace(cuda, provider="cuda"),
            ColdStart(0.5, 1.5, 1.0),
            rounds(0.05, 0.05, energy=30.0),
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


def make_report() -> BenchReport:
    """The run."""
    return BenchReport(
        started="2026-01-02T03:04:05+00:00",
        took_s=312.0,
        command=("birefnet", "bench", "lite", "--against", "lite.pth", "--output", "out/run"),
        seconds=10.0,
        environment=ENVIRONMENT,
        results=results(),
        matmul_peaks=(
            MatmulPeak(2, "numpy", 2.0e11),
            MatmulPeak(2, "torch", 2.5e11),
            MatmulPeak(1, "torch", 1.2e11),
        ),
        operation_counts=(
            OperationCount("lite", (1024, 1024), 1, 3.19e11),
            OperationCount("lite", (512, 512), 1, 8.0e10),
            OperationCount("lite", (512, 512), 2, 1.6e11),
        ),
        notes=("OpenVINO was left out: its plugin isn't installed.",),
    )
