"""What is derived from a record, and how. docs/report.md says the same for readers of reports."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..bench.results import Outcome, Peak, PictureParity, Report, Row, Turn

SPREAD_LIMIT = 0.1
"""A row is noisy if the interquartile range of its times is more than this share of the median."""
OTHERS_LIMIT = 0.25
"""And if others kept more cores than this busy during its turns, on average."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The warm times of a row, over all its turns."""

    runs: int
    median_s: float
    p95_s: float
    """The smallest time that at least 95 % of the runs kept to."""
    first_quartile_s: float
    third_quartile_s: float

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median."""
        return (self.third_quartile_s - self.first_quartile_s) / self.median_s


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row's time as a multiple of its baseline's: below 1 is faster."""

    value: float
    first_quartile: float
    third_quartile: float
    """Quartiles over the rounds; the value itself where none is shared."""
    rounds: int
    """That both had a turn in; 0 if the ratio is one of medians that were not taken in turn."""


@dataclass(frozen=True, slots=True)
class Fit:
    """median_s = constant * x ** exponent, by least squares over the logarithms."""

    exponent: float
    constant: float
    points: tuple[tuple[float, float], ...]
    """(x, median_s), x ascending."""


def times_s(outcome: Outcome) -> tuple[float, ...]:
    """All warm times of a row, over its turns."""
    return tuple(time for turn in outcome.turns for time in turn.times_s)


def timing(outcome: Outcome) -> Timing | None:
    """The figures of a row's warm times; None where there are none."""
    times = sorted(times_s(outcome))
    if not times:
        return None
    first, third = quartiles(times)
    return Timing(
        runs=len(times),
        median_s=statistics.median(times),
        p95_s=times[math.ceil(0.95 * len(times)) - 1],
        first_quartile_s=first,
        third_quartile_s=third,
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third, interpolated between neighbors; twice the value of a single one."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def others(outcome: Outcome) -> float:
    """Cores that others kept busy during a row's turns, on average over their time."""
    spent = sum(times_s(outcome))
    return sum(turn.others * sum(turn.times_s) for turn in outcome.turns) / spent if spent else 0.0


def is_noisy(outcome: Outcome) -> bool:
    """Whether a row's times are to be read with care; they are then marked with `~`."""
    found = timing(outcome)
    return found is not None and (found.spread > SPREAD_LIMIT or others(outcome) > OTHERS_LIMIT)


def images_per_s(outcome: Outcome) -> float | None:
    """Throughput: the batch over the median time."""
    found = timing(outcome)
    return outcome.row.batch / found.median_s if found else None


def cold_start_s(outcome: Outcome) -> float | None:
    """From a fresh interpreter to the first answer."""
    cold = outcome.cold
    return cold.import_s + cold.load_s + cold.first_s if cold else None


def energy_per_image_j(outcome: Outcome) -> float | None:
    """Over the turns whose energy was read; idle power is not taken off."""
    read = [(turn.energy_j, turn.times_s) for turn in outcome.turns if turn.energy_j is not None]
    images = outcome.row.batch * sum(len(times) for _, times in read)
    return sum(energy for energy, _ in read) / images if images else None


def round_ratios(outcome: Outcome, baseline: Outcome) -> list[float]:
    """Of each round that both had a turn in: median of the row's times over the baseline's."""
    theirs = _turns(baseline)
    return [
        statistics.median(turn.times_s) / statistics.median(theirs[at].times_s)
        for at, turn in _turns(outcome).items()
        if at in theirs
    ]


def _turns(outcome: Outcome) -> dict[tuple[int, int], Turn]:
    return {(turn.heat, turn.round): turn for turn in outcome.turns if turn.times_s}


def ratio(outcome: Outcome, baseline: Outcome) -> Ratio | None:
    """The median over the rounds; None where one of the two has no times."""
    ratios = round_ratios(outcome, baseline)
    if ratios:
        return Ratio(statistics.median(ratios), *quartiles(sorted(ratios)), len(ratios))
    mine, theirs = timing(outcome), timing(baseline)
    if mine is None or theirs is None:
        return None
    value = mine.median_s / theirs.median_s
    return Ratio(value, value, value, 0)


def over_size(row: Row, outcomes: Sequence[Outcome]) -> Fit | None:
    """Time over pixels, of the rows that differ from this one in nothing else."""
    return _fit(
        {math.prod(o.row.size): o for o in outcomes if _alike(o.row, row, "batch", "threads")}
    )


def over_batch(row: Row, outcomes: Sequence[Outcome]) -> Fit | None:
    """Time of a whole batch over its images, of the rows that differ in nothing else."""
    return _fit({o.row.batch: o for o in outcomes if _alike(o.row, row, "size", "threads")})


def _alike(one: Row, other: Row, *fields: str) -> bool:
    same = (one.model, one.way) == (other.model, other.way)
    return same and all(getattr(one, field) == getattr(other, field) for field in fields)


def _fit(outcomes: dict[int, Outcome]) -> Fit | None:
    """None for fewer than two points."""
    points = tuple(
        (float(x), found.median_s)
        for x, outcome in sorted(outcomes.items())
        if (found := timing(outcome))
    )
    if len(points) < 2:
        return None
    exponent, intercept = statistics.linear_regression(
        [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    )
    return Fit(exponent, math.exp(intercept), points)


def best_peak(report: Report, threads: int) -> Peak | None:
    """The machine's fastest fp32 matrix product with so many threads."""
    peaks = [peak for peak in report.peaks if peak.threads == threads]
    return max(peaks, key=lambda peak: peak.flops_per_s, default=None)


def floor_s(row: Row, report: Report) -> float | None:
    """What the model's multiply-adds would take at the speed of that product.

    Only of fp32 on the CPU, where such a product and the count of the work are known.
    """
    if row.precision != "fp32" or row.provider.partition(":")[0] != "cpu":
        return None
    peak = best_peak(report, row.threads)
    counted = {(work.model, work.size, work.batch): work.multiply_adds for work in report.work}
    multiply_adds = counted.get((row.model, row.size, row.batch))
    return 2 * multiply_adds / peak.flops_per_s if peak and multiply_adds else None


def floor_share(outcome: Outcome, report: Report) -> float | None:
    """The floor over the median time. Above 1, the product isn't what the processor can do."""
    floor, found = floor_s(outcome.row, report), timing(outcome)
    return floor / found.median_s if floor and found else None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline parity of a row: the worst over its pictures."""

    pictures: int
    mae: float
    max_levels: float
    iou: float
    band_mae: float | None
    """None where no picture's mask has an edge."""
    band_max_levels: float | None
    boundary_iou: float
    problem: str | None
    """Of the first picture that has one, with the picture's name."""


def pipeline(outcome: Outcome) -> Pipeline | None:
    """None where no picture was compared."""
    found = [(picture.image, picture.parity) for picture in outcome.pictures if picture.parity]
    parities: list[PictureParity] = [parity for _, parity in found]
    if not parities:
        return None
    return Pipeline(
        pictures=len(parities),
        mae=max(parity.mae for parity in parities),
        max_levels=max(parity.max_levels for parity in parities),
        iou=min(parity.iou for parity in parities),
        band_mae=_worst(parity.band_mae for parity in parities),
        band_max_levels=_worst(parity.band_max_levels for parity in parities),
        boundary_iou=min(parity.boundary_iou for parity in parities),
        problem=next((f"{name}: {p.problem}" for name, p in found if p.problem), None),
    )


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def differs(outcome: Outcome) -> bool:
    """Whether a row's answer is beyond the tolerances, as a tensor's or as a picture's."""
    found = pipeline(outcome)
    return bool((outcome.graph and outcome.graph.problem) or (found and found.problem))
