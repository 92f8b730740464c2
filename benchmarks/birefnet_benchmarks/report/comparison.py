"""Two runs side by side, A before and B after: what became slower, larger or wrong.

Times scatter, so a ratio comes with an interval, and only what lies wholly beyond the threshold
counts. The interval knows the scatter within the runs. It does not know how a machine changes from
one hour to the next; the ratios to a baseline in the same run do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bench.results import (
    BenchReport,
    Configuration,
    ConfigurationResult,
    GraphParity,
    baseline_of,
)
from ..errors import ReportError
from . import statistics

RESAMPLES = 2000
CONFIDENCE = 0.95
MEMORY_THRESHOLD = 0.05
"""Peak memory hardly scatters, so it needs no interval."""
FEWEST = 3
"""Of fewer runs (or rounds) the scatter isn't known, and nothing is concluded."""


class Judgment(StrEnum):
    """How a number changed. Only the first three are regressions."""

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
    """B's number as a multiple of A's."""

    ratio: float
    interval: tuple[float, float] | None
    """At 95 %; None if there were too few runs for one."""
    judgment: Judgment


@dataclass(frozen=True, slots=True)
class ResultPair:
    """Results of the same configuration in both runs."""

    a: ConfigurationResult
    b: ConfigurationResult
    time: Change | None
    """Of the medians; None where one of them has no times."""
    vs_baseline: Change | None
    """Of the ratios to the baseline's time, each taken in its own run; None without rounds."""
    judgments: dict[str, Judgment]
    """By name: whether it runs, time, memory and parity."""

    @property
    def regressions(self) -> tuple[str, ...]:
        """Names of the judgments that are regressions."""
        return tuple(name for name, judgment in self.judgments.items() if judgment.regression)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    threshold: float
    same_machine: bool
    """Else times aren't judged as such, only their ratios to the baselines of their own runs."""
    environment: dict[str, tuple[str, str]]
    """Differences between the environments, A's and B's."""
    pairs: tuple[ResultPair, ...]
    only_a: tuple[Configuration, ...]
    only_b: tuple[Configuration, ...]

    @property
    def regressed(self) -> bool:
        return any(pair.regressions for pair in self.pairs)


def compare(
    a: BenchReport, b: BenchReport, threshold: float = 0.05, of: tuple[str, str] | None = None
) -> Comparison:
    """Match the configurations of two runs, and judge each.

    Args:
        threshold: a configuration that is slower by less than this share is no regression.
        of: words of a configuration of `a` and of one of `b`, as "native fp32", which are compared
            with each other at each size, batch and number of threads; by default the same ones are.

    Raises:
        ReportError: the runs have no configuration in common, or the words fit none or several.
    """
    before, after = (
        {(r.configuration.workload, r.configuration.setup): r for r in x.results} for x in (a, b)
    )
    if of is not None:
        before, after = (_meant(each, words) for each, words in zip((a, b), of, strict=True))
    both = [key for key in before if key in after]
    if not both and of is not None:
        raise ReportError("those two have no size, batch and number of threads in common")
    if not both:
        raise ReportError(
            "the two runs have no configuration in common: none agrees in model, size, batch, "
            "threads, backend, variant, precision and provider; run `birefnet bench` with the same "
            "options"
        )
    same = _machine(a) == _machine(b)
    return Comparison(
        threshold=threshold,
        same_machine=same,
        environment=_environment(a, b),
        pairs=tuple(_pair(before[key], after[key], a, b, threshold, same) for key in both),
        only_a=tuple(result.configuration for key, result in before.items() if key not in after),
        only_b=tuple(result.configuration for key, result in after.items() if key not in before),
    )


def _meant(report: BenchReport, words: str) -> dict[Any, ConfigurationResult]:
    """The results of the one configuration that has all of these words, by size, batch, threads.

    Raises:
        ReportError: none has, or several have.
    """
    wanted = words.replace(",", " ").lower().split()
    found: dict[tuple[str, ...], dict[Any, ConfigurationResult]] = {}
    for result in report.results:
        c = result.configuration
        own = {word.lower() for part in (c.model, *c.setup) for word in part.split()}
        if own.issuperset(wanted):
            key = (c.size, c.batch, c.threads)
            found.setdefault((c.model, *c.setup), {})[key] = result
    if len(found) != 1:
        every = found or {
            (r.configuration.model, *r.configuration.setup): {} for r in report.results
        }
        names = "; ".join(" ".join(name) for name in every)
        how = "fits several" if found else "fits none"
        raise ReportError(f"{words!r} {how}: {names}; give words of one")
    return next(iter(found.values()))


def _pair(
    a: ConfigurationResult,
    b: ConfigurationResult,
    report_a: BenchReport,
    report_b: BenchReport,
    threshold: float,
    same: bool,
) -> ResultPair:
    times = _times(a), _times(b)
    time = _change(times, threshold, judged=same) if all(times) else None
    vs_baseline = None
    base_a, base_b = (
        baseline_of(result.configuration, report.results)
        for result, report in ((a, report_a), (b, report_b))
    )
    if base_a and base_b and base_a.configuration.setup == base_b.configuration.setup:
        ratios = statistics.round_ratios(a, base_a), statistics.round_ratios(b, base_b)
        if all(ratios):
            vs_baseline = _change(([ratios[0]], [ratios[1]]), threshold, judged=True)
    if time and same:
        time = replace(time, judgment=_without_drift(b.configuration, time, vs_baseline))
        vs_baseline = vs_baseline and replace(vs_baseline, judgment=Judgment.UNJUDGED)
    return ResultPair(
        a,
        b,
        time,
        vs_baseline,
        {
            "running": _running(bool(times[0]), bool(times[1])),
            "time": time.judgment if time else Judgment.UNJUDGED,
            "time vs baseline": vs_baseline.judgment if vs_baseline else Judgment.UNJUDGED,
            "memory": Judgment.UNJUDGED
            if _is_yardstick(b.configuration)
            else _memory(a.peak_rss_bytes, b.peak_rss_bytes),
            "device memory": _memory(a.peak_device_bytes, b.peak_device_bytes),
            "graph parity": _parity(a.graph, b.graph),
            "pipeline parity": _parity(statistics.worst_parity(a), statistics.worst_parity(b)),
        },
    )


def _without_drift(
    configuration: Configuration, time: Change, vs_baseline: Change | None
) -> Judgment:
    """The judgment of a time on one machine, which may be slower as a whole today.

    What slows a configuration and its baseline alike is the machine; the configuration is worse if
    its ratio to the baseline is, too.
    """
    shared = vs_baseline is not None and vs_baseline.judgment is not Judgment.WORSE
    if time.judgment is Judgment.WORSE and (_is_yardstick(configuration) or shared):
        return Judgment.DRIFTED
    return time.judgment


def _is_yardstick(configuration: Configuration) -> bool:
    """Whether it is PyTorch as the baseline, which others are measured by and isn't judged."""
    return configuration.baseline and configuration.backend == "pytorch"


def _times(result: ConfigurationResult) -> list[list[float]]:
    return [list(runs.times_s) for runs in result.rounds if runs.times_s]


def _change(
    groups: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]],
    threshold: float,
    *,
    judged: bool,
) -> Change:
    """The ratio of the medians of two samples in groups, B's over A's."""
    a, b = (np.concatenate(sample) for sample in groups)
    ratio = float(np.median(b) / np.median(a))
    interval = None
    if min(len(a), len(b)) >= FEWEST:
        drawn = [
            resampled_medians(sample, np.random.default_rng([0, index]))
            for index, sample in enumerate(groups)
        ]
        edge = (1 - CONFIDENCE) / 2
        low, high = np.quantile(drawn[1] / drawn[0], [edge, 1 - edge])
        interval = float(low), float(high)
    judgment = _judge(ratio, interval, threshold) if judged else Judgment.UNJUDGED
    return Change(ratio, interval, judgment)


def resampled_medians(
    groups: Sequence[Sequence[float]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of `RESAMPLES` samples drawn with replacement, groups first, then in each group.

    Runs of one round resemble each other more than those of different rounds: with single runs
    drawn alone the interval would be too narrow (two-stage bootstrap, Davison and Hinkley 1997,
    3.8).
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


def _parity(
    a: GraphParity | statistics.WorstParity | None, b: GraphParity | statistics.WorstParity | None
) -> Judgment:
    """Whether it was and is within the tolerances; None where it was not compared."""
    if a is None or b is None:
        return Judgment.DIFFERS if b and b.problem else Judgment.UNJUDGED
    if bool(a.problem) == bool(b.problem):
        return Judgment.SAME
    return Judgment.DIFFERS if b.problem else Judgment.AGREES


def _running(a: bool, b: bool) -> Judgment:
    if a == b:
        return Judgment.SAME
    return Judgment.RUNS if b else Judgment.FAILS


def _machine(report: BenchReport) -> tuple[object, ...]:
    environment = report.environment
    return environment.processor, environment.cores, environment.gpus


def _environment(a: BenchReport, b: BenchReport) -> dict[str, tuple[str, str]]:
    """Every fact and version that differs."""
    one, other = _facts(a), _facts(b)
    names = dict.fromkeys((*one, *other))
    return {
        name: (one.get(name, "none"), other.get(name, "none"))
        for name in names
        if one.get(name) != other.get(name)
    }


def _facts(report: BenchReport) -> dict[str, str]:
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
