"""More than one machine: `python -m studies.service.scale FILE [PART ...]`.

Parts, all by default; a part that is left out keeps what the file has:

- `robustness`: `cluster_trial`, 500 pictures of which 20 are broken, on two nodes on this machine,
  an actor and then a node killed. Nothing in it is a time.
- `listing`: a folder of a million keys planned while a stand-in for S3 makes up its pages: CPU time
  and peak memory, and the same of a plan that is made whole, of which the memory of a file follows.
- `throughput`: `birefnet cutout` in one process and on Ray, on the same cores: time, the time until
  the first result, and memory of all processes together.
- `bad_files`: memory over files of which five of six fail, in one process and as actors do them.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from birefnet_apps.files.plan import plan_cutouts
from birefnet_apps.storage import RemotePath, remote
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import COMMAND
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds
from birefnet_runtime.machine import peak_rss_bytes

from studies.runs.throughput import make_photos
from studies.service.fake_s3 import FakeS3
from studies.tables import table_lines

PARTS = ("robustness", "listing", "throughput", "bad_files")
PICTURES, BROKEN = 500, 20
KEYS = 1_000_000
FILES, SIZE = 200, (750, 1000)
ROUNDS = 3
_SAMPLE_S = 0.25
PHOTOS = Path("examples/photos")


def listing_row(keys: int, output: str) -> dict[str, Any]:
    """Plan so many keys in this process: core time for each, and peak memory."""
    fake: Any = FakeS3(keys)
    remote._file_system = lambda root, versions=False: fake  # type: ignore[assignment]
    before = peak_rss_bytes()
    started = time.process_time()
    target = RemotePath(output) if "://" in output else Path(output)
    plan = plan_cutouts([RemotePath("s3://b/in/")], target)
    ((count, _),) = deque(enumerate(plan.jobs, 1), maxlen=1)
    assert count == keys
    busy_s = time.process_time() - started
    peak = peak_rss_bytes()
    return {
        "keys": keys,
        "cpu_each_s": busy_s / keys,
        "peak_rss_bytes": peak,
        "before_bytes": before,
    }


def listing() -> dict[str, Any]:
    """Each plan in a process of its own."""
    rows = {}
    for name, keys, output in (
        ("while_listing_10000", 10_000, "s3://b/out"),
        ("while_listing", KEYS, "s3://b/out"),
        ("whole", KEYS // 10, "out"),
    ):
        call = "from studies.service import scale; scale.print_row"
        program = f"{call}({keys}, {output!r})"
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
        )
        rows[name] = json.loads(done.stdout)
    return rows


def print_row(keys: int, output: str) -> None:
    """`listing_row`, for a process of its own."""
    print(json.dumps(listing_row(keys, output)))


class Watched:
    """A command and all processes that it starts, watched until it ends.

    Attributes:
        took_s: wall time.
        first_s: until the first line of standard output.
        peak_bytes: of all together, at once: private memory and a share of what is shared (PSS).
        processes: how many there were at most.
    """

    def __init__(self, *arguments: str) -> None:
        self.peak_bytes = self.processes = 0
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stderr
            watcher = threading.Thread(target=self._watch, args=(psutil.Process(process.pid),))
            watcher.start()
            self.lines = [process.stdout.readline()]
            self.first_s = time.perf_counter() - started
            self.lines += process.stdout.readlines()
            said = process.stderr.read()
            assert process.wait() == 0, said
        self.took_s = time.perf_counter() - started
        watcher.join()

    def _watch(self, process: psutil.Process) -> None:
        while True:
            with suppress(psutil.NoSuchProcess):
                everyone = [process, *process.children(recursive=True)]
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    return
                self.processes = max(self.processes, len(everyone))
                self.peak_bytes = max(self.peak_bytes, sum(map(_pss, everyone)))
                time.sleep(_SAMPLE_S)
                continue
            return


def _pss(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        shared: int = process.memory_full_info().pss
        return shared
    return 0


def throughput(folder: Path, files: int, rounds: int) -> dict[str, Any]:
    """Both engines in turn."""
    photos = folder / "photos"
    photos.mkdir()
    make_photos(photos, PHOTOS, files, SIZE)
    engines = {"local": (), "ray": ("--on", "ray")}
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for turn in range(rounds):
        for engine, options in engines.items():
            output = str(folder / f"{engine}{turn}")
            done = Watched("cutout", str(photos), "-o", output, "--json", *options)
            assert len(done.lines) == files
            runs[engine].append(
                {
                    "took_s": done.took_s,
                    "first_s": done.first_s,
                    "rest_each_s": (done.took_s - done.first_s) / files,
                    "peak_pss_bytes": done.peak_bytes,
                    "processes": done.processes,
                }
            )
    return {"files": files, "size": SIZE, "model": "nano", "runs": runs}


def markdown_table(stored: dict[str, Any]) -> str:
    """Both engines on one machine, from the content of the file."""
    measured = stored["throughput"]
    rows = []
    for engine, runs in measured["runs"].items():
        of = {name: median(run[name] for run in runs) for name in runs[0]}
        rows.append(
            (
                engine,
                format_seconds(of["took_s"]),
                format_seconds(of["first_s"]),
                format_seconds(of["rest_each_s"]),
                format_bytes(of["peak_pss_bytes"]),
                str(round(of["processes"])),
            )
        )
    heads = ("engine", "whole run", "first result", "each after it", "memory of all", "processes")
    environment, (height, width) = stored["environment"], measured["size"]
    turns = len(measured["runs"]["ray"])
    caption = (
        f"{measured['files']} JPEGs of {width}x{height}, `{measured['model']}`, medians of {turns} "
        "runs in turns; memory is private plus a share of what is shared. "
        f"{environment['processor']}, {environment['cores']} cores; onnxruntime "
        f"{environment['packages']['onnxruntime']}."
    )
    return "\n".join([*table_lines(heads, rows), "", caption])


def main(file: str, *parts: str) -> None:
    """Measure the parts and write the results file."""
    path = Path(file).absolute()  # actors change the directory
    results = json.loads(path.read_text()) if path.is_file() and parts else {}
    if parts != ("bad_files",):  # which has an environment of its own
        results["environment"] = dataclasses.asdict(read_environment())
    for part in parts or PARTS:
        if part == "robustness":
            from studies.service.cluster_trial import robustness

            results[part] = robustness(PHOTOS, PICTURES, BROKEN)
        elif part == "bad_files":
            from studies.service.bad_files import bad_files

            results[part] = bad_files()
        elif part == "listing":
            results[part] = listing()
        else:
            with tempfile.TemporaryDirectory() as directory:
                results[part] = throughput(Path(directory), FILES, ROUNDS)
        write_results(path, results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
