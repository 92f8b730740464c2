"""Models for a small machine, side by side in one run:
`python -m studies.runs.small_box RESULTS NAME=FILE@HxW ...`.

Each graph runs in a process of its own, on one core and on two, in turns with the others, a few
rounds. Times are elapsed ones of the fastest round: what else the machine does counts least there.
Weights may be generated ones: neither time nor memory depends on what they say.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes

from studies.tables import table_lines

ROUNDS = 2
CORES = (1, 2)
RUN = """
import json, os, sys, time
from pathlib import Path
import numpy as np
file, height, width, cores = sys.argv[1], *map(int, sys.argv[2:])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from birefnet_runtime.machine import peak_rss_bytes
from birefnet_runtime.session.open import open_session
begun = time.perf_counter()
session = open_session(Path(file), threads=cores, accepted=False)
opened = time.perf_counter()
image = np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32)
session.run(None, {session.get_inputs()[0].name: image})
ran = time.perf_counter()
print(json.dumps({"open_s": opened - begun, "run_s": ran - opened, "peak": peak_rss_bytes()}))
"""
Record = dict[str, Any]


def measured(file: Path, height: int, width: int, cores: int) -> Record:
    """Seconds to open a graph and to run it once on so many cores, and the peak of memory."""
    command = [sys.executable, "-c", RUN, str(file), *map(str, (height, width, cores))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Record = json.loads(done.stdout)
    return found


def markdown_table(stored: Record) -> str:
    """Time, memory and download, from the content of a results file."""
    rows = stored["rows"]
    lite, cells = rows["lite"]["runs"], []
    for name, row in rows.items():
        peak = max(run["peak"] for runs in row["runs"].values() for run in runs)
        size = f"{row['file_bytes'] / 1e6:.0f} MB"
        fastest = {cores: _fastest(row["runs"][cores]) for cores in map(str, CORES)}
        times = [
            text
            for cores, seconds in fastest.items()
            for text in (f"{seconds:.2f} s", f"{seconds / _fastest(lite[cores]):.2f}")
        ]
        cells.append([name, row["size"], size, format_bytes(peak), *times])
    heads = (
        "model",
        "size",
        "download",
        "memory",
        "one core",
        "of lite's",
        "two cores",
        "of lite's",
    )
    lines = table_lines(heads, cells)
    environment = stored["environment"]
    lines += [
        "",
        f"One picture, the first after opening, batch 1; the fastest of {ROUNDS} rounds, each run "
        "in a process of its own. Generated weights but nano's. "
        f"{environment['processor']}, whose two cores may be threads of one, onnxruntime "
        f"{environment['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def _fastest(runs: Sequence[Record]) -> float:
    return min(float(run["run_s"]) for run in runs)


def main(arguments: Sequence[str]) -> None:
    """Measure all and write the results file, anew after each run."""
    output, *models = arguments
    rows: dict[str, Record] = {}
    environment = asdict(read_environment())
    for _ in range(ROUNDS):
        for cores in CORES:
            for model in models:
                name, _, place = model.partition("=")
                file, _, size = place.rpartition("@")
                height, width = map(int, size.split("x"))
                new = {"size": size, "file_bytes": os.path.getsize(file), "runs": {}}
                runs = rows.setdefault(name, new)["runs"].setdefault(str(cores), [])
                runs.append(measured(Path(file), height, width, cores))
                print(name, cores, runs[-1], file=sys.stderr, flush=True)
                write_results(Path(output), {"environment": environment, "rows": rows})
    print(markdown_table({"environment": environment, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
