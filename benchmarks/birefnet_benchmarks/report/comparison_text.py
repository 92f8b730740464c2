"""A comparison of two runs, as a table in the terminal and as plain values for JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from birefnet_models.base.text import aligned, format_bytes, printable

from ..bench.results import BenchReport, ConfigurationResult
from . import statistics, wording
from .comparison import CONFIDENCE, MEMORY_THRESHOLD, Change, Comparison, Judgment, ResultPair

COMPARISON_HEADS = (
    *("configuration", "A", "B", "B / A", f"{CONFIDENCE:.0%} interval"),
    *("vs baseline", "RSS A", "RSS B", ""),
)


def text(comparison: Comparison, a: BenchReport, b: BenchReport, names: tuple[str, str]) -> str:
    """All changes with their judgments, and how these come about.

    Args:
        names: of the runs A and B, as the user typed them.
    """
    lines = [
        f"{letter}  {name}, {report.started}, {wording.machine(report)}"
        for letter, name, report in (("A", names[0], a), ("B", names[1], b))
    ]
    lines += [f"   {fact}: {one} -> {two}" for fact, (one, two) in comparison.environment.items()]
    for workload, pairs in groupby(_sorted(comparison.pairs), key=_workload):
        lines += [
            "",
            wording.workload_name(workload),
            *_aligned([COMPARISON_HEADS, *map(_cells, pairs)]),
        ]
    for letter, configurations in (("A", comparison.only_a), ("B", comparison.only_b)):
        if configurations:
            lines += ["", f"Only in {letter}:"]
            lines += [
                f"  {wording.workload_name(c.workload)}: {wording.configuration_name(c)}"
                for c in configurations
            ]
    return "\n".join(map(printable, [*lines, "", *_conclusion(comparison)])) + "\n"


def comparison_as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values: ratios, judgments, configurations in one run only."""
    return {
        "regressed": comparison.regressed,
        "threshold": comparison.threshold,
        "memory_threshold": MEMORY_THRESHOLD,
        "confidence": CONFIDENCE,
        "same_machine": comparison.same_machine,
        "environment": comparison.environment,
        "configurations": [
            {
                "configuration": asdict(pair.b.configuration),
                "before": asdict(pair.a.configuration),
                "time": asdict(pair.time) if pair.time else None,
                "vs_baseline": asdict(pair.vs_baseline) if pair.vs_baseline else None,
                "peak_rss_bytes": [pair.a.peak_rss_bytes, pair.b.peak_rss_bytes],
                "errors": [pair.a.error, pair.b.error],
                "judgments": pair.judgments,
                "regressions": pair.regressions,
            }
            for pair in comparison.pairs
        ],
        "only_a": [asdict(configuration) for configuration in comparison.only_a],
        "only_b": [asdict(configuration) for configuration in comparison.only_b],
    }


def _workload(pair: ResultPair) -> tuple[str, tuple[int, int], int, int]:
    return pair.a.configuration.workload


def _sorted(pairs: Sequence[ResultPair]) -> list[ResultPair]:
    """Pairs of one workload side by side, workloads as they came."""
    order = list(dict.fromkeys(map(_workload, pairs)))
    return sorted(pairs, key=lambda pair: order.index(_workload(pair)))


def _cells(pair: ResultPair) -> tuple[str, ...]:
    return (
        _name(pair),
        wording.median(pair.a) or "failed",
        wording.median(pair.b) or "failed",
        f"{pair.time.ratio:.2f}" if pair.time else "",
        _interval(pair.time),
        f"{pair.vs_baseline.ratio:.2f}" if pair.vs_baseline else "",
        _memory(pair.a),
        _memory(pair.b),
        _conclusion_of(pair),
    )


def _name(pair: ResultPair) -> str:
    """The configuration, or both where they differ."""
    a, b = (wording.configuration_name(each.configuration) for each in (pair.a, pair.b))
    return a if a == b else f"{a} -> {b}"


def _interval(change: Change | None) -> str:
    if change is None:
        return ""
    if change.interval is None:
        return "too few runs"
    return "{:.2f} to {:.2f}".format(*change.interval)


def _memory(result: ConfigurationResult) -> str:
    return format_bytes(result.peak_rss_bytes) if result.peak_rss_bytes else ""


def _conclusion_of(pair: ResultPair) -> str:
    """What is worse, better, or perhaps so; else that it is the same."""
    if not statistics.times_s(pair.a) and not statistics.times_s(pair.b):
        return "fails in both"
    named = [
        f"{name} {judgment}" if name != "running" else str(judgment)
        for name, judgment in pair.judgments.items()
        if judgment not in (Judgment.SAME, Judgment.UNJUDGED)
    ]
    if Judgment.UNJUDGED == pair.judgments["time"] == pair.judgments["time vs baseline"]:
        named += ["time not judged"] if pair.time else []
    return ("REGRESSION: " if pair.regressions else "") + ("; ".join(named) or "same")


def _conclusion(comparison: Comparison) -> list[str]:
    limit = f"{100 * comparison.threshold:g}%"
    regressed = sum(1 for pair in comparison.pairs if pair.regressions)
    total = wording.count(regressed, "regression") if regressed else "No regression"
    lines = [
        f"{total} in {wording.count(len(comparison.pairs), 'configuration')}.",
        f"Slower: the {CONFIDENCE:.0%} interval of the ratio lies wholly above 1 + {limit}. "
        f"Larger: more than {MEMORY_THRESHOLD:.0%} over A's peak.",
    ]
    if not comparison.same_machine:
        lines.append(
            "Two machines: B / A is shown; judged is the ratio to the baseline (vs baseline)."
        )
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows in columns; those that are empty below their heads are left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return aligned(zip(*columns, strict=True))
