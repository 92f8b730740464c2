"""A row's process as the run sees it: asked, watched, and ended when it takes too much."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from birefnet_runtime.machine.cgroup import memory_limit_bytes
from birefnet_runtime.units import format_bytes, format_seconds

from ...errors import RowError
from ..configuration import Row

LOOK_S = 0.02
"""How often a process is looked at while it works."""
GOODBYE_S = 2.0
RESERVE = 0.04
"""The share of the machine's memory that must stay free; below it the row is ended before the
kernel chooses whom to end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row may take."""

    timeout_s: float = 600.0
    """For each thing that it is asked to do: opening with its first run, a turn, a picture."""
    memory_bytes: float | None = None
    """Resident set size; None for what the machine has."""


class RowProcess:
    """One row, running, until it is closed.

    Raises:
        RowError: from `ask`, if the row can't do what it is asked to.
    """

    def __init__(self, row: Row, limits: Limits, device_bytes: Callable[[], int | None]) -> None:
        self.row = row
        self._limits = limits
        self._device_bytes = device_bytes
        self._device_before = device_bytes() or 0
        self.peak_device_bytes: int | None = None
        self.peak_rss_bytes: int | None = None
        self.started = time.perf_counter()
        # Open for as long as the process is, hence no block of its own.
        self._stderr = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "birefnet_benchmarks.bench.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,  # so that what it starts can be ended with it
            env={**os.environ, "OMP_NUM_THREADS": str(row.threads)},
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._watched = psutil.Process(self._process.pid)
        self._tell(asdict(row))

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Let the worker do something, and wait for the answer."""
        self._tell([verb, arguments])
        answer: dict[str, Any] = json.loads(self._wait(verb))
        if "error" in answer:
            raise RowError(answer["error"])
        self.peak_rss_bytes = max(self.peak_rss_bytes or 0, answer.pop("peak_rss_bytes"))
        return answer

    def close(self) -> None:
        """End the process, and what it started."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # no more requests: it ends by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GOODBYE_S)
        self._kill()
        self._stderr.close()

    def _tell(self, content: Any) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the wait for the answer finds out how

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stream:
            for line in stream:
                self._answers.put(line)
        self._answers.put("")

    def _wait(self, verb: str) -> str:
        deadline = time.perf_counter() + self._limits.timeout_s
        while True:
            try:
                answer = self._answers.get(timeout=LOOK_S)
            except queue.Empty:
                self._look(verb, deadline)
                continue
            if not answer:
                raise RowError(self._how_it_ended())
            self._look_at_device()
            return answer

    def _look(self, verb: str, deadline: float) -> None:
        """End the process if it takes too long or too much."""
        self._look_at_device()
        if time.perf_counter() > deadline:
            self._kill()
            doing = {"open": "opening and its first run", "turn": "a turn of warm runs"}
            raise RowError(
                f"out of time: {doing.get(verb, 'a picture')} took longer than "
                f"{format_seconds(self._limits.timeout_s)}"
            )
        try:
            taken = self._watched.memory_info().rss
        except psutil.Error:
            return  # it has just ended
        self.peak_rss_bytes = max(self.peak_rss_bytes or 0, taken)
        allowed = self._limits.memory_bytes
        if allowed is not None and taken > allowed:
            self._kill()
            raise RowError(
                f"out of memory: it took {format_bytes(taken)} of the {format_bytes(allowed)} "
                "that --max-memory allows"
            )
        left, total = memory_left_bytes()
        if left < RESERVE * total:
            self._kill()
            raise RowError(
                f"out of memory: it took {format_bytes(taken)}, and {format_bytes(left)} of "
                f"{format_bytes(total)} were left"
            )

    def _look_at_device(self) -> None:
        taken = self._device_bytes()
        if taken is not None:
            beyond = taken - self._device_before
            self.peak_device_bytes = max(self.peak_device_bytes or 0, beyond)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _how_it_ended(self) -> str:
        self._process.wait()
        code = self._process.returncode
        self._stderr.seek(0)
        said = [line for line in self._stderr.read().splitlines() if line.strip()]
        last = said[-1].strip() if said else "it said nothing"
        if code == -signal.SIGKILL:
            return "killed by the system, as a process is that takes more memory than there is"
        if code < 0:
            return f"crashed with {signal.Signals(-code).name}: {last}"
        return f"ended by itself with exit code {code}: {last}"


def memory_left_bytes() -> tuple[int, int]:
    """Memory that is still to be had, and all there is; in a container, of what it may take."""
    machine = psutil.virtual_memory()
    limit = memory_limit_bytes()
    if limit is None or limit >= machine.total:
        return machine.available, machine.total
    here = psutil.Process()
    taken = sum(_rss_bytes(each) for each in (here, *here.children(recursive=True)))
    return max(0, min(machine.available, limit - taken)), limit


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # it has just ended
