"""What an export takes of memory: measured, and under a limit that kills what takes more.

The limit is a control group's where the system lets this process make one, else that of a process
on its own data (`RLIMIT_DATA`); each test says which.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studies.processes import can_limit, limited

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks are Linux's"),
]
PROGRAM = "from birefnet_apps.cli.main import main; main()"
PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "china.jpg"
LIMIT = 1_000_000_000


def limit_data() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


@pytest.fixture
def join_limit(record_property) -> Iterator[Callable[[], None]]:
    """What a child does first to live under `LIMIT`."""
    with limited(LIMIT if can_limit() else None) as join:
        record_property("limit", "control group" if join else "RLIMIT_DATA")
        yield join or limit_data


def run(
    checkpoint: Path, out: Path, *options: object, first: Callable[[], None] = lambda: None
) -> subprocess.CompletedProcess[str]:
    """An export on one core, in a process that calls `first`."""

    def prepared() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        first()

    command = [sys.executable, "-c", PROGRAM, "export", checkpoint, "--output", out, *options]
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, preexec_fn=prepared
    )


def export(*arguments: object, **how: Callable[[], None]) -> dict:
    """The report of an export that succeeds."""
    done = run(*arguments, "--json", **how)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def test_lite_takes_less_than_450_megabytes_with_its_check(swin_t_file, tmp_path):
    report = export(swin_t_file, tmp_path / "out")

    assert report["parity"]["logits_max_abs"] < 1e-4
    assert report["peak_rss_bytes"] < 450e6


def test_without_its_check_it_takes_the_memory_of_a_few_layers(swin_t_file, tmp_path):
    report = export(swin_t_file, tmp_path / "out", "--no-verify")

    assert report["file_bytes"] > 170e6
    assert report["peak_rss_bytes"] < 200e6


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_it_runs_through_in_one_gigabyte(swin_t_file, tmp_path, join_limit, precision):
    out = tmp_path / "out"

    report = export(swin_t_file, out, "--precision", precision, first=join_limit)

    assert report["parity"] is not None
    assert Path(report["file"]).stat().st_size == report["file_bytes"]


def test_so_does_int8_that_is_calibrated_on_photographs(swin_t_file, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        (photos / f"{i}.jpg").write_bytes(PHOTO.read_bytes())
    options = ("--precision", "int8", "--calibrate", photos, "--min-iou", 0.5)

    with limited(LIMIT if can_limit() else None) as join:
        if join is None:
            pytest.skip("no control group can be made here")
        report = export(swin_t_file, tmp_path / "out", *options, "--trained-size", 1024, first=join)

    assert report["quality"]["size"] == [1024, 1024]


def test_one_that_would_be_killed_is_refused_instead(swin_t_file, tmp_path):
    with limited(300_000_000 if can_limit() else None) as join:
        if join is None:
            pytest.skip("no control group can be made here")
        done = run(swin_t_file, tmp_path / "out", first=join)

    assert done.returncode == 1, done.stderr
    assert "there are 300 MB" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
