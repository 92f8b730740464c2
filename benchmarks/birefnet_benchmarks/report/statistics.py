"""Statistics of a report. docs/reference/report.md explains the same to readers of reports."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..bench.results import (
    BenchReport,
    Configuration,
    ConfigurationResult,
    PipelineParity,
)

SPREAD_LIMIT = 0.1
"""A configuration is noisy if its interquartile range is more than this share of the median."""
OTHERS_LIMIT = 0.25
"""And if other processes kept more cores than this busy during its runs, on average."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The warm times of a configuration, over all its rounds."""

    runs: int
    median_s: float
    p95_s: float
    """The smallest time that at least 95 % of the runs kept to."""
    quartiles_s: tuple[float, float]
    """The first and the third."""

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median."""
        return (self.quartiles_s[1] - self.quartiles_s[0]) / self.median_s


@dataclass(frozen=True, slots=True)
class Ratio:
    """A configuration's time as a multiple of its baseline's: below 1 is faster."""

    value: float
    quartiles: tuple[float, float]
    """Over the rounds; twice the value where none is shared."""
    rounds: int
    """In which both ran; 0 for a ratio of medians of runs that were not interleaved."""


@dataclass(frozen=True, slots=True)
class Fit:
    """median_s = constant * x ** exponent, by least squares over the logarithms."""

    exponent: float
    constant: float
    points: tuple[tuple[float, float], ...]
    """(x, median_s), x ascending."""


def times_s(result: ConfigurationResult) -> tuple[float, ...]:
    """Every warm time, as measured."""
    return tuple(time_s for runs in result.rounds for time_s in runs.times_s)


def timing(result: ConfigurationResult) -> Timing | None:
    """Statistics of the warm times; None where there are none."""
    times = sorted(times_s(result))
    if not times:
        return None
    p95_s = times[math.ceil(0.95 * len(times)) - 1]
    return Timing(len(times), statistics.median(times), p95_s, quartiles(times))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third, interpolated between neighbors; twice the value of a single one."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def other_cores(result: ConfigurationResult) -> float:
    """Cores that other processes kept busy during the runs, on average over their time."""
    spent = sum(times_s(result))
    busy = sum(runs.other_cores * sum(runs.times_s) for runs in result.rounds)
    return busy / spent if spent else 0.0


def is_noisy(result: ConfigurationResult) -> bool:
    """Whether the times are to be read with care; they are then marked with `~`."""
    known = timing(result)
    return known is not None and (known.spread > SPREAD_LIMIT or other_cores(result) > OTHERS_LIMIT)


def images_per_s(result: ConfigurationResult) -> float | None:
    """Throughput: the batch over the median time."""
    known = timing(result)
    return result.configuration.batch / known.median_s if known else None


def cold_start_s(result: ConfigurationResult) -> float | None:
    """Seconds from a fresh interpreter to the first answer."""
    cold = result.cold
    return cold.import_s + cold.load_s + cold.first_s if cold else None


def energy_per_image_j(result: ConfigurationResult) -> float | None:
    """Over the rounds whose energy was read; idle power is not taken off."""
    read = [(runs.energy_j, runs.times_s) for runs in result.rounds if runs.energy_j is not None]
    images = result.configuration.batch * sum(len(times) for _, times in read)
    return sum(energy for energy, _ in read) / images if images else None


def round_ratios(result: ConfigurationResult, baseline: ConfigurationResult) -> list[float]:
    """Of each round in which both ran: median of the configuration over median of the baseline."""
    theirs = _medians(baseline)
    return [median / theirs[at] for at, median in _medians(result).items() if at in theirs]


def _medians(result: ConfigurationResult) -> dict[tuple[int, int], float]:
    """The median of each round, by group and number."""
    rounds = (runs for runs in result.rounds if runs.times_s)
    return {(runs.group, runs.number): statistics.median(runs.times_s) for runs in rounds}


def median_ratio(result: ConfigurationResult, baseline: ConfigurationResult) -> Ratio | None:
    """The median over the common rounds; None where one of the two has no times."""
    ratios = round_ratios(result, baseline)
    if ratios:
        return Ratio(statistics.median(ratios), quartiles(sorted(ratios)), len(ratios))
    mine, theirs = timing(result), timing(baseline)
    if mine is None or theirs is None:
        return None
    value = mine.median_s / theirs.median_s
    return Ratio(value, (value, value), 0)


def over_size(configuration: Configuration, results: Sequence[ConfigurationResult]) -> Fit | None:
    """Time over pixels, of the configurations that differ from this one in nothing else."""
    alike = _alike(configuration, results, ("batch", "threads"))
    return _fit({math.prod(result.configuration.size): result for result in alike})


def over_batch(configuration: Configuration, results: Sequence[ConfigurationResult]) -> Fit | None:
    """Time of a whole batch over its images, of the configurations that differ in nothing else."""
    alike = _alike(configuration, results, ("size", "threads"))
    return _fit({result.configuration.batch: result for result in alike})


def _alike(
    configuration: Configuration, results: Sequence[ConfigurationResult], fields: Sequence[str]
) -> list[ConfigurationResult]:
    """Results whose configurations agree in these fields, too."""

    def key(c: Configuration) -> tuple[object, ...]:
        return c.model, c.setup, *(getattr(c, field) for field in fields)

    return [result for result in results if key(result.configuration) == key(configuration)]


def _fit(results: dict[int, ConfigurationResult]) -> Fit | None:
    """None for fewer than two points."""
    points = tuple(
        (float(x), known.median_s) for x, r in sorted(results.items()) if (known := timing(r))
    )
    if len(points) < 2:
        return None
    exponent, intercept = statistics.linear_regression(
        [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    )
    return Fit(exponent, math.exp(intercept), points)


def roofline_s(configuration: Configuration, report: BenchReport) -> float | None:
    """Seconds that the multiply-adds would take at the speed of the fastest matrix product.

    Only of fp32 on the CPU, where that product and the number of multiply-adds are known.
    """
    c = configuration
    if c.precision != "fp32" or c.provider.partition(":")[0] != "cpu":
        return None
    peaks = [peak.flops_per_s for peak in report.matmul_peaks if peak.threads == c.threads]
    counts = {(n.model, n.size, n.batch): n.multiply_adds for n in report.operation_counts}
    multiply_adds = counts.get((c.model, c.size, c.batch))
    return 2 * multiply_adds / max(peaks) if peaks and multiply_adds else None


def roofline_share(result: ConfigurationResult, report: BenchReport) -> float | None:
    """The roofline's time over the median time; docs/reference/report.md says why it can pass 1."""
    bound_s, known = roofline_s(result.configuration, report), timing(result)
    return bound_s / known.median_s if bound_s and known else None


@dataclass(frozen=True, slots=True)
class WorstParity:
    """The pipeline parity of a configuration: the worst of each number over its images."""

    images: int
    mae: float
    max_levels: float
    iou: float
    band_mae: float | None
    """None where no image's mask has an edge."""
    band_max_levels: float | None
    boundary_iou: float
    problem: str | None
    """Of the first image that has one, with the image's name."""


def worst_parity(result: ConfigurationResult) -> WorstParity | None:
    """None where no image was compared."""
    named = [(preview.image, preview.parity) for preview in result.previews if preview.parity]
    parities: list[PipelineParity] = [parity for _, parity in named]
    if not parities:
        return None
    return WorstParity(
        images=len(parities),
        mae=max(parity.mae for parity in parities),
        max_levels=max(parity.max_levels for parity in parities),
        iou=min(parity.iou for parity in parities),
        band_mae=_largest(parity.band_mae for parity in parities),
        band_max_levels=_largest(parity.band_max_levels for parity in parities),
        boundary_iou=min(parity.boundary_iou for parity in parities),
        problem=next((f"{name}: {p.problem}" for name, p in named if p.problem), None),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def differs(result: ConfigurationResult) -> bool:
    """Whether the logits of a tensor or the mask of an image are beyond the tolerance."""
    worst = worst_parity(result)
    return bool((result.graph and result.graph.problem) or (worst and worst.problem))
