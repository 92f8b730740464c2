"""The measurement: raw times are kept, figures are derived."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from .case import Case

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one case gave, in a process of its own."""

    case: Case
    ran_size: tuple[int, int]
    """(height, width) at which the network ran."""
    cold_start_s: float
    """Import, open the model, first answer."""
    times_s: tuple[float, ...]
    """Each later answer."""
    peak_rss_bytes: int

    @property
    def median_s(self) -> float:
        return statistics.median(self.times_s)

    @property
    def p95_s(self) -> float:
        """The smallest time that at least 95 % of the answers kept to."""
        return sorted(self.times_s)[math.ceil(0.95 * len(self.times_s)) - 1]

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median; 0 for fewer than two times."""
        if len(self.times_s) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.times_s, n=4, method="inclusive")
        return (third - first) / self.median_s


def time_calls(
    call: Callable[[], object], repeats: int, clock: Clock = time.perf_counter
) -> tuple[float, ...]:
    """Seconds of each of `repeats` calls."""
    times = []
    for _ in range(repeats):
        started = clock()
        call()
        times.append(clock() - started)
    return tuple(times)
