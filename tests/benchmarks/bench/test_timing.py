"""The clock of a turn, with a clock that is told what time it is."""

import pytest
from birefnet_benchmarks.bench.measure.timing import time_calls, time_round


class Clock:
    """Stands still unless a call takes time."""

    def __init__(self, *takes):
        self.now = 0.0
        self.takes = iter(takes)

    def __call__(self):
        return self.now

    def call(self):
        self.now += next(self.takes)


def test_calls_are_timed_one_by_one():
    clock = Clock(1.0, 0.5, 2.0)

    assert time_calls(clock.call, 3, clock) == (1.0, 0.5, 2.0)


def test_a_long_call_fills_a_round():
    clock = Clock(3.0)

    assert time_round(clock.call, 0.25, clock) == (3.0,)


def test_a_round_of_short_calls_is_filled_and_its_first_is_not_counted():
    clock = Clock(0.05, *[0.03125] * 20)

    times = time_round(clock.call, 0.25, clock)

    assert times == pytest.approx([0.03125] * 7)  # 0.05 + 7 x 0.03125 is beyond 0.25


def test_a_call_of_half_a_round_is_counted():
    clock = Clock(0.125, 0.25)

    assert time_round(clock.call, 0.25, clock) == (0.125, 0.25)
