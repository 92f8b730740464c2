"""Summary of a run in plain words, for the workload of each model in which most was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from birefnet_models.base.text import format_bytes, format_seconds, joined

from ..bench.results import BenchReport, ConfigurationResult, baseline_of
from . import statistics, wording

WorkloadKey: TypeAlias = tuple[str, tuple[int, int], int, int]
"""Model, (height, width), batch, threads: `Configuration.workload`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer to a question that every reader has."""

    title: str
    figure: str
    """The answer in a word or a number."""
    who: str
    """The configuration that it is about; empty if it is about all."""
    text: str
    good: bool | None = None
    """Whether it is as one would hope; None where nothing is hoped for."""


def workloads(report: BenchReport) -> dict[WorkloadKey, list[ConfigurationResult]]:
    """The results by workload: models as they came, then by size, batch and threads."""
    models = list(dict.fromkeys(result.configuration.model for result in report.results))
    groups: dict[WorkloadKey, list[ConfigurationResult]] = {}
    for result in report.results:
        groups.setdefault(result.configuration.workload, []).append(result)
    return dict(sorted(groups.items(), key=lambda item: (models.index(item[0][0]), item[0][1:])))


def main_workloads(report: BenchReport) -> list[WorkloadKey]:
    """Of each model the workload at the size it was trained at; among those, and where none is, the
    one with most timed configurations, then of most pixels, the smallest batch, most threads."""
    best: dict[str, tuple[tuple[float, ...], WorkloadKey]] = {}
    for workload, results in workloads(report).items():
        model, size, batch, threads = workload
        timed = sum(1 for result in results if statistics.times_s(result))
        trained = bool(timed) and report.trained_sizes.get(model) == size
        weight = (trained, timed, math.prod(size), -batch, threads)
        if model not in best or weight > best[model][0]:
            best[model] = weight, workload
    return [workload for _, workload in best.values()]


def findings(results: Sequence[ConfigurationResult]) -> list[Finding]:
    """What the results of one workload show: the fastest, the least memory, the accuracy."""
    return [_fastest(results), _least_memory(results), _accuracy(results)]


def _fastest(results: Sequence[ConfigurationResult]) -> Finding:
    title = "Fastest"
    timed = [(timing.median_s, r) for r in results if (timing := statistics.timing(r))]
    accurate = [(median, r) for median, r in timed if not statistics.differs(r)]
    if not accurate:
        why = "Every configuration that ran differs from the baseline."
        return Finding(
            title, "nothing", "", why if timed else "Nothing could be timed.", good=False
        )
    median_s, winner = min(accurate, key=lambda pair: pair[0])
    text = [_speed(winner, results)]
    reach = max(statistics.quartiles(sorted(statistics.times_s(winner))))
    if close := [r for median, r in accurate if r is not winner and median <= reach]:
        text.append(f"Not slower beyond its spread: {_names(close)}.")
    if quicker := [r for median, r in timed if median < median_s]:
        text.append(f"Faster, but beyond the tolerance: {_names(quicker)}.")
    return Finding(title, wording.median(winner), _names([winner]), " ".join(text))


def _names(results: Sequence[ConfigurationResult]) -> str:
    return joined([wording.configuration_name(r.configuration) for r in results])


def _speed(winner: ConfigurationResult, results: Sequence[ConfigurationResult]) -> str:
    """The speed against the baseline's."""
    if winner.configuration.baseline:
        return "It is the baseline itself."
    baseline = baseline_of(winner.configuration, results)
    if baseline is None:
        return "There is no baseline to compare it with."
    name = _names([baseline])
    ratio, timing = statistics.median_ratio(winner, baseline), statistics.timing(baseline)
    if ratio is None or timing is None:
        return f"The baseline, {name}, gave no times."
    own = statistics.timing(winner)
    assert own is not None
    # Of the medians that are shown; round by round, where the machine's drift cancels out, it may
    # be another figure.
    factor, by_round = f"{timing.median_s / own.median_s:.2g}", f"{1 / ratio.value:.2g}"
    faster = own.median_s < 0.95 * timing.median_s
    speed = f"{factor} times as fast as" if faster else "About as fast as"
    how = "not interleaved"
    if ratio.rounds:
        how = "round by round" if by_round == factor else f"{by_round} times round by round"
    return f"{speed} the baseline, {name} ({format_seconds(timing.median_s)}), {how}."


def _least_memory(results: Sequence[ConfigurationResult]) -> Finding:
    title = "Least memory"
    measured = [
        (r.peak_rss_bytes, r)
        for r in results
        if r.peak_rss_bytes and statistics.timing(r) and not statistics.differs(r)
    ]
    if not measured:
        return Finding(title, "unknown", "", "No memory was measured.", good=False)
    peak, winner = min(measured, key=lambda pair: pair[0])
    text = "At its peak, the interpreter included."
    baseline = baseline_of(winner.configuration, results)
    if winner.configuration.baseline:
        text += " It is the baseline itself."
    elif baseline and baseline.peak_rss_bytes:
        text += f" The baseline takes {format_bytes(baseline.peak_rss_bytes)}."
    return Finding(title, format_bytes(peak), _names([winner]), text)


def _accuracy(results: Sequence[ConfigurationResult]) -> Finding:
    title = "Within tolerance"
    compared = [r for r in results if r.graph or statistics.worst_parity(r)]
    if not compared:
        return Finding(title, "unknown", "", "Nothing was compared with a baseline.", good=False)
    right = [r for r in compared if not statistics.differs(r)]
    wrong = [r for r in compared if statistics.differs(r)]
    figure = "no" if not right else "not all" if wrong else "yes"
    text = f"{len(right)} of {len(compared)} within tolerance{_largest_errors(right)}."
    if wrong:
        text += f" Beyond: {_names(wrong)}."
    return Finding(title, figure, "", text, good=not wrong)


def _largest_errors(results: Sequence[ConfigurationResult]) -> str:
    masks = [r.graph.mask.max_abs for r in results if r.graph]
    levels = [worst.max_levels for r in results if (worst := statistics.worst_parity(r))]
    text = []
    if masks:
        text.append(f"the mask of the same tensor is off by {max(masks):.1e} at most")
    if levels:
        text.append(f"that of a whole image by {wording.few_digits(max(levels))} of 255 levels")
    return f": {', '.join(text)}" if text else ""
