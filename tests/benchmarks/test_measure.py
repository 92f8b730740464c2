import pytest
from birefnet_benchmarks.case import Case
from birefnet_benchmarks.measure import Measurement, time_calls


def measurement(*times_s: float) -> Measurement:
    case = Case("nano", None, (1024, 1024), 2, len(times_s))
    return Measurement(case, (192, 192), 0.5, times_s, 100_000_000)


class FakeClock:
    """Stands still but for what the measured call adds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_call_is_timed_alone():
    clock = FakeClock()
    durations = iter([0.5, 0.25, 2.0])

    def call() -> None:
        clock.now += next(durations)

    assert time_calls(call, 3, clock) == (0.5, 0.25, 2.0)


def test_figures_are_derived_from_the_raw_times():
    times = [0.01 * n for n in range(1, 21)]

    assert measurement(*times).median_s == pytest.approx(0.105)
    assert measurement(*times).p95_s == pytest.approx(0.19)
    assert measurement(3.0).p95_s == 3.0
    assert measurement(1, 2, 3, 4, 5).spread == pytest.approx(2 / 3)
    assert measurement(1.0).spread == 0
