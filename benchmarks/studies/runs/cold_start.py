"""How long it takes until a model is ready.

`python -m studies.runs.cold_start FILE NAME=MODEL.onnx ...`

Every case is a process of its own, the cases take turns, ROUNDS times. Imports and the list of
commands; then each model opened as it is, opened while its compiled form is made, and opened in its
compiled form, with the memory that the process holds then; and the command line from file to file.
All files lie in the page cache.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds

from studies.tables import table_lines

ROUNDS = 7
PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "china.jpg"
COMMAND = (sys.executable, "-c", "from birefnet_apps.cli.main import main; main()")
STARTS = {
    "Python alone": (sys.executable, "-c", ""),
    "import birefnet_runtime": (sys.executable, "-c", "import birefnet_runtime"),
    "import Segmenter": (sys.executable, "-c", "from birefnet_runtime import Segmenter"),
    "birefnet --help": (*COMMAND, "--help"),
}
OPENING = """
import json, sys, time
from pathlib import Path
from birefnet_runtime import Segmenter
model, memory, compiled = sys.argv[1:]
started = time.perf_counter()
segmenter = Segmenter(model, providers="cpu", memory=memory, compiled=compiled == "yes")
opened_s = time.perf_counter() - started
facts = dict(line.split(":", 1) for line in Path("/proc/self/status").open() if ":" in line)
held = {name: int(facts[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}
print(json.dumps({"opened_s": opened_s, **held}))
"""
MEMORIES = ("balanced", "fast")
FORMS = ("as it is", "first time", "compiled")

Record = dict[str, Any]


def seconds_of(command: tuple[str, ...], environment: dict[str, str]) -> Record:
    """Wall time of a process."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    return {"seconds": time.perf_counter() - started}


def opening(model: str, memory: str, form: str, cache: Path) -> Record:
    """Open a model in a process of its own."""
    if form == "first time":
        cache = Path(tempfile.mkdtemp(dir=cache))
    compiled = "no" if form == "as it is" else "yes"
    done = subprocess.run(
        (sys.executable, "-c", OPENING, model, memory, compiled),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "BIREFNET_CACHE": str(cache)},
    )
    measured: Record = json.loads(done.stdout)
    return measured


def measure(models: dict[str, str], cache: Path) -> list[Record]:
    """All cases in turns, the medians of each."""
    environment = {**os.environ, "BIREFNET_CACHE": str(cache)}
    cases: dict[tuple[str, ...], Callable[[], Record]] = {
        ("start", name): partial(seconds_of, command, environment)
        for name, command in STARTS.items()
    }
    for name, model in models.items():
        for memory in MEMORIES:
            opening(model, memory, "compiled", cache)  # makes it
            for form in FORMS:
                cases["open", name, memory, form] = partial(opening, model, memory, form, cache)
        output = str(cache / "cutout.png")
        command = ("cutout", str(PHOTO), "-o", output, "-m", model, "--provider", "cpu")
        for form, options in (("as it is", ("--no-compiled",)), ("compiled", ())):
            whole = (*COMMAND, *command, *options)
            cases["cutout", name, form] = partial(seconds_of, whole, environment)
    runs: dict[tuple[str, ...], list[Record]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case, run in cases.items():
            runs[case].append(run())
    return [
        {"case": case, **{name: median(run[name] for run in done) for name in done[0]}}
        for case, done in runs.items()
    ]


def markdown_table(stored: Record) -> str:
    """How models open, and below what starting takes, from the content of the file."""
    rows, by_case = [], {tuple(record["case"]): record for record in stored["records"]}
    for case, record in by_case.items():
        if case[0] == "open":
            _, model, memory, form = case
            as_it_is = by_case["open", model, memory, "as it is"]
            rows.append(
                (
                    model,
                    memory,
                    form,
                    format_seconds(record["opened_s"]),
                    f"{record['opened_s'] / as_it_is['opened_s']:.2f}",
                    format_bytes(record["VmRSS"]),
                    format_bytes(record["RssAnon"]),
                    format_bytes(record["VmHWM"]),
                )
            )
    heads = ("model", "memory", "form", "open", "ratio", "RSS then", "not mapped", "peak RSS")
    starts = ", ".join(
        f"{case[1]} {format_seconds(record['seconds'])}"
        for case, record in by_case.items()
        if case[0] == "start"
    )
    cutouts = ", ".join(
        f"{case[1]} {case[2]} {format_seconds(record['seconds'])}"
        for case, record in by_case.items()
        if case[0] == "cutout"
    )
    environment = stored["environment"]
    caption = (
        f"Medians of {stored['rounds']} processes each, in turns, {environment['cores']} cores, "
        f"{environment['processor']}, onnxruntime {environment['packages']['onnxruntime']}. "
        f"Start: {starts}. `birefnet cutout` of a photograph of 640x427: {cutouts}."
    )
    return "\n".join([*table_lines(heads, rows), "", caption])


def main(file: str, *models: str) -> None:
    """Measure and write the results file; a model is `NAME=PATH`."""
    named = dict(model.split("=", 1) for model in models)
    with tempfile.TemporaryDirectory() as folder:
        records = measure({"nano": "nano", **named}, Path(folder))
    stored = {
        "environment": dataclasses.asdict(read_environment()),
        "rounds": ROUNDS,
        "records": records,
    }
    write_results(Path(file), stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(*sys.argv[1:])
