"""Damaged and odd inputs through the command line.

`python -m studies.runs.fuzz FILE [COUNT] [SEED]`

Each case is a process of its own, forked when everything is imported, which runs `birefnet` on what
`studies.runs.fuzz_cases` draws for its number. It ends right, with an error in one line (or click's
usage error), or as a finding: a traceback, a crash, a hang, memory over the limit, or lines that
are neither. Counts and findings go to FILE, and findings are printed with the arguments that lead
to them; Ctrl-C or SIGTERM ends the run and stores what it has.
`python -m studies.runs.fuzz --case SEED KIND NUMBER FOLDER` writes the files of one case into
FOLDER and runs it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any

from birefnet_apps.cli.main import main as birefnet
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from PIL import Image

from studies.runs import fuzz_cases

COUNT = 3200
AT_ONCE = 4
TIMEOUT_S = 60.0
"""After which a case is taken for hanging; a sound one takes about half a second."""
MEMORY_BYTES = 2_000_000_000
"""Of resident memory, the 400 MB that the forking process holds included."""
RIGHT, REFUSED = "right", "refused in one line"
MESSAGE = "birefnet: "
BAR = "cutting out "
USAGE = ("Usage: ", "Try ", "Error: ")


@dataclass(frozen=True, slots=True)
class Case:
    """One input, by what it is drawn from."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case ended."""

    case: Case
    outcome: str
    took_s: float
    peak_rss_bytes: int
    arguments: str
    said: str
    """The end of what it wrote to stderr."""


def draw(case: Case, seed: int, folder: Path) -> list[str]:
    """Write the files of a case and return its arguments."""
    build, _ = fuzz_cases.CASES[case.kind]
    return build(Random(f"{seed} {case.kind} {case.number}"), folder)


def run_case(case: Case, seed: int, folder: Path) -> int:
    """Run a case in this process, which it may leave in any state; returns the exit code."""
    os.chdir(folder)
    os.environ |= {"HOME": str(folder), "BIREFNET_CACHE": str(folder / "cache")}
    arguments = draw(case, seed, folder)
    (folder / "arguments").write_text("\n".join(arguments), errors="surrogateescape")
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["birefnet", *arguments]
    try:
        birefnet(arguments, prog_name="birefnet")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


def start_case(case: Case, seed: int, folder: Path) -> int:
    """Fork a process, at the head of a group of its own, that runs a case; returns its id."""
    folder.mkdir()
    if child := os.fork():
        with contextlib.suppress(OSError):  # it was faster
            os.setpgid(child, child)  # before anybody kills the group
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        code = run_case(case, seed, folder) or 0
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if sys.exception():
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(code)


def run_all(cases: Sequence[Case], seed: int, scratch: Path) -> Iterator[CaseResult]:
    """Run cases, a few at once, and give each one's result as it ends."""
    waiting = list(reversed(cases))
    running: dict[int, tuple[Case, float, str | None]] = {}
    try:
        yield from _run_waiting(waiting, running, seed, scratch)
    finally:
        for child in running:
            kill_group(child)


def _run_waiting(
    waiting: list[Case],
    running: dict[int, tuple[Case, float, str | None]],
    seed: int,
    scratch: Path,
) -> Iterator[CaseResult]:
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            case = waiting.pop()
            child = start_case(case, seed, scratch / f"{case.kind}-{case.number}".replace(" ", "-"))
            running[child] = case, time.monotonic(), None
        time.sleep(0.005)
        for child, (case, started, stopped) in list(running.items()):
            ended, status, usage = os.wait4(child, os.WNOHANG)
            took = time.monotonic() - started
            if ended:
                del running[child]
                kill_group(child)  # what it left behind
                folder = scratch / f"{case.kind}-{case.number}".replace(" ", "-")
                yield judge(case, folder, status, stopped, took, usage)
                shutil.rmtree(folder, ignore_errors=True)
            elif stopped is None and (stop := reason_to_stop(child, took)):
                running[child] = case, started, stop
                kill_group(child)


def kill_group(child: int) -> None:
    """Kill a case and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def reason_to_stop(child: int, took_s: float) -> str | None:
    """Why a running case is stopped, if it is."""
    if took_s > TIMEOUT_S:
        return "hang"
    try:
        pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return "memory over the limit" if pages * resource.getpagesize() > MEMORY_BYTES else None


def judge(
    case: Case,
    folder: Path,
    status: int,
    stopped: str | None,
    took_s: float,
    usage: resource.struct_rusage,
) -> CaseResult:
    """Sort the end of a case by its exit status and what it wrote."""
    said = _text(folder / "stderr")
    peak = usage.ru_maxrss * 1024
    if peak > MEMORY_BYTES:  # between two looks
        stopped = "memory over the limit"
    outcome = stopped or _outcome(os.waitstatus_to_exitcode(status), said, folder)
    arguments = _text(folder / "arguments").replace(str(folder), "FOLDER").replace("\n", " ")
    return CaseResult(case, outcome, took_s, peak, arguments[:500], said[-600:])


def _outcome(code: int, said: str, folder: Path) -> str:
    lines = said.splitlines()
    if "Traceback (most recent call last)" in said:
        return "traceback"
    if code < 0:
        return "crash"
    if any("\x1b" in line for line in lines):
        return "control characters"
    usage = [line for line in lines if line.startswith((*USAGE, BAR)) or not line.strip()]
    if not all(line.startswith(MESSAGE) for line in lines if line not in usage):
        return "other lines"
    if code == 0:
        return RIGHT if _is_sound(folder) else "unreadable result"
    return REFUSED if lines else "refused without a word"


def _is_sound(folder: Path) -> bool:
    """Whether every picture that was written can be read."""
    for file in folder.glob("cutout.*"):
        if file.suffix in (".png", ".webp", ".tif", ".jpg"):
            try:
                with Image.open(file) as image:
                    image.load()
            except (OSError, ValueError, SyntaxError):
                return False
    return True


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def import_everything() -> None:
    """Import what the commands import late, so that no case has to."""
    # Proxies that refuse at once: no case may reach the network, nor wait for it.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = "http://127.0.0.1:9"
    os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    for entry in entry_points(group="birefnet.commands"):
        entry.load()
    fuzz_cases.prepare()


def summary(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Counts by kind and outcome, extremes, and every finding."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in fuzz_cases.CASES}
    for result in results:
        counts[result.case.kind][result.outcome] += 1
    findings = [asdict(r) for r in results if r.outcome not in (RIGHT, REFUSED)]
    return {
        "cases": len(results),
        "limits": {"timeout_s": TIMEOUT_S, "memory_bytes": MEMORY_BYTES},
        "counts": {kind: dict(counter.most_common()) for kind, counter in counts.items()},
        "slowest_s": max(result.took_s for result in results),
        "largest_peak_rss_bytes": max(result.peak_rss_bytes for result in results),
        "findings": findings,
    }


def main(arguments: Sequence[str]) -> None:
    """Run all cases and write the results file, or run one."""
    import_everything()
    if arguments[0] == "--case":
        drawn, kind, number, folder = arguments[1:]
        Path(folder).mkdir(parents=True, exist_ok=True)
        sys.exit(run_case(Case(kind, int(number)), int(drawn), Path(folder).resolve()))
    output = arguments[0]
    count = int(arguments[1]) if len(arguments) > 1 else COUNT
    seed = int(arguments[2]) if len(arguments) > 2 else 0
    cases = [
        Case(kind, number)
        for kind, (_, share) in fuzz_cases.CASES.items()
        for number in range(round(share * count))
    ]
    Random(seed).shuffle(cases)  # so that a run that is stopped early has seen some of each kind
    results = []
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(KeyboardInterrupt):
        for result in run_all(cases, seed, Path(scratch)):
            results.append(result)
            if result.outcome not in (RIGHT, REFUSED):
                print(result, flush=True)
            if len(results) % 100 == 0:
                print(f"{len(results)} of {len(cases)}", file=sys.stderr, flush=True)
    stored = {"environment": asdict(read_environment()), "seed": seed, **summary(results)}
    write_results(Path(output), stored)
    print(stored["counts"])


if __name__ == "__main__":
    main(sys.argv[1:])
