"""A run as one page that refers to nothing outside of itself."""

import itertools
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from birefnet_runtime.model.input_size import format_size
from birefnet_runtime.units import format_bytes, format_seconds
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..bench.results import Outcome, Report, Row
from . import plots, wording
from . import statistics as figures
from .columns import PAGE, remarks, table
from .previews import Strip, strips
from .summary import Case, cases, findings, main_cases

Made = TypeVar("Made")
HERE = Path(__file__).parent
TEMPLATE = "page.html.j2"


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case of the page's first part."""

    name: str
    open: bool
    """Whether it is unfolded: of each model the case that says most."""
    time: str
    memory: str
    heads: list[str]
    rows: list[list[str]]
    remarks: list[str]


@dataclass(frozen=True, slots=True)
class Growth:
    """Time over size, or over batch, of the rows that differ in nothing else."""

    name: str
    plot: str
    lines: list[tuple[int, str, str, str]]
    """Index of the color, marker, row, exponent."""


@dataclass(frozen=True, slots=True)
class Share:
    """A row's share of the machine's floor."""

    way: str
    floor: str
    median: str
    share: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row's parity, as a tensor's or as a picture's."""

    way: str
    figures: tuple[str, ...]
    problem: str | None


def page(report: Report, directory: Path) -> str:
    """The whole page.

    Args:
        directory: the run's folder, where pictures lie. One that can't be read is said to be so.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(_context(report, directory))


def _context(report: Report, directory: Path) -> dict[str, Any]:
    found, chosen = cases(report), main_cases(report)
    return {
        "report": report,
        "models": wording.listed(dict.fromkeys(model for model, *_ in found)) if found else "",
        "ways": len({(outcome.row.model, outcome.row.way) for outcome in report.outcomes}),
        "machine": wording.machine(report),
        "versions": wording.versions(report),
        "when": report.started.replace("T", " ").partition("+")[0],
        "took": format_seconds(report.took_s),
        "command": shlex.join(report.command),
        "summaries": [(wording.case_name(case), findings(found[case])) for case in chosen],
        "cases": [_case(case, found[case], case in chosen) for case in found],
        "over_size": _growths(report, figures.over_size, _sizes, "pixels of the input"),
        "over_batch": _growths(report, figures.over_batch, _batches, "images in a batch"),
        "shares": (shares := _grouped(found, lambda outcome: _share(outcome, report))),
        "full_share": 1.06 * max([1.0, *(each.share for _, rows in shares for each in rows)]),
        "peaks": [
            f"{peak.flops_per_s / 1e9:.0f} GFLOP/s with {wording.count(peak.threads, 'thread')}"
            f" ({peak.library})"
            for peak in report.peaks
        ],
        "graph": _grouped(found, _graph),
        "pipeline": _grouped(found, _pipeline),
        "pictures": _pictures(found, chosen, directory),
        "failures": _grouped(
            found, lambda o: (wording.way_name(o.row), o.error) if o.error else None
        ),
        "environment": _environment(report),
        "facts": _grouped(found, lambda o: (wording.way_name(o.row), o.row.source, o.facts)),
        "spread_limit": f"{figures.SPREAD_LIMIT:.0%}",
        "others_limit": figures.OTHERS_LIMIT,
    }


def _case(case: Case, outcomes: Sequence[Outcome], unfolded: bool) -> CaseView:
    heads, rows = table(PAGE, outcomes)
    return CaseView(
        name=wording.case_name(case),
        open=unfolded,
        time=plots.time_bars(outcomes),
        memory=plots.memory_bars(outcomes),
        heads=heads,
        rows=rows,
        remarks=remarks(outcomes),
    )


def _growths(
    report: Report,
    fit: Callable[[Row, Sequence[Outcome]], figures.Fit | None],
    axis: Callable[[Row], tuple[str, dict[float, str]]],
    label: str,
) -> list[Growth]:
    """One for each group of rows that has lines; all rows of a line give the same one."""
    keys = itertools.cycle(enumerate(plots.MARKERS.values()))
    groups: dict[str, tuple[dict[float, str], dict[str, figures.Fit]]] = {}
    for outcome in report.outcomes:
        found = fit(outcome.row, report.outcomes)
        if found:
            name, ticks = axis(outcome.row)
            shown, lines = groups.setdefault(name, ({}, {}))
            shown |= ticks
            lines[wording.way_name(outcome.row)] = found
    return [
        Growth(
            name=name,
            plot=plots.growth(list(lines.items()), label, dict(sorted(ticks.items()))),
            lines=[
                (index, marker, way, f"{line.exponent:.2f}")
                for (way, line), (index, marker) in zip(lines.items(), keys, strict=False)
            ],
        )
        for name, (ticks, lines) in groups.items()
    ]


def _sizes(row: Row) -> tuple[str, dict[float, str]]:
    name = f"{row.model}, batch {row.batch}, {wording.count(row.threads, 'thread')}"
    return name, {float(math.prod(row.size)): format_size(row.size)}


def _batches(row: Row) -> tuple[str, dict[float, str]]:
    name = f"{row.model}, {format_size(row.size)}, {wording.count(row.threads, 'thread')}"
    return name, {float(row.batch): str(row.batch)}


def _grouped(
    found: dict[Case, list[Outcome]], make: Callable[[Outcome], Made | None]
) -> list[tuple[str, list[Made]]]:
    """What is made of the outcomes, by case; of what gives nothing no case either."""
    groups = (
        (wording.case_name(case), [made for o in outcomes if (made := make(o)) is not None])
        for case, outcomes in found.items()
    )
    return [(name, rows) for name, rows in groups if rows]


def _share(outcome: Outcome, report: Report) -> Share | None:
    floor, share = figures.floor_s(outcome.row, report), figures.floor_share(outcome, report)
    if floor is None or share is None:
        return None
    way, median = wording.way_name(outcome.row), wording.median(outcome)
    return Share(way, format_seconds(floor), median, share)


def _graph(outcome: Outcome) -> Verdict | None:
    graph = outcome.graph
    if graph is None:
        return None
    texts = tuple(
        f"{value:.1e}"
        for one in (graph.logits, graph.mask)
        for value in (one.max_abs, one.p99_abs, one.mean_abs)
    )
    return Verdict(wording.way_name(outcome.row), texts, graph.problem)


def _pipeline(outcome: Outcome) -> Verdict | None:
    found = figures.pipeline(outcome)
    if found is None:
        return None
    band_mae, band_max = found.band_mae, found.band_max_levels
    texts = (
        *(str(found.pictures), f"{found.mae:.1e}", wording.few_digits(found.max_levels)),
        *(wording.share(found.iou), "" if band_mae is None else f"{band_mae:.1e}"),
        *("" if band_max is None else wording.few_digits(band_max),),
        wording.share(found.boundary_iou),
    )
    return Verdict(wording.way_name(outcome.row), texts, found.problem)


def _pictures(
    found: dict[Case, list[Outcome]], chosen: Sequence[Case], directory: Path
) -> list[tuple[str, bool, list[Strip]]]:
    every = (
        (wording.case_name(case), case in chosen, strips(outcomes, directory))
        for case, outcomes in found.items()
    )
    return [(name, unfolded, made) for name, unfolded, made in every if made]


def _environment(report: Report) -> list[tuple[str, str]]:
    environment = report.environment
    rows = [
        ("processor", environment.processor),
        ("cores", str(environment.cores)),
        ("memory", format_bytes(environment.memory_bytes)),
        ("system", environment.system),
        *(("GPU", gpu) for gpu in environment.gpus),
        ("NVIDIA driver", environment.driver or ""),
        ("Python", environment.python),
        *environment.packages.items(),
    ]
    return [(name, value) for name, value in rows if value]
