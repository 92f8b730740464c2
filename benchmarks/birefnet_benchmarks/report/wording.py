"""Names and figures in words, the same in every document."""

import math
from collections.abc import Iterable

from birefnet_runtime.model.input_size import format_size
from birefnet_runtime.units import format_seconds

from ..bench.results import Outcome, Report, Row, baseline_of
from . import statistics as figures

BACKENDS = {"onnxruntime": "ONNX Runtime", "pytorch": "PyTorch"}
"""How the backends write themselves."""
SHOWN_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-openvino", "torch")
"""Whose versions stand in a caption; the page has all."""


def way_name(row: Row) -> str:
    """`ONNX Runtime, rows, fp32, cpu`."""
    return ", ".join((BACKENDS.get(row.backend, row.backend), *row.way[1:]))


def case_name(case: tuple[str, tuple[int, int], int, int]) -> str:
    """`lite, 1024x1024, batch 1, 2 threads`."""
    model, size, batch, threads = case
    return f"{model}, {format_size(size)}, batch {batch}, {count(threads, 'thread')}"


def count(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def machine(report: Report) -> str:
    """`AMD EPYC, 2 cores, NVIDIA L4 (8.9)`."""
    environment = report.environment
    return ", ".join((environment.processor, count(environment.cores, "core"), *environment.gpus))


def versions(report: Report) -> str:
    """`onnxruntime 1.31.1, torch 2.13.0, Python 3.11.7`."""
    packages = report.environment.packages
    named = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages]
    return ", ".join((*named, f"Python {report.environment.python}"))


def median(outcome: Outcome) -> str:
    """The median time, behind `~` if the row is noisy."""
    found = figures.timing(outcome)
    mark = "~" if figures.is_noisy(outcome) else ""
    return mark + format_seconds(found.median_s) if found else ""


def ratio(outcome: Outcome, outcomes: Iterable[Outcome]) -> str:
    """The time as a multiple of the baseline's: `0.32 x`; `0.32 x*` if not taken in turn."""
    if outcome.row.baseline:
        return "baseline"
    baseline = baseline_of(outcome.row, outcomes)
    found = figures.ratio(outcome, baseline) if baseline else None
    return f"{multiple(found.value)} x{'' if found.rounds else '*'}" if found else ""


def multiple(value: float) -> str:
    """Two decimals, or two digits where that would leave less: `0.32`, `0.010`, `12.50`."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:#.2g}"


def rate(value: float) -> str:
    """Three digits, never an exponent: `0.37`, `24.7`, `1250`."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def share(value: float) -> str:
    """Four decimals, cut off and not rounded, so that only what is equal is `1.0000`."""
    return f"{math.floor(value * 1e4 + 1e-6) / 1e4:.4f}"


def energy(joules: float) -> str:
    """`350 mJ`, `12.5 J`."""
    return f"{joules * 1000:.3g} mJ" if joules < 1 else f"{rate(joules)} J"


def levels(number: float) -> str:
    """Of 8-bit gray: `1 level`, `0.37 levels`, `60 levels`."""
    text = few_digits(number)
    return f"{text} level{'' if text == '1' else 's'}"


def few_digits(number: float) -> str:
    """`0.37`, `1`, `2.4`, `60`."""
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"
