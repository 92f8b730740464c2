"""Columns of the tables of results, as plain text."""

from collections.abc import Callable, Sequence

from birefnet_models.base.text import format_bytes, format_seconds, format_size

from ..bench.results import ConfigurationResult, baseline_of
from . import statistics, wording

CONFIGURATION = "configuration"
OPTIONAL = frozenset(
    (
        *("time / baseline's", "device memory", "energy per image", "other load, cores"),
        *("ratio by round", "import, load, first run", "largest mask error"),
        *("graph: logits, mask", "pipeline: levels, IoU, edge IoU"),
    )
)
"""Columns that are left out where all their cells are empty."""
EVERYTHING = (
    *(CONFIGURATION, "median", "p95", "time / baseline's", "images/s", "cold start", "peak RSS"),
    *("device memory", "energy per image", "graph: logits, mask"),
    "pipeline: levels, IoU, edge IoU",
)
LATENCY = (
    *(CONFIGURATION, "median", "time / baseline's", "images/s", "p95", "quartiles", "runs"),
    *("other load, cores", "ratio by round"),
)
MEMORY = (
    *(CONFIGURATION, "peak RSS", "device memory", "energy per image", "cold start"),
    "import, load, first run",
)
BRIEFLY = (CONFIGURATION, "median", "time / baseline's", "peak RSS", "largest mask error")
SHOWN_LOAD = 0.05
"""Cores that other processes kept busy, from which on they are shown."""


def result_table(
    columns: Sequence[str], results: Sequence[ConfigurationResult]
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows, one for each result.

    A configuration that failed before it had a time shows its error in the place of the first
    number.
    """
    every = [cells(result, results) for result in results]
    heads = [c for c in columns if c not in OPTIONAL or any(cell[c] for cell in every)]
    rows = [[cell[head] for head in heads] for cell in every]
    for result, row in zip(results, rows, strict=True):
        if failed_early(result):
            row[heads.index(CONFIGURATION) + 1] = f"failed: {result.error}"
    return heads, rows


def cells(result: ConfigurationResult, results: Sequence[ConfigurationResult]) -> dict[str, str]:
    """The text of every column by its head, empty where nothing is known.

    Args:
        results: those of the same workload, or more.
    """
    configuration, timing = result.configuration, statistics.timing(result)
    load = statistics.other_cores(result)
    graph, worst = result.graph, statistics.worst_parity(result)
    return {
        CONFIGURATION: wording.configuration_name(configuration),
        "model": configuration.model,
        "size": format_size(configuration.size),
        "median": wording.median(result),
        "p95": _text(format_seconds, timing.p95_s if timing else None),
        "quartiles": _span(format_seconds, timing.quartiles_s if timing else None),
        "runs": str(timing.runs) if timing else "",
        "images/s": _text(wording.rate, statistics.images_per_s(result)),
        "time / baseline's": wording.ratio_text(result, results),
        "ratio by round": _ratio_by_round(result, results),
        "other load, cores": f"{load:.2f}" if load >= SHOWN_LOAD else "",
        "cold start": _text(format_seconds, statistics.cold_start_s(result)),
        "import, load, first run": _cold_parts(result),
        "peak RSS": _text(format_bytes, result.peak_rss_bytes or None),
        "device memory": _text(format_bytes, result.peak_device_bytes or None),
        "energy per image": _text(wording.energy, statistics.energy_per_image_j(result)),
        "graph: logits, mask": _differs(graph.problem)
        + f"{graph.logits.max_abs:.1e}, {graph.mask.max_abs:.1e}"
        if graph
        else "",
        "largest mask error": _differs(worst.problem) + wording.levels(worst.max_levels)
        if worst
        else "",
        "pipeline: levels, IoU, edge IoU": _differs(worst.problem)
        + f"{wording.levels(worst.max_levels)}, {wording.share(worst.iou)}, "
        + wording.share(worst.boundary_iou)
        if worst
        else "",
    }


def _text(write: Callable[[float], str], value: float | None) -> str:
    return "" if value is None else write(value)


def _span(write: Callable[[float], str], ends: tuple[float, float] | None) -> str:
    return f"{write(ends[0])} to {write(ends[1])}" if ends else ""


def _differs(problem: str | None) -> str:
    return "differs: " if problem else ""


def _cold_parts(result: ConfigurationResult) -> str:
    cold = result.cold
    parts = (cold.import_s, cold.load_s, cold.first_s) if cold else ()
    return ", ".join(map(format_seconds, parts))


def _ratio_by_round(result: ConfigurationResult, results: Sequence[ConfigurationResult]) -> str:
    baseline = baseline_of(result.configuration, results)
    ratio = statistics.median_ratio(result, baseline) if baseline else None
    if ratio is None:
        return ""
    if not ratio.rounds:
        return "no common round"
    return f"{_span(wording.multiple, ratio.quartiles)} in {wording.count(ratio.rounds, 'round')}"


def failed_early(result: ConfigurationResult) -> bool:
    """Whether there is an error and no time."""
    return result.error is not None and not statistics.times_s(result)


def remarks(results: Sequence[ConfigurationResult]) -> list[str]:
    """Differences beyond a tolerance, and errors of configurations that had times already."""
    lines = []
    for result in results:
        name = wording.configuration_name(result.configuration)
        worst = statistics.worst_parity(result)
        if result.error and not failed_early(result):
            lines.append(f"{name} ended early: {result.error}")
        if result.graph and result.graph.problem:
            lines.append(f"{name}, graph: {result.graph.problem}")
        if worst and worst.problem:
            lines.append(f"{name}, pipeline: {worst.problem}")
    return lines
