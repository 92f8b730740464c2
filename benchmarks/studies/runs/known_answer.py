"""What asking for the known answer costs when a model opens.

`python -m studies.runs.known_answer FILE NAME=MODEL.onnx ...`

Every opening is a process of its own, and the cases take turns, ROUNDS times: without asking, the
first time on a machine (nothing is noted), and later. Compiled forms are made before. CPU time is
kept beside wall time, for machines that are busy, and the most memory that the process held.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds

from studies.tables import table_lines

ROUNDS = 3
CASES = ("not asked", "first", "later")
OPENING = """
import json, resource, sys, time
from birefnet_runtime import Segmenter
from birefnet_runtime.session import acceptance, open as sessions
asked = [0.0]
real = acceptance.examine
def examine(*arguments):
    started = time.perf_counter()
    try:
        return real(*arguments)
    finally:
        asked[0] += time.perf_counter() - started
acceptance.examine = examine
if sys.argv[2] == "not asked":
    sessions.accept = lambda *_: None
started, cpu = time.perf_counter(), time.process_time()
Segmenter(sys.argv[1], providers="cpu")
print(json.dumps({"opened_s": time.perf_counter() - started, "asked_s": asked[0],
                  "cpu_s": time.process_time() - cpu,
                  "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def opening(model: str, case: str, cache: Path) -> dict[str, float]:
    """Seconds of one opening."""
    if case == "first":
        shutil.rmtree(cache / "accepted", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", OPENING, model, case],
        env={**os.environ, "BIREFNET_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(models: dict[str, str], cache: Path) -> list[dict[str, Any]]:
    """All cases in turns, the medians of each."""
    for model in models.values():
        opening(model, "later", cache)  # makes the compiled form
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for name, model in models.items():
            for case in CASES:
                runs.setdefault((name, case), []).append(opening(model, case, cache))
    return [
        {"model": name, "case": case, **{key: median(run[key] for run in done) for key in done[0]}}
        for (name, case), done in runs.items()
    ]


def markdown_table(stored: dict[str, Any]) -> str:
    """A line for each model and case, from the content of the file."""
    rows = [
        (
            each["model"],
            each["case"],
            *(format_seconds(each[key]) for key in _KEYS),
            format_bytes(each["peak_rss_bytes"]),
        )
        for each in stored["records"]
    ]
    return "\n".join(
        table_lines(("model", "opening", "opened in", "asking", "CPU time", "memory"), rows)
    )


_KEYS = ("opened_s", "asked_s", "cpu_s")


def main() -> None:
    target = Path(sys.argv[1])
    models = dict(argument.split("=", 1) for argument in sys.argv[2:])
    with tempfile.TemporaryDirectory() as cache:
        records = measure(models, Path(cache))
    stored = {
        "environment": dataclasses.asdict(read_environment()),
        "load": os.getloadavg(),
        "rounds": ROUNDS,
        "records": records,
    }
    write_results(target, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main()
