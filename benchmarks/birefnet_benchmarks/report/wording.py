"""Names and numbers in words, the same in every document."""

import math
from collections.abc import Iterable

from birefnet_models.base.text import format_seconds, format_size

from ..bench.environment import RUNTIMES
from ..bench.results import BenchReport, Configuration, ConfigurationResult, baseline_of
from . import statistics

BACKEND_NAMES = {"onnxruntime": "ONNX Runtime", "pytorch": "PyTorch"}
"""Names of the backends as their authors write them."""
SHOWN_PACKAGES = (*RUNTIMES, "torch")
"""Packages whose versions stand in a caption; the page has all."""


def configuration_name(configuration: Configuration) -> str:
    """`ONNX Runtime, rows, fp32, cpu`."""
    backend, *rest = configuration.setup
    return ", ".join((BACKEND_NAMES.get(backend, backend), *rest))


def workload_name(workload: tuple[str, tuple[int, int], int, int]) -> str:
    """`lite, 1024x1024, batch 1, 2 threads`."""
    model, size, batch, threads = workload
    return f"{model}, {format_size(size)}, batch {batch}, {count(threads, 'thread')}"


def count(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def machine(report: BenchReport) -> str:
    """`AMD EPYC, 2 cores, NVIDIA L4 (8.9)`."""
    environment = report.environment
    return ", ".join((environment.processor, count(environment.cores, "core"), *environment.gpus))


def versions_line(report: BenchReport) -> str:
    """`onnxruntime 1.31.1, torch 2.13.0, Python 3.11.7`."""
    packages = report.environment.packages
    named = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages]
    return ", ".join((*named, f"Python {report.environment.python}"))


def median(result: ConfigurationResult) -> str:
    """The median time, after `~` if the times are noisy."""
    timing = statistics.timing(result)
    mark = "~" if statistics.is_noisy(result) else ""
    return mark + format_seconds(timing.median_s) if timing else ""


def ratio_text(result: ConfigurationResult, results: Iterable[ConfigurationResult]) -> str:
    """The time as a multiple of the baseline's: `0.32 x`; `0.32 x*` if not interleaved."""
    if result.configuration.baseline:
        return "baseline"
    baseline = baseline_of(result.configuration, results)
    known = statistics.median_ratio(result, baseline) if baseline else None
    return f"{multiple(known.value)} x{'' if known.rounds else '*'}" if known else ""


def multiple(value: float) -> str:
    """Two decimals, or two digits where that would leave less: `0.32`, `0.010`, `12.50`."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:#.2g}"


def rate(value: float) -> str:
    """Three digits, never an exponent: `0.37`, `24.7`, `1250`."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def share(value: float) -> str:
    """Four decimals, cut off and not rounded, so that only 1 is `1.0000`."""
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
