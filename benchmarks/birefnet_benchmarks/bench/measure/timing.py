"""Wall-clock seconds of calls that return when their work is done."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
PRODUCT_SIDE = 2048
PRODUCT_REPEATS = 10
"""The matrix product by which a machine's peak is measured: its side, and how often it is timed."""


def time_calls(
    call: Callable[[], object], repeats: int, clock: Clock = time.perf_counter
) -> tuple[float, ...]:
    """Seconds of each of `repeats` calls."""
    return tuple(_time(call, clock) for _ in range(repeats))


def time_round(
    call: Callable[[], object], least_s: float, clock: Clock = time.perf_counter
) -> tuple[float, ...]:
    """Seconds of each call of one round: as many as fill `least_s`, one at least.

    Before short calls the caches are full of the previous configuration's data; so the first of
    them is repeated and not counted.
    """
    begun = clock()
    times = [_time(call, clock)]
    if times[0] < least_s / 4:
        times = [_time(call, clock)]
    while clock() - begun < least_s:
        times.append(_time(call, clock))
    return tuple(times)


def _time(call: Callable[[], object], clock: Clock) -> float:
    started = clock()
    call()
    return clock() - started
