"""Folders against the graph alone: `python -m studies.runs.throughput FILE`.

A folder of 12-megapixel JPEGs, made of the example photographs, through `birefnet cutout`'s
pipeline, one file after another, and the graph alone on the same tensors. On a machine whose cores
the graph has all to itself, no pipeline can reach the graph's own rate: decoding and writing take
core time too. So the core time of each is there as well, and with it the rate at which all cores
would be busy all the time.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from birefnet_apps.files.cutter import FileCutter
from birefnet_apps.files.jobs import Job
from birefnet_apps.files.plan import plan_cutouts
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_runtime import Segmenter, Style
from birefnet_runtime.images.write import Encoding
from birefnet_runtime.machine import peak_rss_bytes, usable_cores
from PIL import Image

FILES = 6
SIZE = (3000, 4000)
LARGEST = (9000, 12_000)
PEAK = "import sys; from studies.runs.throughput import one_file; one_file(*sys.argv[1:])"


def make_photos(folder: Path, photos: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs of (height, width), each another enlargement of an example photograph."""
    sources = [Image.open(path).convert("RGB") for path in sorted(photos.glob("*.jpg"))]
    made = []
    for number in range(count):
        source = sources[number % len(sources)]
        large = source.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        path = folder / f"{number:02}.jpg"
        large.save(path, quality=92)
        made.append(path)
    return made


def measured(work: Callable[[], object], count: int) -> dict[str, float]:
    """Wall and core time of each of `count` images, and images a second."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - busy
    return {"each_s": wall_s / count, "cpu_each_s": cpu_s / count, "per_s": count / wall_s}


def measure(model: str, folder: Path, files: list[Path], size: int | None) -> dict[str, Any]:
    """Graph alone, pipeline, and one after another; cutouts as PNG, and masks alone."""
    segmenter = Segmenter(model, size=size)
    prepared = [segmenter.prepare(path) for path in files]
    segmenter.run(prepared[:1])
    graph = measured(lambda: [segmenter.run([each]) for each in prepared], len(files))
    results: dict[str, Any] = {"model": model, "files": len(files), "graph_alone": graph}
    for name, style in (("cutouts", Style()), ("masks", Style(mask=True))):
        jobs = plan_cutouts(files, folder / name).jobs
        cutter = FileCutter(segmenter, style, Encoding())

        def serial(jobs: Iterable[Job] = jobs, cutter: FileCutter = cutter) -> None:
            for job in jobs:
                list(cutter.cut_out([job]))

        def overlapped(jobs: Iterable[Job] = jobs, cutter: FileCutter = cutter) -> None:
            for report in cutter.cut_out(jobs):
                assert report.error is None, report.error

        one = measured(serial, len(files))
        many = measured(overlapped, len(files))
        results[name] = {
            "one_after_another": one,
            "pipeline": many,
            "share_of_graph_alone": many["per_s"] / graph["per_s"],
            "share_of_busy_cores": many["cpu_each_s"] / usable_cores() / many["each_s"],
        }
    return results


def one_file(source: str, target: str) -> None:
    """Cut one file out and print the peak of this process; run in a process of its own."""
    segmenter = Segmenter()
    (report,) = FileCutter(segmenter).cut_out([Job(Path(source), Path(target))])
    assert report.error is None, report.error
    print(json.dumps({"peak_rss_bytes": peak_rss_bytes(), "seconds": report.seconds}))


def measure_largest(folder: Path, photos: Path) -> dict[str, Any]:
    """Peak memory of one image of 108 megapixels."""
    (photo,) = make_photos(folder, photos, 1, LARGEST)
    command = [sys.executable, "-c", PEAK, str(photo), str(folder / "largest.png")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peak: dict[str, Any] = json.loads(done.stdout)
    pixels = LARGEST[0] * LARGEST[1]
    return {"size": LARGEST, **peak, "bytes_per_pixel": peak["peak_rss_bytes"] / pixels}


def main(file: str, model: str = "nano", size: str | None = None) -> None:
    """Measure everything and write the results file."""
    photos = Path("examples/photos")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        files = make_photos(folder, photos, FILES, SIZE)
        results = {
            "environment": dataclasses.asdict(read_environment()),
            "size": SIZE,
            "throughput": measure(model, folder, files, int(size) if size else None),
            "largest": measure_largest(folder / "", photos),
        }
    write_results(Path(file), results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
