"""Models for a small machine, side by side in one run:
`python -m studies.runs.small_box RESULTS NAME=FILE@HxW ...`.

Each graph runs in a process of its own on one thread, in turns with the others, a few rounds. What
counts is the processor time of a run and the peak of memory; elapsed time would be the machine's
other users', too. Weights may be generated ones: neither depends on what they say.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes

ROUNDS = 1
RUN = """
import json, sys, time
from pathlib import Path
import numpy as np
from birefnet_runtime.machine import peak_rss_bytes
from birefnet_runtime.session.open import open_session
file, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = time.process_time()
session = open_session(Path(file), threads=1, accepted=False)
opened = time.process_time()
image = np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32)
session.run(None, {session.get_inputs()[0].name: image})
ran = time.process_time()
print(json.dumps({"open_s": opened - begun, "run_s": ran - opened, "peak": peak_rss_bytes()}))
"""
Record = dict[str, Any]


def measured(file: Path, height: int, width: int) -> Record:
    """Processor seconds to open a graph and to run it once, and the peak of memory."""
    command = [sys.executable, "-c", RUN, str(file), str(height), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Record = json.loads(done.stdout)
    return found


def markdown_table(stored: Record) -> str:
    """Time, memory and download, from the content of a results file."""
    rows = stored["rows"]
    lines = [
        "| model | size | download | memory | processor time | of lite's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    seconds = {name: median(run["run_s"] for run in row["runs"]) for name, row in rows.items()}
    for name, row in rows.items():
        peak = max(run["peak"] for run in row["runs"])
        lines.append(
            f"| {name} | {row['size']} | {row['file_bytes'] / 1e6:.0f} MB | {format_bytes(peak)} | "
            f"{seconds[name]:.2f} s | {seconds[name] / seconds['lite']:.2f} |"
        )
    environment = stored["environment"]
    lines += [
        "",
        f"One picture on one thread, the first after opening; rounds: {ROUNDS}, each run in a "
        "process of its own. Generated weights but nano's. "
        f"{environment['processor']}, onnxruntime {environment['packages']['onnxruntime']}; "
        "others used the machine: ratios say more than seconds.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure all and write the results file, anew after each run."""
    output, *models = arguments
    rows: dict[str, Record] = {}
    environment = asdict(read_environment())
    for _ in range(ROUNDS):
        for model in models:
            name, _, place = model.partition("=")
            file, _, size = place.rpartition("@")
            height, width = map(int, size.split("x"))
            row = rows.setdefault(name, {"size": size, "file_bytes": Path(file).stat().st_size})
            row.setdefault("runs", []).append(measured(Path(file), height, width))
            print(name, row["runs"][-1], file=sys.stderr, flush=True)
            write_results(Path(output), {"environment": environment, "rows": rows})
    print(markdown_table({"environment": environment, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
