"""Graphs and commands in processes of their own: each with a peak of memory of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.inputs import COMMAND

from studies.graphs.graph_row import GraphRow

_GROUPS = Path("/sys/fs/cgroup")
_IS_V2 = (_GROUPS / "cgroup.controllers").exists()
MEMORY_GROUPS = _GROUPS if _IS_V2 else _GROUPS / "memory"
"""Linux's control groups of memory, of version 1 or 2; writable for root only."""
_LIMIT = "memory.max" if _IS_V2 else "memory.limit_in_bytes"


@dataclass(frozen=True, slots=True)
class CommandRun:
    """What a run of `birefnet` cost."""

    arguments: tuple[str, ...]
    took_s: float
    peak_rss_bytes: int
    """Linux starts this at the peak of the process that spawns it, which is small here."""
    exit_code: int
    said: str
    """The last line that it printed."""


def run_graph(graph: GraphRow, timeout_s: float = 900) -> dict[str, Any]:
    """Run a graph; one that crashes or takes too long is a result, too, with an `error`."""
    command = [
        sys.executable,
        "-m",
        "studies.graphs.graph_row",
        json.dumps(asdict(graph)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"row": asdict(graph), "error": f"took longer than {timeout_s:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"row": asdict(graph), "error": f"exit code {done.returncode}: {last}"}
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def run_command(*arguments: str, limit_bytes: int | None = None) -> CommandRun:
    """Run `birefnet` with these arguments; beyond a limit its control group kills it."""
    with limited(limit_bytes) as join:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=join,
        )
        assert process.stderr
        with process.stderr as stream:
            said = stream.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took_s = time.perf_counter() - started
    return CommandRun(
        arguments=arguments,
        took_s=took_s,
        peak_rss_bytes=usage.ru_maxrss * 1024,
        exit_code=process.returncode,
        said=(said.strip().splitlines() or [""])[-1],
    )


def can_limit() -> bool:
    """Whether this process may make control groups of memory."""
    return os.access(MEMORY_GROUPS, os.W_OK)


@contextmanager
def limited(limit_bytes: int | None) -> Iterator[Any]:
    """What a child does first to live under the limit; None without one."""
    if limit_bytes is None:
        yield None
        return
    group = MEMORY_GROUPS / f"birefnet-{os.getpid()}"
    group.mkdir()
    try:
        (group / _LIMIT).write_text(str(limit_bytes))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()
