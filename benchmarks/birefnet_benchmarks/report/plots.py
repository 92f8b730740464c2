"""Plots as SVG that sits inside a page: its colors and its typeface are the page's."""

import html
import math
import re
import warnings
from collections.abc import Sequence
from io import StringIO
from typing import Any, NamedTuple

import matplotlib as mpl
from birefnet_models.base.text import format_bytes, format_seconds
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..bench.results import ConfigurationResult
from . import statistics, wording

WIDTH = 4.3
"""Of a plot, in inches: about a phone's width, so that its text is legible there."""
LINES = 8
"""Colors and markers that lines are told apart by."""
MOST_POINTS = 200
"""Raw times that are drawn of one configuration; of more, an even choice from the sorted times."""
LONGEST_BAR = 6
"""Multiple of the middle bar beyond which a bar is broken, so that the others stay visible."""
LONGEST_NAME = 42
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a $ in a name is a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
# Drawn in colors that nothing else has, each then replaced by a variable of the page's style.
INK, SOFT, GRID, BAR, BASELINE, WHISKER = (f"#01010{digit}" for digit in range(6))
LINE_COLORS = [f"#02020{digit}" for digit in range(LINES)]
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--line",
    BAR: "--bar",
    BASELINE: "--baseline",
    WHISKER: "--whisker",
} | {color: f"--line-{index}" for index, color in enumerate(LINE_COLORS)}
MARKERS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼", "P": "✚", "*": "★", "X": "✖"}
"""Of each line, and the character that looks like it."""


class Bars(NamedTuple):
    """Bars of one workload."""

    svg: str
    cut: bool
    """Whether one is longer than the axis and therefore broken."""


def time_bars(results: Sequence[ConfigurationResult]) -> Bars:
    """A bar for each median, a whisker between the quartiles, a tick for each run."""
    timings = [statistics.timing(result) for result in results]
    medians = [timing.median_s if timing else 0 for timing in timings]
    texts = [wording.median(result) or "failed" for result in results]
    times, most = [sorted(statistics.times_s(result)) for result in results], _end(medians)
    drawn = [
        known for known, median in zip(times, medians, strict=True) if known and median <= most
    ]
    reach = max((statistics.quartiles(known)[1] for known in drawn), default=0)
    # A few slow runs don't make all bars short.
    end = max(most, min(max((known[-1] for known in drawn), default=0), 1.25 * reach))
    figure, axes = _bars(results, medians, texts, end)
    for index, timing in enumerate(timings):
        if timing is None or timing.median_s > end:
            continue
        inside = [time_s for time_s in times[index] if time_s <= end]
        if slower := len(times[index]) - len(inside):
            text = f"{slower} slower ›"
            axes.text(end, index + 0.64, text, color=SOFT, ha="right", va="center", fontsize=8)
        shown = inside[:: math.ceil(len(inside) / MOST_POINTS)]
        ticks = [(time_s, y) for time_s in shown for y in (index + 0.5, index + 0.78, math.nan)]
        axes.plot(*zip(*ticks, strict=True), color=WHISKER, linewidth=1, alpha=0.35)
        axes.plot(timing.quartiles_s, [index + 0.64] * 2, color=WHISKER, linewidth=2.2)
    axes.xaxis.set_major_formatter(lambda value, _: format_seconds(value) if value else "0")
    return Bars(
        _svg(figure, f"Median time. {_spoken(results, texts)}"), max(medians, default=0) > end
    )


def memory_bars(results: Sequence[ConfigurationResult]) -> Bars:
    """A bar for each peak of resident memory."""
    values = [result.peak_rss_bytes or 0 for result in results]
    texts = [format_bytes(value) if value else "not measured" for value in values]
    end = _end(values)
    figure, axes = _bars(results, values, texts, end)
    axes.xaxis.set_major_formatter(lambda value, _: format_bytes(value) if value else "0")
    return Bars(
        _svg(figure, f"Peak memory. {_spoken(results, texts)}"), max(values, default=0) > end
    )


def _end(values: Sequence[float]) -> float:
    """The longest bar that is drawn whole: others than it would be too short to compare."""
    known = sorted(value for value in values if value)
    if not known:
        return 0
    limit = LONGEST_BAR * known[(len(known) - 1) // 2]
    return max(value for value in known if value <= limit)


def scaling(fits: Sequence[tuple[str, statistics.Fit]], label: str, ticks: dict[float, str]) -> str:
    """Median times on logarithmic axes, each configuration's with its fitted line dashed.

    Args:
        fits: each line's name, and the line. Colors and markers are given in order.
        label: of the x axis.
        ticks: its labels by x.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _axes(2.9)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for index, (_, fit) in enumerate(fits):
            xs, ys = zip(*fit.points, strict=True)
            color, marker = LINE_COLORS[index % LINES], list(MARKERS)[index % LINES]
            axes.plot(xs, ys, linestyle="", marker=marker, markersize=6, color=color)
            fitted = [fit.constant * x**fit.exponent for x in (xs[0], xs[-1])]
            axes.plot((xs[0], xs[-1]), fitted, color=color, linewidth=1.4, dashes=(4, 2), alpha=0.8)
        low, high = (pick([y for _, fit in fits for _, y in fit.points]) for pick in (min, max))
        axes.set_ylim(low / 1.4, high * 1.4)
        steps = _steps(low, high)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_yticks(steps, [format_seconds(step) for step in steps])
        axes.minorticks_off()
        axes.set_xlabel(label, color=SOFT)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        spoken = "; ".join(f"{name}: exponent {fit.exponent:.2f}" for name, fit in fits)
        return _svg(figure, f"Median time over {label}. {spoken}.")


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(length=0, colors=SOFT)
    return figure, axes


def _bars(
    results: Sequence[ConfigurationResult],
    values: Sequence[float],
    texts: Sequence[str],
    end: float,
) -> tuple[Figure, Axes]:
    """Horizontal bars, each below its name and its value: so they take a phone's whole width.

    A bar beyond the end of the axis is drawn up to it, with a gap that breaks it.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _axes(0.45 * len(results) + 0.4)
        limit = end * 1.01 or 1
        for index, (result, value, text) in enumerate(zip(results, values, texts, strict=True)):
            color = BASELINE if result.configuration.baseline else BAR
            parts = (
                [(0, value)] if value <= end else [(0, 0.9 * limit), (0.92 * limit, 0.08 * limit)]
            )
            for left, width in parts:
                axes.barh(index + 0.64, width, left=left, height=0.42, color=color)
            name = short(wording.configuration_name(result.configuration))
            axes.text(0, index + 0.33, name, color=INK)
            edge = axes.get_yaxis_transform()
            axes.text(1, index + 0.33, text, color=INK, ha="right", transform=edge)
        axes.set_xlim(0, limit)
        axes.set_ylim(len(results), 0)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)
        return figure, axes


def short(name: str) -> str:
    """A name that leaves room for the value beside it."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _spoken(results: Sequence[ConfigurationResult], texts: Sequence[str]) -> str:
    names = [wording.configuration_name(result.configuration) for result in results]
    return "; ".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True)) + "."


def _steps(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten in between; the ends where that gives fewer than two."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    inside = [step for step in steps if low <= step <= high]
    return inside if len(inside) > 1 else [low, high]


def _svg(figure: Figure, spoken: str) -> str:
    """The figure as one element of a page, without what belongs to a file of its own."""
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    salted = STYLE | {"svg.hashsalt": spoken}  # else every run has other ids
    with mpl.rc_context(salted), warnings.catch_warnings():
        # What matplotlib's own typeface lacks it can't measure; the page's may have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(text, format="svg", metadata=nothing)
    body = text.getvalue()
    box = re.search(r'viewBox="[^"]*"', body)
    body = body[body.index("</defs>") + len("</defs>") :]
    referred = set(re.findall(r"#([mp][0-9a-f]+)", body))  # markers and clips
    body = re.sub(r' id="([^"]*)"', lambda at: at[0] if at[1] in referred else "", body)
    body = re.sub(r"font-family: [^;]*; ", "", body).replace("xlink:href", "href")
    for color, variable in VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    spoken = html.escape(spoken)
    return f'<svg class="plot" role="img" aria-label="{spoken}" {box and box[0]}>{body}'
