"""A Ray cluster of two nodes on one machine, of which an actor and then a node is killed.

The pictures lie in an object store on loopback, and so do the results.
"""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import psutil
from birefnet_apps.files.cutter import CutterSettings
from birefnet_apps.files.plan import plan_cutouts
from birefnet_apps.ray.cluster import Pool, connected, quiet
from birefnet_apps.ray.dataset import records_of
from birefnet_apps.ray.tables import plain_record
from birefnet_apps.storage import Location, RemotePath
from birefnet_runtime.segmenter import Opening
from PIL import Image
from ray.cluster_utils import Cluster

from studies.service.s3_server import S3Server

BROKEN = b"no image"
SIZE = 64
"""Of the network: what is tried here is who does what, not how."""


@dataclass(slots=True)
class Trial:
    """What a run on the cluster gave.

    Attributes:
        records: as `--json` prints them, by input.
        rows: how many there were.
        killed: what was killed, at which row.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0
    killed: dict[str, int] = field(default_factory=dict)


def make_pictures(store: str, photos: Path, count: int, broken: int) -> None:
    """Small JPEGs below a URL, cut from the example photographs, the last `broken` of them broken.

    Args:
        store: URL of a folder.
        photos: the folder of photographs.
        count: how many in all.
        broken: how many of them are no images; they lie apart.
    """
    sources = [Image.open(path).convert("RGB") for path in sorted(photos.glob("*.jpg"))]
    fs, root = fsspec.core.url_to_fs(store)
    for number in range(count):
        stream = io.BytesIO()
        source = sources[number % len(sources)]
        left, top = 7 * number % (source.width - 320), 11 * number % (source.height - 240)
        source.crop((left, top, left + 320, top + 240)).save(stream, "JPEG", quality=90)
        is_broken = broken and number % (count // broken) == 1
        fs.pipe_file(f"{root}/{number:04}.jpg", BROKEN if is_broken else stream.getvalue())


def contents(folder: str) -> dict[str, bytes]:
    """All objects below a URL, by their path there."""
    fs, root = fsspec.core.url_to_fs(folder, use_listings_cache=False)
    fs.invalidate_cache()
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def plainly(settings: CutterSettings, inputs: str, output: str) -> dict[str, dict[str, Any]]:
    """The same in this process; records by input."""
    plan = plan_cutouts([RemotePath(inputs)], RemotePath(output))
    reports = settings.open().cut_out(plan.jobs)
    return {record["input"]: record for record in (report.as_record() for report in reports)}


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with a CPU each, joined; yields what can remove the second."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        with connected(cluster.address):
            quiet()
            yield lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        stop: Any = cluster.shutdown  # untyped
        stop()


def kill_an_actor() -> None:
    """End one of the processes that cut out, as the system does where memory is short."""
    children = psutil.Process().children(recursive=True)
    actors = [child for child in children if "CutFiles" in " ".join(child.cmdline())]
    os.kill(actors[0].pid, signal.SIGKILL)


def run(
    settings: CutterSettings,
    inputs: Location,
    output: Location,
    remove_node: Any = None,
    count: int = 0,
) -> Trial:
    """Cut out on the cluster; with `remove_node` an actor and then a node is killed on the way."""
    plan = plan_cutouts([inputs], output)
    trial = Trial()
    for row in records_of(plan, settings, Pool(cpus=1), failures=True):
        record = plain_record(row)
        trial.rows += 1
        trial.records[record["input"]] = record
        if remove_node is not None and trial.rows == count // 5:
            kill_an_actor()
            trial.killed["actor"] = trial.rows
        if remove_node is not None and trial.rows == count // 2:
            remove_node()
            trial.killed["node"] = trial.rows
    return trial


def robustness(photos: Path, count: int, broken: int, model: str = "nano") -> dict[str, Any]:
    """The whole trial: plain, on the cluster with both killed, and what is left resumed.

    Returns:
        counts, which are figures; what has to hold is asserted.
    """
    with S3Server() as s3, s3.named_by_environment():
        s3fs = fsspec.filesystem("s3", skip_instance_cache=True)
        s3fs.mkdir("trial")
        make_pictures("s3://trial/in", photos, count, broken)
        settings = CutterSettings(model, Opening(size=SIZE, threads=1), remote=True)
        expected = plainly(settings, "s3://trial/in", "s3://trial/plain")
        inputs, output = RemotePath("s3://trial/in"), RemotePath("s3://trial/out")
        with two_nodes() as remove_node:
            killed = run(settings, inputs, output, remove_node, count)
            made = contents("s3://trial/out")
            gone = sorted(made)[:: max(1, count // 20)]
            for name in gone:
                s3fs.rm_file(f"trial/out/{name}")
            resumed = run(
                CutterSettings(
                    model, Opening(size=SIZE, threads=1), skip_existing=True, remote=True
                ),
                inputs,
                output,
            )
        assert made == contents("s3://trial/plain") == contents("s3://trial/out")
    errors = {name: record["error"] for name, record in expected.items() if "error" in record}
    assert {n: r["error"] for n, r in killed.records.items() if "error" in r} == errors
    assert set(killed.records) == set(expected)
    done_again = [r for r in resumed.records.values() if not {"error", "skipped"} & set(r)]
    assert len(done_again) == len(gone)
    return {
        "pictures": count,
        "broken": len(errors),
        "rows": killed.rows,
        "inputs_with_a_row": len(killed.records),
        "results": len(made),
        "results_equal_to_plain": len(made),
        "killed_at_row": killed.killed,
        "resumed": {
            "removed": len(gone),
            "done": len(done_again),
            "there_already": sum("skipped" in r for r in resumed.records.values()),
            "rows": resumed.rows,
        },
    }
