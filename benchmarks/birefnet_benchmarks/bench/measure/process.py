"""A configuration's process: requests to it, and an end when it takes too much time or memory."""

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

from birefnet_models.base.text import format_bytes, format_seconds

from ...errors import MeasurementError
from ..configuration import Configuration
from .memory import kill_children, memory_left_bytes, process_rss_bytes

POLL_S = 0.02
"""How often a working process is checked."""
CLOSE_S = 2.0
"""How long a process may take to end by itself."""
RESERVE = 0.04
"""Share of the machine's memory that must stay free; below it the configuration is ended, before
the kernel ends a process of its own choice."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and memory that a configuration may take."""

    timeout_s: float = 600.0
    """For each request: opening with its first run, the runs of a round, an image file."""
    memory_bytes: float | None = None
    """Resident set size; None for what the machine has."""


class ConfigurationProcess:
    """One configuration in a process of its own, until it is closed."""

    def __init__(
        self, configuration: Configuration, limits: Limits, device_bytes: Callable[[], int | None]
    ) -> None:
        self.configuration = configuration
        self._limits = limits
        self._device_bytes = device_bytes
        self._device_before = device_bytes() or 0
        self.peak_device_bytes: int | None = None
        self.peak_rss_bytes: int | None = None
        self.started = time.perf_counter()
        # Open for as long as the process is, hence no `with`.
        self._stderr = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "birefnet_benchmarks.bench.measure.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,  # so that processes that it starts can be ended with it
            env={**os.environ, "OMP_NUM_THREADS": str(configuration.threads)},
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(asdict(configuration))

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and wait for the answer.

        Raises:
            MeasurementError: the request failed, or took more than the limits allow.
        """
        self._send([request, arguments])
        answer: dict[str, Any] = json.loads(self._wait(request))
        if "error" in answer:
            raise MeasurementError(answer["error"])
        peak = answer.pop("peak_rss_bytes")  # None on Windows, where it is watched from here alone
        self.peak_rss_bytes = max(self.peak_rss_bytes or 0, peak or 0)
        return answer

    def close(self) -> None:
        """End the process, and those that it started."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # no more requests: it ends by itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=CLOSE_S)
        self._kill()
        self._stderr.close()

    def _send(self, content: Any) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: waiting for the answer finds out how

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stream:
            for line in stream:
                self._answers.put(line)
        self._answers.put("")

    def _wait(self, request: str) -> str:
        deadline = time.perf_counter() + self._limits.timeout_s
        while True:
            try:
                answer = self._answers.get(timeout=POLL_S)
            except queue.Empty:
                self._check(request, deadline)
                continue
            if not answer:
                raise MeasurementError(self._how_it_ended())
            self._check_device()
            return answer

    def _check(self, request: str, deadline: float) -> None:
        """End the process if it takes too long or too much."""
        self._check_device()
        if time.perf_counter() > deadline:
            self._kill()
            work = {"open": "opening and its first run", "round": "a round of warm runs"}
            raise MeasurementError(
                f"out of time: {work.get(request, 'an image file')} took longer than "
                f"{format_seconds(self._limits.timeout_s)}"
            )
        taken = process_rss_bytes(self._process.pid)
        if taken is None:
            return  # it has just ended
        self.peak_rss_bytes = max(self.peak_rss_bytes or 0, taken)
        allowed = self._limits.memory_bytes
        if allowed is not None and taken > allowed:
            self._kill()
            raise MeasurementError(
                f"out of memory: it took {format_bytes(taken)} of the {format_bytes(allowed)} "
                "that --max-memory allows"
            )
        left, total = memory_left_bytes()
        if left < RESERVE * total:
            self._kill()
            raise MeasurementError(
                f"out of memory: it took {format_bytes(taken)}, and {format_bytes(left)} of "
                f"{format_bytes(total)} were left"
            )

    def _check_device(self) -> None:
        taken = self._device_bytes()
        if taken is not None:
            beyond = taken - self._device_before
            self.peak_device_bytes = max(self.peak_device_bytes or 0, beyond)

    def _kill(self) -> None:
        """End the process and those that it started, whether they like it or not."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:  # Windows, where a process has no group, but its children are known while it lives
            kill_children(self._process.pid)
            self._process.kill()
        self._process.wait()

    def _how_it_ended(self) -> str:
        self._process.wait()
        code = self._process.returncode
        self._stderr.seek(0)
        lines = [line for line in self._stderr.read().splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no message"
        if code < 0:
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return "killed by the system, probably for lack of memory"
            return f"crashed with {name}: {last}"
        return f"ended by itself with exit code {code}: {last}"
