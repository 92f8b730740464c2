"""Memory over folders of pictures that fail, in one process and as a Ray actor does them.

Each round has one of each: what is not an image, a JPEG that is cut off, a damaged PNG of 12
megapixels, one whose result can't be written, one that is missing, and a sound one.
"""

import dataclasses
import gc
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_apps.files.cutter import CutterSettings
from birefnet_apps.files.jobs import Job
from birefnet_apps.ray.actor import CutFiles, deliver
from birefnet_apps.ray.tables import job_tables
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_runtime.machine import rss_bytes
from birefnet_runtime.segmenter import Opening
from PIL import Image

SIZE = 64
"""Of the network: what is tried here is what stays in memory, not how pictures come out."""
WARM_ROUNDS, ROUNDS, STEPS = 12, 7, 5


def make_jobs(folder: Path) -> list[Job]:
    """The files of one round."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((3000, 4000, 3), np.uint8)).save(stream, "PNG")
    large = stream.getvalue()
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    photo = stream.getvalue()
    contents = {
        "text.jpg": b"not an image",
        "cut.jpg": photo[: len(photo) // 2],
        "damaged.png": large[: len(large) // 2] + bytes(len(large) // 2),
        "sound.jpg": photo,
        "unwritable.jpg": photo,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "file").write_bytes(b"x")
    targets = {"unwritable.jpg": folder / "file" / "out.png"}
    return [
        Job(folder / name, targets.get(name, folder / "out" / f"{name}.png"))
        for name in (*contents, "missing.jpg")
    ]


def measure(jobs: list[Job], work: Callable[[list[Job]], int]) -> dict[str, Any]:
    """Resident memory after a warm start and after each step of so many rounds."""
    failed = work(jobs * WARM_ROUNDS)
    memory = []
    for _ in range(STEPS + 1):
        gc.collect()
        memory.append(rss_bytes())
        if len(memory) <= STEPS:
            failed += work(jobs * ROUNDS)
    count = (WARM_ROUNDS + STEPS * ROUNDS) * len(jobs)
    assert failed == count * 5 // 6
    return {"files": count, "failed": failed, "files_a_step": ROUNDS * len(jobs), "rss": memory}


def bad_files() -> dict[str, Any]:
    """Both, one after the other."""
    settings = CutterSettings("nano", Opening(size=SIZE, threads=1))
    with tempfile.TemporaryDirectory() as directory:
        jobs = make_jobs(Path(directory))
        cutter = settings.open()
        plain = measure(jobs, lambda some: sum(r.error is not None for r in cutter.cut_out(some)))
        actor = CutFiles(settings, deliver("nano", 1), directory)

        def by_tables(some: list[Job]) -> int:
            tables = map(actor, job_tables(some, (), 64))
            return sum(row["error"] is not None for table in tables for row in table.to_pylist())

        on_ray = measure(jobs, by_tables)
    environment = dataclasses.asdict(read_environment())
    return {"environment": environment, "one_process": plain, "as_actors_do": on_ray}
