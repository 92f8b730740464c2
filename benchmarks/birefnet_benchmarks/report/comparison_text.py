"""A comparison of two runs, as a table in the terminal and as plain values for JSON."""

import dataclasses
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from birefnet_runtime.units import format_bytes

from ..bench.results import Outcome, Report
from . import statistics as figures
from . import wording
from .comparison import CONFIDENCE, MEMORY_THRESHOLD, Change, Comparison, Judgment, Pair

HEADS = (
    *("way", "A", "B", "B / A", f"{CONFIDENCE:.0%} interval"),
    *("vs baseline", "RSS A", "RSS B", ""),
)


def text(found: Comparison, a: Report, b: Report, names: tuple[str, str]) -> str:
    """All that differs, with what was judged and how. `names` are how the user calls the runs."""
    lines = [
        f"{letter}  {name}, {report.started}, {wording.machine(report)}"
        for letter, name, report in (("A", names[0], a), ("B", names[1], b))
    ]
    lines += [f"   {name}: {one} -> {two}" for name, (one, two) in found.environment.items()]
    for case, pairs in groupby(_sorted(found.pairs), key=lambda pair: pair.a.row.case):
        lines += ["", wording.case_name(case), *_aligned([HEADS, *map(_cells, pairs)])]
    for letter, rows in (("A", found.only_a), ("B", found.only_b)):
        if rows:
            lines += ["", f"Only in {letter}:"]
            lines += [f"  {wording.case_name(row.case)}: {wording.way_name(row)}" for row in rows]
    return "\n".join([*lines, "", *_conclusion(found)]) + "\n"


def as_dict(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values: ratios, judgments, what is in one run only."""
    return {
        "regressed": found.regressed,
        "threshold": found.threshold,
        "memory_threshold": MEMORY_THRESHOLD,
        "confidence": CONFIDENCE,
        "same_machine": found.same_machine,
        "environment": found.environment,
        "rows": [
            {
                "row": dataclasses.asdict(pair.b.row),
                "time": dataclasses.asdict(pair.time) if pair.time else None,
                "time_against_the_baseline": dataclasses.asdict(pair.against_baseline)
                if pair.against_baseline
                else None,
                "peak_rss_bytes": [pair.a.peak_rss_bytes, pair.b.peak_rss_bytes],
                "errors": [pair.a.error, pair.b.error],
                "judgments": pair.judgments,
                "regressions": pair.regressions,
            }
            for pair in found.pairs
        ],
        "only_a": [dataclasses.asdict(row) for row in found.only_a],
        "only_b": [dataclasses.asdict(row) for row in found.only_b],
    }


def _sorted(pairs: Sequence[Pair]) -> list[Pair]:
    """Rows of one case side by side, cases as they came."""
    order = list(dict.fromkeys(pair.a.row.case for pair in pairs))
    return sorted(pairs, key=lambda pair: order.index(pair.a.row.case))


def _cells(pair: Pair) -> tuple[str, ...]:
    return (
        wording.way_name(pair.a.row),
        wording.median(pair.a) or "failed",
        wording.median(pair.b) or "failed",
        f"{pair.time.ratio:.2f}" if pair.time else "",
        _interval(pair.time),
        f"{pair.against_baseline.ratio:.2f}" if pair.against_baseline else "",
        _memory(pair.a),
        _memory(pair.b),
        _verdict(pair),
    )


def _interval(change: Change | None) -> str:
    if change is None:
        return ""
    if change.interval is None:
        return "too few runs"
    return "{:.2f} to {:.2f}".format(*change.interval)


def _memory(outcome: Outcome) -> str:
    return format_bytes(outcome.peak_rss_bytes) if outcome.peak_rss_bytes else ""


def _verdict(pair: Pair) -> str:
    """What became worse, better, or perhaps so; else that it is the same."""
    if not figures.times_s(pair.a) and not figures.times_s(pair.b):
        return "fails in both"
    named = [
        f"{name} {found}" if name != "it" else str(found)
        for name, found in pair.judgments.items()
        if found not in (Judgment.SAME, Judgment.UNJUDGED)
    ]
    if Judgment.UNJUDGED == pair.judgments["time"] == pair.judgments["time vs baseline"]:
        named += ["time not judged"] if pair.time else []
    return ("REGRESSION: " if pair.regressions else "") + ("; ".join(named) or "same")


def _conclusion(found: Comparison) -> list[str]:
    limit = f"{100 * found.threshold:g}%"
    regressed = sum(1 for pair in found.pairs if pair.regressions)
    total = wording.count(regressed, "regression") if regressed else "No regression"
    lines = [
        f"{total} in {wording.count(len(found.pairs), 'row')}.",
        f"Slower: the {CONFIDENCE:.0%} interval of the ratio lies wholly above 1 + {limit}. "
        f"Larger: more than {MEMORY_THRESHOLD:.0%} over A's peak.",
    ]
    if not found.same_machine:
        lines.append(
            "Two machines: B / A is shown; judged is the ratio to the baseline (vs baseline)."
        )
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; empty ones are left out."""
    kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    widths = {index: max(len(row[index]) for row in rows) for index in kept}
    return ["  ".join(row[index].ljust(widths[index]) for index in kept).rstrip() for row in rows]
