"""Two runs side by side, A before and B after: what became slower, larger or wrong.

Times scatter, so a ratio comes with an interval, and only what lies wholly beyond the threshold
counts. The interval knows the scatter within the runs; what a machine does from one hour to the
next isn't in it, which is what the ratios to a baseline in the same run are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..bench.results import Outcome, Report, Row, baseline_of
from ..errors import ReportError
from . import statistics as figures

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
THRESHOLD = 0.05
"""By default: what is not more than this slower is no regression."""
MEMORY_THRESHOLD = 0.05
"""Peak memory hardly scatters, so that it needs no interval."""
FEWEST = 3
"""Of fewer runs (or rounds) the scatter isn't known, and nothing is concluded."""


class Judgment(StrEnum):
    """What became of a figure. Only the first three are regressions."""

    WORSE = "worse"
    FAILS = "fails now"
    DIFFERS = "differs now"
    DRIFTED = "worse, as the machine is"
    PERHAPS_WORSE = "worse, within noise"
    SAME = "same"
    PERHAPS_BETTER = "better, within noise"
    BETTER = "better"
    RUNS = "runs now"
    AGREES = "agrees now"
    UNJUDGED = "not judged"

    @property
    def regression(self) -> bool:
        return self in (Judgment.WORSE, Judgment.FAILS, Judgment.DIFFERS)


@dataclass(frozen=True, slots=True)
class Change:
    """B's figure as a multiple of A's."""

    ratio: float
    interval: tuple[float, float] | None
    """At 95 %; None if there were too few runs for one."""
    judgment: Judgment


@dataclass(frozen=True, slots=True)
class Pair:
    """The same row in both runs."""

    a: Outcome
    b: Outcome
    time: Change | None
    """Of the medians; None where one of them has no times."""
    against_baseline: Change | None
    """Of the ratios to the baseline's time, each taken in its own run; None without rounds."""
    judgments: dict[str, Judgment]
    """By what is judged: `it` is whether it runs at all, then time, memory and parity."""

    @property
    def regressions(self) -> tuple[str, ...]:
        """What became worse."""
        return tuple(name for name, found in self.judgments.items() if found.regression)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    threshold: float
    same_machine: bool
    """Else times aren't judged as such, only against the baselines of their own runs."""
    environment: dict[str, tuple[str, str]]
    """What differs between the environments, A's and B's."""
    pairs: tuple[Pair, ...]
    only_a: tuple[Row, ...]
    only_b: tuple[Row, ...]

    @property
    def regressed(self) -> bool:
        return any(pair.regressions for pair in self.pairs)


def compare(a: Report, b: Report, threshold: float = THRESHOLD) -> Comparison:
    """Match the rows of two runs by what they are, and judge each.

    Raises:
        ReportError: the runs have no row in common.
    """
    before = {(outcome.row.case, outcome.row.way): outcome for outcome in a.outcomes}
    after = {(outcome.row.case, outcome.row.way): outcome for outcome in b.outcomes}
    both = [key for key in before if key in after]
    if not both:
        raise ReportError(
            "the two runs have no row in common: nothing agrees in model, size, batch, threads, "
            "backend, variant, precision and provider; run `birefnet bench` with the same choice"
        )
    same = _machine(a) == _machine(b)
    return Comparison(
        threshold=threshold,
        same_machine=same,
        environment=_environment(a, b),
        pairs=tuple(_pair(before[key], after[key], a, b, threshold, same) for key in both),
        only_a=tuple(outcome.row for key, outcome in before.items() if key not in after),
        only_b=tuple(outcome.row for key, outcome in after.items() if key not in before),
    )


def _pair(
    a: Outcome, b: Outcome, report_a: Report, report_b: Report, threshold: float, same: bool
) -> Pair:
    times = _turns(a), _turns(b)
    time = _change(times, threshold, judged=same) if all(times) else None
    bases = baseline_of(a.row, report_a.outcomes), baseline_of(b.row, report_b.outcomes)
    against = None
    if bases[0] and bases[1] and bases[0].row.way == bases[1].row.way:
        rounds = figures.round_ratios(a, bases[0]), figures.round_ratios(b, bases[1])
        if all(rounds):
            against = _change(([rounds[0]], [rounds[1]]), threshold, judged=True)
    if time and same:
        time = replace(time, judgment=_without_drift(b.row, time, against))
        against = against and replace(against, judgment=Judgment.UNJUDGED)
    return Pair(
        a,
        b,
        time,
        against,
        {
            "it": _running(bool(times[0]), bool(times[1])),
            "time": time.judgment if time else Judgment.UNJUDGED,
            "time vs baseline": against.judgment if against else Judgment.UNJUDGED,
            "memory": Judgment.UNJUDGED
            if _is_measure(b.row)
            else _memory(a.peak_rss_bytes, b.peak_rss_bytes),
            "device memory": _memory(a.peak_device_bytes, b.peak_device_bytes),
            "graph parity": _parity(_graph_agrees(a), _graph_agrees(b)),
            "pipeline parity": _parity(_pipeline_agrees(a), _pipeline_agrees(b)),
        },
    )


def _without_drift(row: Row, time: Change, against: Change | None) -> Judgment:
    """Of two runs on one machine, which may be slower as a whole today.

    What a row shares with its baseline is the machine's: a row is worse if its ratio to the
    baseline is, too.
    """
    held_against_it = against is not None and against.judgment is not Judgment.WORSE
    if time.judgment is Judgment.WORSE and (_is_measure(row) or held_against_it):
        return Judgment.DRIFTED
    return time.judgment


def _is_measure(row: Row) -> bool:
    """PyTorch as the baseline is what others are measured by, and not what is judged."""
    return row.baseline and row.backend == "pytorch"


def _graph_agrees(outcome: Outcome) -> bool | None:
    return outcome.graph.problem is None if outcome.graph else None


def _pipeline_agrees(outcome: Outcome) -> bool | None:
    found = figures.pipeline(outcome)
    return found.problem is None if found else None


def _turns(outcome: Outcome) -> list[list[float]]:
    return [list(turn.times_s) for turn in outcome.turns if turn.times_s]


def _change(
    groups: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]],
    threshold: float,
    *,
    judged: bool,
) -> Change:
    """The ratio of the medians of two samples in groups, B's over A's."""
    a, b = (np.concatenate(each) for each in groups)
    ratio = float(np.median(b) / np.median(a))
    interval = None
    if min(len(a), len(b)) >= FEWEST:
        drawn = [
            resampled_medians(each, np.random.default_rng([SEED, index]))
            for index, each in enumerate(groups)
        ]
        edge = (1 - CONFIDENCE) / 2
        low, high = np.quantile(drawn[1] / drawn[0], [edge, 1 - edge])
        interval = float(low), float(high)
    found = _judge(ratio, interval, threshold) if judged else Judgment.UNJUDGED
    return Change(ratio, interval, found)


def resampled_medians(
    groups: Sequence[Sequence[float]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of `RESAMPLES` samples drawn with replacement, groups first, then in each group.

    Runs of one turn resemble each other more than those of different turns: with single runs drawn
    alone the interval would be too narrow (a two-stage bootstrap, Davison and Hinkley 1997, 3.8).
    """
    counts = rng.multinomial(len(groups), [1 / len(groups)] * len(groups), RESAMPLES)
    drawn = np.hstack(
        [
            rng.multinomial(counts[:, index] * len(group), [1 / len(group)] * len(group))
            for index, group in enumerate(groups)
        ]
    )
    values = np.concatenate([np.asarray(group, float) for group in groups])
    order = np.argsort(values)
    reached = np.cumsum(drawn[:, order], axis=1)
    half = reached[:, -1:] / 2
    lower, upper = (reached >= half).argmax(axis=1), (reached > half).argmax(axis=1)
    medians: NDArray[np.float64] = (values[order][lower] + values[order][upper]) / 2
    return medians


def _judge(ratio: float, interval: tuple[float, float] | None, threshold: float) -> Judgment:
    if interval and interval[0] > 1 + threshold:
        return Judgment.WORSE
    if interval and interval[1] < 1 - threshold:
        return Judgment.BETTER
    if ratio > 1 + threshold:
        return Judgment.PERHAPS_WORSE
    if ratio < 1 - threshold:
        return Judgment.PERHAPS_BETTER
    return Judgment.SAME


def _memory(a: int | None, b: int | None) -> Judgment:
    if not a or not b:
        return Judgment.UNJUDGED
    return _judge(b / a, (b / a, b / a), MEMORY_THRESHOLD)


def _parity(a: bool | None, b: bool | None) -> Judgment:
    """Of whether it was within the tolerances; None where it was not compared."""
    if a is None or b is None:
        return Judgment.DIFFERS if b is False else Judgment.UNJUDGED
    if a == b:
        return Judgment.SAME
    return Judgment.AGREES if b else Judgment.DIFFERS


def _running(a: bool, b: bool) -> Judgment:
    if a == b:
        return Judgment.SAME
    return Judgment.RUNS if b else Judgment.FAILS


def _machine(report: Report) -> tuple[object, ...]:
    environment = report.environment
    return environment.processor, environment.cores, environment.gpus


def _environment(a: Report, b: Report) -> dict[str, tuple[str, str]]:
    """Every fact and version that isn't the same."""
    one, other = _facts(a), _facts(b)
    names = dict.fromkeys((*one, *other))
    return {
        name: (one.get(name, "none"), other.get(name, "none"))
        for name in names
        if one.get(name) != other.get(name)
    }


def _facts(report: Report) -> dict[str, str]:
    environment = report.environment
    plain = {
        field.name: getattr(environment, field.name)
        for field in fields(environment)
        if field.name not in ("packages", "memory_bytes")
    }
    facts = {
        name: ", ".join(value) if isinstance(value, tuple) else str(value)
        for name, value in plain.items()
        if value
    }
    return facts | environment.packages
