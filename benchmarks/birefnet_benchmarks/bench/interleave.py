"""Interleaved runs of one workload's configurations, so that drift of the machine favors none.

Every configuration is opened alone, while the others wait, so its cold start and its peak of memory
are its own. As many processes as fit into memory then stay open side by side: a group. In each
round every configuration of the group runs for a moment, in random order; ratios are taken within
a round. The baseline is part of every group.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from birefnet_models.base.text import format_seconds

from ..errors import MeasurementError
from .configuration import Configuration
from .measure.energy_and_gpu import Counters, counters_for
from .measure.memory import memory_left_bytes
from .measure.process import ConfigurationProcess, Limits
from .measure.timing import Clock
from .results import ColdStart, ConfigurationResult, Round

ROUND_S = 0.25
"""Short runs are repeated for this long in one round."""
REST_S = 0.02
"""Before each configuration's runs: threads of the one before stop spinning meanwhile."""
LEAST_ROUNDS = 3
MOST_ROUNDS = 60
SETTLED = 0.01
"""A configuration is settled when its median is known to this share of itself (standard error)."""
HEADROOM = 1.3
"""A configuration joins a group if this multiple of its expected memory is free."""
FILE_FACTOR = 4
"""The first configuration of a workload is expected to need this multiple of its file."""
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Expected memory of one more process: the most that one of its workload has taken so far."""

    host_bytes: int = 0
    device_bytes: int = 0

    def including(self, process: ConfigurationProcess) -> MemoryNeed:
        """The need when this process counts as well."""
        return MemoryNeed(
            max(self.host_bytes, process.peak_rss_bytes or 0),
            max(self.device_bytes, process.peak_device_bytes or 0),
        )


@dataclass
class Running:
    """A configuration whose process is open, and what was measured of it so far."""

    process: ConfigurationProcess
    counters: Counters
    result: ConfigurationResult
    """Without the rounds."""
    rounds: list[Round] = field(default_factory=list)
    finished: bool = False

    @property
    def alive(self) -> bool:
        return self.result.error is None

    @property
    def is_settled(self) -> bool:
        """Whether more rounds would tell little: the median's standard error is small."""
        times = [time_s for runs in self.rounds for time_s in runs.times_s]
        if len(times) < 10:
            return False
        first, middle, third = statistics.quantiles(times, n=4, method="inclusive")
        error = 1.2533 * (third - first) / 1.349 / len(times) ** 0.5  # of a normal sample's median
        return bool(error < SETTLED * middle)

    def complete_result(self) -> ConfigurationResult:
        """The result with the rounds so far."""
        return replace(self.result, rounds=tuple(self.rounds))


Finish = Callable[[ConfigurationProcess, ConfigurationResult], ConfigurationResult]
"""Completes the result of a configuration after its last round, while its process is open."""


class InterleavedRuns:
    """Measures one workload, from the first configuration to the last.

    Args:
        seconds: of warm runs for each configuration of a group.
        limits: time and memory that a configuration may take.
        order: draws the order of configurations and, in each round, of their runs.
        finish: completes a configuration's result after its last round.
        log: called with lines that say what is running.
    """

    def __init__(
        self,
        seconds: float,
        limits: Limits,
        order: random.Random,
        finish: Finish,
        log: Callable[[str], None],
        clock: Clock = time.perf_counter,
    ) -> None:
        self._seconds = seconds
        self._limits = limits
        self._order = order
        self._finish = finish
        self._log = log
        self._clock = clock
        self._group = 0

    def run(self, configurations: Sequence[Configuration]) -> Iterator[ConfigurationResult]:
        """Measure the configurations; each result as soon as it is complete, the baseline's last.

        The baseline is opened first, the others in random order.
        """
        baseline = [c for c in configurations if c.baseline]
        others = [c for c in configurations if not c.baseline]
        self._order.shuffle(others)
        group: list[Running] = []
        need = MemoryNeed()
        try:
            for configuration in baseline + others:
                if group and not _fits(configuration, need):
                    yield from self._run_group(group)
                    group = yield from self._start_group(group, configuration, need)
                running = self._open(configuration)
                need = need.including(running.process)
                if running.alive:
                    group.append(running)
                else:
                    yield running.complete_result()
            yield from self._run_group(group)
            yield from (r.complete_result() for r in group if r.result.configuration.baseline)
        finally:
            for running in group:
                running.process.close()

    def _open(self, configuration: Configuration) -> Running:
        """Start a configuration's process; its result has an error if that fails."""
        read_into_page_cache(Path(configuration.source))
        counters = counters_for(configuration.provider)
        process = ConfigurationProcess(configuration, self._limits, counters.device_bytes)
        running = Running(process, counters, ConfigurationResult(configuration))
        try:
            answer = process.ask("open")
        except MeasurementError as error:
            self._fail(running, error)
            return running
        took_s = time.perf_counter() - process.started
        load_s, first_s = answer["load_s"], answer["first_s"]
        cold = ColdStart(max(0.0, took_s - load_s - first_s), load_s, first_s)
        self._log(
            f"{describe_configuration(configuration)}: first answer after {format_seconds(took_s)}"
        )
        running.result = replace(running.result, cold=cold, facts=answer["facts"])
        return running

    def _fail(self, running: Running, error: MeasurementError) -> None:
        """Store an error as the configuration's result, and end its process."""
        self._log(f"{describe_configuration(running.result.configuration)}: {error}")
        running.result = replace(_with_peaks(running), error=str(error))
        running.process.close()

    def _start_group(
        self, group: list[Running], configuration: Configuration, need: MemoryNeed
    ) -> Generator[ConfigurationResult, None, list[Running]]:
        """End a group. The baseline stays for the next one if the configuration fits beside it."""
        self._group += 1
        baseline = [running for running in group if running.result.configuration.baseline]
        for running in group:
            if running not in baseline:
                running.process.close()
        if baseline and baseline[0].alive and _fits(configuration, need):
            return baseline
        for running in baseline:
            name = describe_configuration(configuration)
            self._log(f"{name}: not interleaved with the baseline, which leaves no memory for it")
            running.process.close()
            yield running.complete_result()
        return []

    def _run_group(self, group: list[Running]) -> Iterator[ConfigurationResult]:
        """Rounds until the time is up or all medians are known; then all results of the group."""
        begun = self._clock()
        budget_s = self._seconds * len(group)
        for number in range(MOST_ROUNDS):
            alive = [running for running in group if running.alive]
            left_s = budget_s - (self._clock() - begun)
            enough = left_s <= 0 or all(running.is_settled for running in alive)
            if not alive or (enough and number >= LEAST_ROUNDS):
                break
            self._log(
                f"  round {number + 1}, {len(alive)} configurations interleaved, "
                f"{format_seconds(max(0.0, left_s))} left"
            )
            for running in self._order.sample(alive, len(alive)):
                self._run_round(running, number)
        for running in group:
            self._finish_once(running)
            if not running.result.configuration.baseline:
                yield running.complete_result()

    def _run_round(self, running: Running, number: int) -> None:
        time.sleep(REST_S)
        energy, busy, begun = running.counters.energy_j(), machine_busy_s(), time.perf_counter()
        try:
            answer = running.process.ask("round", least_s=ROUND_S)
        except MeasurementError as error:
            self._fail(running, error)
            return
        took_s = time.perf_counter() - begun
        others = max(0.0, machine_busy_s() - busy - answer["busy_s"]) / took_s
        after = running.counters.energy_j()
        spent = None if energy is None or after is None else max(0.0, after - energy)
        times = tuple(answer["times_s"])
        running.rounds.append(Round(self._group, number, times, round(others, 3), spent))

    def _finish_once(self, running: Running) -> None:
        """Complete the result, unless that happened in an earlier group."""
        if running.finished or not running.alive:
            return
        running.finished = True
        running.result = _with_peaks(running)  # the finish would add to them
        try:
            running.result = self._finish(running.process, running.result)
        except MeasurementError as error:
            self._fail(running, error)


def _with_peaks(running: Running) -> ConfigurationResult:
    """The result with the peaks of memory so far, unless it has some."""
    if running.result.peak_rss_bytes is not None:
        return running.result
    return replace(
        running.result,
        peak_rss_bytes=running.process.peak_rss_bytes,
        peak_device_bytes=running.process.peak_device_bytes,
    )


def _fits(configuration: Configuration, need: MemoryNeed) -> bool:
    """Whether one more process fits, into the machine's memory and into its GPU's."""
    file = Path(configuration.source)
    guess = file.stat().st_size * FILE_FACTOR if file.is_file() else 0
    left, _ = memory_left_bytes()
    if left < HEADROOM * (need.host_bytes or guess):
        return False
    free = counters_for(configuration.provider).device_free_bytes()
    return free is None or free >= HEADROOM * need.device_bytes


def read_into_page_cache(file: Path) -> None:
    """Read a file, and weights beside it, so that whoever opens it first waits for no disk."""
    for path in (file, Path(f"{file}_data")):
        if path.is_file():
            with path.open("rb") as stream:
                while stream.read(CHUNK_BYTES):
                    pass


def machine_busy_s() -> float:
    """Processor seconds that all processes of this machine have used so far."""
    import psutil

    spent: Any = psutil.cpu_times()
    idle = spent.idle + getattr(spent, "iowait", 0.0)
    guests = getattr(spent, "guest", 0.0) + getattr(spent, "guest_nice", 0.0)  # within user, nice
    return float(sum(spent) - idle - guests)


def describe_configuration(configuration: Configuration) -> str:
    """A configuration in the log: `pytorch eager fp32 cpu`."""
    return " ".join(configuration.setup)
