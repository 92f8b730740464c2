"""A run as one page that refers to nothing outside of itself."""

import itertools
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from birefnet_models.base.text import format_bytes, format_seconds, format_size, joined
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..bench.results import BenchReport, Configuration, ConfigurationResult
from . import plots, statistics, wording
from .columns import LATENCY, MEMORY, remarks, result_table
from .previews import PreviewStrip, preview_strips
from .summary import WorkloadKey, findings, main_workloads, workloads

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class WorkloadSection:
    """Bars and a table of one workload."""

    name: str
    open: bool
    """Whether it is unfolded: the main workload of each model is."""
    plot: plots.Bars
    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class ScalingPlot:
    """Time over size, or over batch, of the configurations that differ in nothing else."""

    name: str
    plot: str
    lines: list[tuple[int, str, str, str]]
    """Index of the color, marker, configuration, exponent."""


@dataclass(frozen=True, slots=True)
class ParityRow:
    """Parity of one configuration, as a graph or as a pipeline."""

    name: str
    cells: tuple[str, ...]
    problem: str | None


def page(report: BenchReport, directory: Path) -> str:
    """The whole page.

    Args:
        directory: the run's folder, where previews lie. The page says which can't be read.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(_context(report, directory))


def _context(report: BenchReport, directory: Path) -> dict[str, Any]:
    groups, chosen = workloads(report), main_workloads(report)
    roofline = _grouped(groups, lambda result: _roofline_row(result, report))
    shares = [share for _, rows in roofline for *_, share in rows]
    return {
        "report": report,
        "models": joined([*dict.fromkeys(model for model, *_ in groups)]) if groups else "",
        "configurations": len(
            {(r.configuration.model, r.configuration.setup) for r in report.results}
        ),
        "machine": wording.machine(report),
        "versions": wording.versions_line(report),
        "when": report.started.replace("T", " ").partition("+")[0],
        "took": format_seconds(report.took_s),
        "command": shlex.join(report.command),
        "summaries": [(wording.workload_name(w), findings(groups[w])) for w in chosen],
        "latency": _sections(groups, chosen, plots.time_bars, LATENCY),
        "memory": _sections(groups, chosen, plots.memory_bars, MEMORY),
        "over_size": _scaling_plots(report, statistics.over_size, _sizes, "pixels of the input"),
        "over_batch": _scaling_plots(report, statistics.over_batch, _batches, "images in a batch"),
        "roofline": roofline,
        "full_share": 1.06 * max([1.0, *shares]),
        "peaks": [
            f"{peak.flops_per_s / 1e9:.0f} GFLOP/s with {wording.count(peak.threads, 'thread')}"
            f" ({peak.library})"
            for peak in report.matmul_peaks
        ],
        "remarks": [(wording.workload_name(w), remarks(groups[w])) for w in groups],
        "graph": _grouped(groups, _graph_parity),
        "pipeline": _grouped(groups, _pipeline_parity),
        "previews": _previews(groups, chosen, directory),
        "failures": _grouped(groups, lambda r: (_name(r), r.error) if r.error else None),
        "environment": _environment(report),
        "facts": _grouped(groups, lambda r: (_name(r), r.configuration.source, r.facts)),
        "spread_limit": f"{statistics.SPREAD_LIMIT:.0%}",
        "others_limit": statistics.OTHERS_LIMIT,
    }


def _name(result: ConfigurationResult) -> str:
    return wording.configuration_name(result.configuration)


def _sections(
    groups: dict[WorkloadKey, list[ConfigurationResult]],
    chosen: Sequence[WorkloadKey],
    draw: Callable[[Sequence[ConfigurationResult]], plots.Bars],
    columns: Sequence[str],
) -> list[WorkloadSection]:
    """One for each workload."""
    return [
        WorkloadSection(
            wording.workload_name(workload),
            workload in chosen,
            draw(results),
            *result_table(columns, results),
        )
        for workload, results in groups.items()
    ]


def _scaling_plots(
    report: BenchReport,
    fit: Callable[[Configuration, Sequence[ConfigurationResult]], statistics.Fit | None],
    axis: Callable[[Configuration], tuple[str, dict[float, str]]],
    label: str,
) -> list[ScalingPlot]:
    """One for each group of configurations that has lines."""
    keys = itertools.cycle(enumerate(plots.MARKERS.values()))
    groups: dict[str, tuple[dict[float, str], dict[str, statistics.Fit]]] = {}
    for result in report.results:
        line = fit(result.configuration, report.results)
        if line:
            name, ticks = axis(result.configuration)
            shown, lines = groups.setdefault(name, ({}, {}))
            shown |= ticks
            lines[_name(result)] = line
    return [
        ScalingPlot(
            name=name,
            plot=plots.scaling(list(lines.items()), label, dict(sorted(ticks.items()))),
            lines=[
                (index, marker, configuration, f"{line.exponent:.2f}")
                for (configuration, line), (index, marker) in zip(lines.items(), keys, strict=False)
            ],
        )
        for name, (ticks, lines) in groups.items()
    ]


def _sizes(c: Configuration) -> tuple[str, dict[float, str]]:
    name = f"{c.model}, batch {c.batch}, {wording.count(c.threads, 'thread')}"
    return name, {float(math.prod(c.size)): format_size(c.size)}


def _batches(c: Configuration) -> tuple[str, dict[float, str]]:
    name = f"{c.model}, {format_size(c.size)}, {wording.count(c.threads, 'thread')}"
    return name, {float(c.batch): str(c.batch)}


def _grouped(
    groups: dict[WorkloadKey, list[ConfigurationResult]],
    make: Callable[[ConfigurationResult], Row | None],
) -> list[tuple[str, list[Row]]]:
    """Rows of the results that have one, by workload; workloads without any are left out."""
    named = (
        (wording.workload_name(workload), [row for r in results if (row := make(r)) is not None])
        for workload, results in groups.items()
    )
    return [(name, rows) for name, rows in named if rows]


def _roofline_row(
    result: ConfigurationResult, report: BenchReport
) -> tuple[str, str, str, float] | None:
    """Name, time at the roofline, median time, and the share of the two."""
    bound_s = statistics.roofline_s(result.configuration, report)
    share = statistics.roofline_share(result, report)
    if bound_s is None or share is None:
        return None
    return _name(result), format_seconds(bound_s), wording.median(result), share


def _graph_parity(result: ConfigurationResult) -> ParityRow | None:
    graph = result.graph
    if graph is None:
        return None
    texts = tuple(
        f"{value:.1e}"
        for one in (graph.logits, graph.mask)
        for value in (one.max_abs, one.p99_abs, one.mean_abs)
    )
    return ParityRow(_name(result), texts, graph.problem)


def _pipeline_parity(result: ConfigurationResult) -> ParityRow | None:
    worst = statistics.worst_parity(result)
    if worst is None:
        return None
    band_mae, band_max = worst.band_mae, worst.band_max_levels
    texts = (
        *(str(worst.images), f"{worst.mae:.1e}", wording.few_digits(worst.max_levels)),
        *(wording.share(worst.iou), "" if band_mae is None else f"{band_mae:.1e}"),
        *("" if band_max is None else wording.few_digits(band_max),),
        wording.share(worst.boundary_iou),
    )
    return ParityRow(_name(result), texts, worst.problem)


def _previews(
    groups: dict[WorkloadKey, list[ConfigurationResult]],
    chosen: Sequence[WorkloadKey],
    directory: Path,
) -> list[tuple[str, bool, list[PreviewStrip]]]:
    every = (
        (wording.workload_name(workload), workload in chosen, preview_strips(results, directory))
        for workload, results in groups.items()
    )
    return [(name, unfolded, made) for name, unfolded, made in every if made]


def _environment(report: BenchReport) -> list[tuple[str, str]]:
    environment = report.environment
    configurations = [
        ("processor", environment.processor),
        ("cores", str(environment.cores)),
        ("memory", format_bytes(environment.memory_bytes) if environment.memory_bytes else ""),
        ("system", environment.system),
        *(("GPU", gpu) for gpu in environment.gpus),
        ("NVIDIA driver", environment.driver or ""),
        ("Python", environment.python),
        *environment.packages.items(),
    ]
    return [(name, value) for name, value in configurations if value]
