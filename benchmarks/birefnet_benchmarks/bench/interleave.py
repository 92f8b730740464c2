"""Rows of one case, raced: processes side by side that take turns, so that drift favors none.

Every row is opened alone, while the others wait, so its cold start and its peak of memory are its
own. As many rows as fit into memory then live side by side: a heat. In each round of a heat every
row has one turn, in an order drawn anew; ratios are taken within a round. The baseline takes part
in every heat.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from birefnet_runtime.units import format_seconds

from ..errors import RowError
from .measure.energy_and_gpu import Meters, meters_for
from .measure.process import Limits, RowProcess, memory_left_bytes
from .measure.timing import Clock
from .results import ColdStart, Outcome, Row, Turn

TURN_S = 0.25
"""Short runs are repeated for this long in one turn."""
REST_S = 0.02
"""Between turns: threads of the row before stop spinning meanwhile."""
LEAST_ROUNDS = 3
MOST_ROUNDS = 60
SETTLED = 0.01
"""A row is settled when its median is known to this share of itself (standard error)."""
HEADROOM = 1.3
"""A row joins a heat if this much of what it is taken to need is free."""
FILE_FACTOR = 4
"""The first row of a case is taken to need this much of its file."""
CHUNK_BYTES = 1 << 24

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Need:
    """What one more row is taken to need: the most that one of its case has taken so far."""

    host_bytes: int = 0
    device_bytes: int = 0

    def seen(self, process: RowProcess) -> Need:
        """The same, once this row has been seen as well."""
        return Need(
            max(self.host_bytes, process.peak_rss_bytes or 0),
            max(self.device_bytes, process.peak_device_bytes or 0),
        )


@dataclass
class Entry:
    """A row that takes part: its process, and what is known so far."""

    row: Row
    process: RowProcess
    meters: Meters
    outcome: Outcome
    """All but the turns."""
    turns: list[Turn] = field(default_factory=list)
    finished: bool = False

    @property
    def alive(self) -> bool:
        return self.outcome.error is None

    @property
    def is_settled(self) -> bool:
        """Whether more turns would tell little: the median's standard error is small."""
        times = [each for turn in self.turns for each in turn.times_s]
        if len(times) < 10:
            return False
        first, middle, third = statistics.quantiles(times, n=4, method="inclusive")
        error = 1.2533 * (third - first) / 1.349 / len(times) ** 0.5  # of a normal sample's median
        return bool(error < SETTLED * middle)

    def result(self) -> Outcome:
        """What it gave so far."""
        return replace(self.outcome, turns=tuple(self.turns))


Finish = Callable[[Row, RowProcess, Outcome], Outcome]
"""Asks a row that has had its turns for whatever is wanted beside times."""


class Race:
    """One case, from the first row to the last.

    Args:
        seconds: of warm runs for each row of a heat.
        limits: what a row may take.
        order: draws the order of rows and of turns.
        finish: asks a row, after its last turn, for whatever is wanted beside times.
        say: is told what happens.
    """

    def __init__(
        self,
        seconds: float,
        limits: Limits,
        order: random.Random,
        finish: Finish,
        say: Say,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._seconds = seconds
        self._limits = limits
        self._order = order
        self._finish = finish
        self._say = say
        self._clock = clock
        self._heat = 0

    def run(self, rows: Sequence[Row]) -> Iterator[Outcome]:
        """Race the rows of a case; each outcome as soon as it is whole, so the baseline's last.

        The baseline is opened first, the others in an order that is drawn.
        """
        baseline = [row for row in rows if row.baseline]
        others = [row for row in rows if not row.baseline]
        self._order.shuffle(others)
        running: list[Entry] = []
        need = Need()
        try:
            for row in baseline + others:
                if running and not _fits(row, need):
                    yield from self._race(running)
                    running = yield from self._make_room(running, row, need)
                entry = self._open(row)
                need = need.seen(entry.process)
                if entry.alive:
                    running.append(entry)
                else:
                    yield entry.result()
            yield from self._race(running)
            yield from (entry.result() for entry in running if entry.row.baseline)
        finally:
            for entry in running:
                entry.process.close()

    def _open(self, row: Row) -> Entry:
        """Start a row; its outcome has an error if it got no further."""
        read_into_page_cache(Path(row.source))
        meters = meters_for(row.provider)
        process = RowProcess(row, self._limits, meters.device_bytes)
        entry = Entry(row, process, meters, Outcome(row))
        try:
            answer = process.ask("open")
        except RowError as error:
            self._fail(entry, error)
            return entry
        took_s = time.perf_counter() - process.started
        load_s, first_s = answer["load_s"], answer["first_s"]
        cold = ColdStart(max(0.0, took_s - load_s - first_s), load_s, first_s)
        self._say(f"{describe(row)}: first answer after {format_seconds(took_s)}")
        entry.outcome = replace(entry.outcome, cold=cold, facts=answer["facts"])
        return entry

    def _fail(self, entry: Entry, error: RowError) -> None:
        """What goes wrong with a row is its result."""
        self._say(f"{describe(entry.row)}: {error}")
        entry.outcome = replace(_with_peaks(entry), error=str(error))
        entry.process.close()

    def _make_room(
        self, running: list[Entry], row: Row, need: Need
    ) -> Generator[Outcome, None, list[Entry]]:
        """End a heat. The baseline stays for the next one if the row fits beside it."""
        self._heat += 1
        for entry in running:
            if not entry.row.baseline:
                entry.process.close()
        baseline = [entry for entry in running if entry.row.baseline]
        if baseline and baseline[0].alive and _fits(row, need):
            return baseline
        for entry in baseline:
            self._say(f"{describe(row)}: not in turn with the baseline, which leaves no memory")
            entry.process.close()
            yield entry.result()
        return []

    def _race(self, running: list[Entry]) -> Iterator[Outcome]:
        """Rounds until the time is up or all medians are known; then everybody's outcome."""
        begun = self._clock()
        budget_s = self._seconds * len(running)
        for number in range(MOST_ROUNDS):
            alive = [entry for entry in running if entry.alive]
            left_s = budget_s - (self._clock() - begun)
            enough = left_s <= 0 or all(entry.is_settled for entry in alive)
            if not alive or (enough and number >= LEAST_ROUNDS):
                break
            self._say(
                f"  round {number + 1}, {len(alive)} rows in turn, "
                f"{format_seconds(max(0.0, left_s))} left"
            )
            for entry in self._order.sample(alive, len(alive)):
                self._turn(entry, number)
        for entry in running:
            self._finish_once(entry)
            if not entry.row.baseline:
                yield entry.result()

    def _turn(self, entry: Entry, number: int) -> None:
        time.sleep(REST_S)
        energy, busy, begun = entry.meters.energy_j(), machine_busy_s(), time.perf_counter()
        try:
            answer = entry.process.ask("turn", least_s=TURN_S)
        except RowError as error:
            self._fail(entry, error)
            return
        took_s = time.perf_counter() - begun
        others = max(0.0, machine_busy_s() - busy - answer["busy_s"]) / took_s
        after = entry.meters.energy_j()
        spent = after - energy if energy is not None and after is not None else None
        times = tuple(answer["times_s"])
        entry.turns.append(Turn(self._heat, number, times, round(others, 3), spent))

    def _finish_once(self, entry: Entry) -> None:
        """Ask for the rest, unless it was asked for in an earlier heat."""
        if entry.finished or not entry.alive:
            return
        entry.finished = True
        entry.outcome = _with_peaks(entry)  # what comes now would add to them
        try:
            entry.outcome = self._finish(entry.row, entry.process, entry.outcome)
        except RowError as error:
            self._fail(entry, error)


def _with_peaks(entry: Entry) -> Outcome:
    """The outcome with the memory that was taken so far, if that isn't there yet."""
    if entry.outcome.peak_rss_bytes is not None:
        return entry.outcome
    return replace(
        entry.outcome,
        peak_rss_bytes=entry.process.peak_rss_bytes,
        peak_device_bytes=entry.process.peak_device_bytes,
    )


def _fits(row: Row, need: Need) -> bool:
    """Whether one more process fits, into the machine's memory and into its GPU's."""
    file = Path(row.source)
    guess = file.stat().st_size * FILE_FACTOR if file.is_file() else 0
    left, _ = memory_left_bytes()
    if left < HEADROOM * (need.host_bytes or guess):
        return False
    free = meters_for(row.provider).device_free_bytes()
    return free is None or free >= HEADROOM * need.device_bytes


def read_into_page_cache(file: Path) -> None:
    """Read a file, and weights that lie beside it: whoever opens it first waits for no disk."""
    for each in (file, Path(f"{file}_data")):
        if each.is_file():
            with each.open("rb") as stream:
                while stream.read(CHUNK_BYTES):
                    pass


def machine_busy_s() -> float:
    """Processor seconds that anybody has used so far on this machine."""
    spent: Any = psutil.cpu_times()
    idle = spent.idle + getattr(spent, "iowait", 0.0)
    guests = getattr(spent, "guest", 0.0) + getattr(spent, "guest_nice", 0.0)  # within user, nice
    return float(sum(spent) - idle - guests)


def describe(row: Row) -> str:
    """A row in a line: `pytorch eager fp32 cpu`."""
    return " ".join(row.way)
