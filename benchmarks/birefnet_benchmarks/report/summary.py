"""What a run found, in plain words: of each model the case that says most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from birefnet_runtime.units import format_bytes, format_seconds

from ..bench.results import Outcome, Report, baseline_of
from . import statistics as figures
from . import wording

Case = tuple[str, tuple[int, int], int, int]
"""Model, (height, width), batch, threads: `Row.case`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer to a question that every reader has."""

    title: str
    figure: str
    """The answer in a word or a number."""
    who: str
    """The way that it is about; empty if it is about all."""
    text: str
    good: bool | None = None
    """Whether it is what was hoped for; None where nothing was hoped for."""


def cases(report: Report) -> dict[Case, list[Outcome]]:
    """The outcomes by what is compared: models as they came, then size, batch and threads."""
    models = list(dict.fromkeys(outcome.row.model for outcome in report.outcomes))
    found: dict[Case, list[Outcome]] = {}
    for outcome in report.outcomes:
        found.setdefault(outcome.row.case, []).append(outcome)
    return dict(sorted(found.items(), key=lambda item: (models.index(item[0][0]), item[0][1:])))


def main_cases(report: Report) -> list[Case]:
    """Of each model the case in which most rows were timed; among those the one of most pixels,
    then of the smallest batch and most threads."""
    best: dict[str, tuple[tuple[float, ...], Case]] = {}
    for case, outcomes in cases(report).items():
        model, size, batch, threads = case
        timed = sum(1 for outcome in outcomes if figures.times_s(outcome))
        weight = (timed, math.prod(size), -batch, threads)
        if model not in best or weight > best[model][0]:
            best[model] = weight, case
    return [case for _, case in best.values()]


def findings(outcomes: Sequence[Outcome]) -> list[Finding]:
    """What the rows of one case show: the fastest, the leanest, whether the answer is the same."""
    return [_fastest(outcomes), _leanest(outcomes), _answer(outcomes)]


def _fastest(outcomes: Sequence[Outcome]) -> Finding:
    title = "Fastest"
    timed = [(found.median_s, o) for o in outcomes if (found := figures.timing(o))]
    same = [(median, o) for median, o in timed if not figures.differs(o)]
    if not same:
        why = "Every row that ran gives another answer." if timed else "No row could be timed."
        return Finding(title, "nothing", "", why, good=False)
    median_s, winner = min(same, key=lambda each: each[0])
    text = [_against(winner, outcomes)]
    reach = max(figures.quartiles(sorted(figures.times_s(winner))))
    close = [o for median, o in same if o is not winner and median <= reach]
    if close:
        names = wording.listed(wording.way_name(o.row) for o in close)
        text.append(f"Not slower beyond its spread: {names}.")
    quicker = [o for median, o in timed if median < median_s]
    if quicker:
        names = wording.listed(wording.way_name(o.row) for o in quicker)
        text.append(f"Faster, but with another answer: {names}.")
    return Finding(title, wording.median(winner), wording.way_name(winner.row), " ".join(text))


def _against(winner: Outcome, outcomes: Sequence[Outcome]) -> str:
    if winner.row.baseline:
        return "It is the baseline itself."
    baseline = baseline_of(winner.row, outcomes)
    if baseline is None:
        return "There is no baseline to hold it against."
    name = wording.way_name(baseline.row)
    found, theirs = figures.ratio(winner, baseline), figures.timing(baseline)
    if found is None or theirs is None:
        return f"The baseline, {name}, gave no times."
    speed = f"{1 / found.value:.2g} times as fast as" if found.value < 0.95 else "About as fast as"
    how = "round by round" if found.rounds else "not taken in turn"
    return f"{speed} the baseline, {name} ({format_seconds(theirs.median_s)}), {how}."


def _leanest(outcomes: Sequence[Outcome]) -> Finding:
    title = "Least memory"
    measured = [
        (o.peak_rss_bytes, o)
        for o in outcomes
        if o.peak_rss_bytes and figures.timing(o) and not figures.differs(o)
    ]
    if not measured:
        return Finding(title, "unknown", "", "No row's memory was measured.", good=False)
    peak, winner = min(measured, key=lambda each: each[0])
    text = "At its peak, the interpreter included."
    baseline = baseline_of(winner.row, outcomes)
    if winner.row.baseline:
        text += " It is the baseline itself."
    elif baseline and baseline.peak_rss_bytes:
        text += f" The baseline takes {format_bytes(baseline.peak_rss_bytes)}."
    return Finding(title, format_bytes(peak), wording.way_name(winner.row), text)


def _answer(outcomes: Sequence[Outcome]) -> Finding:
    title = "Same answer"
    compared = [o for o in outcomes if o.graph or figures.pipeline(o)]
    if not compared:
        return Finding(title, "unknown", "", "No row was compared with a baseline.", good=False)
    right = [o for o in compared if not figures.differs(o)]
    wrong = [wording.way_name(o.row) for o in compared if figures.differs(o)]
    figure = "no" if not right else "not for all" if wrong else "yes"
    text = f"{len(right)} of {len(compared)} within the tolerances{_departures(right)}."
    if wrong:
        text += f" Beyond them: {wording.listed(wrong)}."
    return Finding(title, figure, "", text, good=not wrong)


def _departures(outcomes: Sequence[Outcome]) -> str:
    """The largest departures, of the tensors' masks and of the pictures'."""
    masks = [o.graph.mask.max_abs for o in outcomes if o.graph]
    levels = [found.max_levels for o in outcomes if (found := figures.pipeline(o))]
    text = []
    if masks:
        text.append(f"the mask of the same tensor is off by {max(masks):.1e} at most")
    if levels:
        text.append(f"that of a whole picture by {wording.few_digits(max(levels))} of 255 levels")
    return f": {', '.join(text)}" if text else ""
