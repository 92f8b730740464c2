"""The columns that tables of rows are made of, as plain text."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from birefnet_runtime.model.input_size import format_size
from birefnet_runtime.units import format_bytes, format_seconds

from ..bench.results import Outcome, baseline_of
from . import statistics as figures
from . import wording

Outcomes = Sequence[Outcome]
WORTH_SAYING = 0.05
"""Cores that others kept busy, from which they are shown."""


class Column(NamedTuple):
    """A head, and the cell of an outcome below it, given the outcomes of its case."""

    head: str
    cell: Callable[[Outcome, Outcomes], str]
    always: bool = True
    """Whether it stays where no row has anything in it."""


def table(columns: Sequence[Column], outcomes: Outcomes) -> tuple[list[str], list[list[str]]]:
    """Heads and rows. Columns that may be left out are where they are empty; a row that failed
    before it had a time says so behind its name."""
    cells = [[column.cell(outcome, outcomes) for outcome in outcomes] for column in columns]
    kept = [index for index, column in enumerate(columns) if column.always or any(cells[index])]
    rows = [[cells[index][row] for index in kept] for row in range(len(outcomes))]
    heads = [columns[index].head for index in kept]
    for outcome, row in zip(outcomes, rows, strict=True):
        if failed_early(outcome):
            row[heads.index(WAY.head) + 1] = f"failed: {outcome.error}"
    return heads, rows


def failed_early(outcome: Outcome) -> bool:
    """Whether there is an error in the place of times."""
    return outcome.error is not None and not figures.times_s(outcome)


def remarks(outcomes: Outcomes) -> list[str]:
    """What is beyond a tolerance, and what ended a row that had times already."""
    lines = []
    for outcome in outcomes:
        name, found = wording.way_name(outcome.row), figures.pipeline(outcome)
        if outcome.error and not failed_early(outcome):
            lines.append(f"{name} ended early: {outcome.error}")
        if outcome.graph and outcome.graph.problem:
            lines.append(f"{name}, graph: {outcome.graph.problem}")
        if found and found.problem:
            lines.append(f"{name}, pipeline: {found.problem}")
    return lines


def _cold(outcome: Outcome, _: Outcomes) -> str:
    found = figures.cold_start_s(outcome)
    return format_seconds(found) if found is not None else ""


def _p95(outcome: Outcome, _: Outcomes) -> str:
    found = figures.timing(outcome)
    return format_seconds(found.p95_s) if found else ""


def _quartiles(outcome: Outcome, _: Outcomes) -> str:
    found = figures.timing(outcome)
    if found is None:
        return ""
    return f"{format_seconds(found.first_quartile_s)} to {format_seconds(found.third_quartile_s)}"


def _rounds(outcome: Outcome, outcomes: Outcomes) -> str:
    baseline = baseline_of(outcome.row, outcomes)
    found = figures.ratio(outcome, baseline) if baseline else None
    if found is None:
        return ""
    if not found.rounds:
        return "none shared"
    low, high = wording.multiple(found.first_quartile), wording.multiple(found.third_quartile)
    return f"{found.rounds}: {low} to {high}"


def _cold_parts(outcome: Outcome, _: Outcomes) -> str:
    cold = outcome.cold
    if cold is None:
        return ""
    return ", ".join(format_seconds(part) for part in (cold.import_s, cold.load_s, cold.first_s))


def _rate(outcome: Outcome, _: Outcomes) -> str:
    found = figures.images_per_s(outcome)
    return wording.rate(found) if found else ""


def _rss(outcome: Outcome, _: Outcomes) -> str:
    return format_bytes(outcome.peak_rss_bytes) if outcome.peak_rss_bytes else ""


def _device(outcome: Outcome, _: Outcomes) -> str:
    return format_bytes(outcome.peak_device_bytes) if outcome.peak_device_bytes else ""


def _energy(outcome: Outcome, _: Outcomes) -> str:
    found = figures.energy_per_image_j(outcome)
    return wording.energy(found) if found is not None else ""


def _graph(outcome: Outcome, _: Outcomes) -> str:
    graph = outcome.graph
    if graph is None:
        return ""
    verdict = "differs: " if graph.problem else ""
    return f"{verdict}{graph.logits.max_abs:.1e}, {graph.mask.max_abs:.1e}"


def _pipeline(outcome: Outcome, _: Outcomes) -> str:
    found = figures.pipeline(outcome)
    if found is None:
        return ""
    shares = f"{wording.share(found.iou)}, {wording.share(found.boundary_iou)}"
    return f"{_levels(outcome, _)}, {shares}"


def _levels(outcome: Outcome, _: Outcomes) -> str:
    found = figures.pipeline(outcome)
    if found is None:
        return ""
    verdict = "differs: " if found.problem else ""
    return f"{verdict}{wording.levels(found.max_levels)}"


def _others(outcome: Outcome, _: Outcomes) -> str:
    found = figures.others(outcome)
    return f"{found:.2f}" if found >= WORTH_SAYING else ""


def _runs(outcome: Outcome, _: Outcomes) -> str:
    return str(len(figures.times_s(outcome)) or "")


WAY = Column("way", lambda outcome, _: wording.way_name(outcome.row))
COLD = Column("cold start", _cold)
MEDIAN = Column("median", lambda outcome, _: wording.median(outcome))
P95 = Column("p95", _p95)
RATE = Column("images/s", _rate)
RATIO = Column("time / baseline's", wording.ratio, always=False)
RSS = Column("peak RSS", _rss)
DEVICE = Column("device memory", _device, always=False)
ENERGY = Column("energy an image", _energy, always=False)
MODEL = Column("model", lambda outcome, _: outcome.row.model)
SIZE = Column("size", lambda outcome, _: format_size(outcome.row.size))
EVERYTHING = (
    *(WAY, MEDIAN, P95, RATIO, RATE, COLD, RSS, DEVICE, ENERGY),
    Column("graph: logits, mask", _graph, always=False),
    Column("pipeline: levels, IoU, edge IoU", _pipeline, always=False),
)
PAGE = (
    *(WAY, MEDIAN, RATIO, RSS, DEVICE, ENERGY, RATE, P95),
    *(Column("middle half", _quartiles), Column("runs", _runs)),
    Column("others' cores", _others, always=False),
    *(Column("rounds: middle half", _rounds, always=False), COLD),
    Column("import, load, first run", _cold_parts, always=False),
)
BRIEFLY = (WAY, MEDIAN, RATIO, RSS, Column("mask is off by", _levels, always=False))
