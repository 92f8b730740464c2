"""Limits of cores and memory: in a made-up /sys/fs/cgroup, and real ones where they can be set."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from birefnet_runtime.machine import cpu_quota, memory_limit_bytes, usable_cores


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def tree(root: Path, own: str, **files: str) -> tuple[Path, Path]:
    """A control group tree; `__` in a name is a folder, `_dot_` a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (root / "self").write_text(own)
    return root, root / "self"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("6400000 100000", 8),
        ("", 8),
        ("nonsense", 8),
        ("100000 0", 8),
    ],
)
def test_the_quota_of_version_2(tmp_path, eight, quota, cores):
    assert usable_cores(*tree(tmp_path, "0::/\n", cpu_dot_max=quota)) == cores


@pytest.mark.parametrize(
    ("quota", "cores"), [("-1", 8), ("300000", 3), ("250000", 3), ("1000", 1), ("", 8)]
)
def test_the_quota_of_version_1(tmp_path, eight, quota, cores):
    own = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n1:memory:/docker/abc\n"
    files = {"cpu__cpu_dot_cfs_quota_us": quota, "cpu__cpu_dot_cfs_period_us": "100000"}

    assert usable_cores(*tree(tmp_path, own, **files)) == cores, "the container's is the root"


def test_the_tightest_group_on_the_way_up_counts(tmp_path, eight):
    files = {
        "cgroup_dot_controllers": "cpu memory",
        "a__cpu_dot_max": "200000 100000",
        "a__b__cpu_dot_max": "400000 100000",
        "a__other__cpu_dot_max": "100000 100000",
        "a__memory_dot_max": "max",
        "a__b__memory_dot_max": "1073741824",
    }
    root, own = tree(tmp_path, "0::/a/b\n", **files)

    assert usable_cores(root, own) == 2
    assert memory_limit_bytes(root, own) == 1 << 30


def test_a_machine_with_both_versions(tmp_path, eight):
    own = "4:memory:/job\n1:cpu:/job\n0::/job\n"
    files = {
        "unified__job__cgroup_dot_controllers": "",
        "cpu__job__cpu_dot_cfs_quota_us": "200000",
        "cpu__job__cpu_dot_cfs_period_us": "100000",
        "memory__memory_dot_limit_in_bytes": "9223372036854771712",
        "memory__job__memory_dot_limit_in_bytes": "536870912",
    }
    root, own_file = tree(tmp_path, own, **files)

    assert cpu_quota(root, own_file) == 2
    assert memory_limit_bytes(root, own_file) == 512 << 20


def test_no_limit_and_no_control_groups(tmp_path):
    files = {"memory__memory_dot_limit_in_bytes": "9223372036854771712"}
    root, own = tree(tmp_path, "1:memory:/\n", **files)

    assert memory_limit_bytes(root, own) is None
    assert memory_limit_bytes(tmp_path / "none", tmp_path / "none") is None
    assert cpu_quota(tmp_path / "none", tmp_path / "none") is None


def test_affinity_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)

    assert usable_cores(tmp_path / "none", tmp_path / "none") == 1


PROGRAM = "from birefnet_runtime.machine import usable_cores; print(usable_cores())"


def test_a_real_affinity_mask():
    """taskset, as an operator would use it; the machine may have one core only."""
    if shutil.which("taskset") is None:
        pytest.skip("taskset is not installed")
    core = min(os.sched_getaffinity(0))

    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "1\n"


@pytest.fixture
def real_group():
    """A control group of this machine's own, version 1 or 2, if one may be made."""
    root = Path("/sys/fs/cgroup")
    version_2 = (root / "cgroup.controllers").exists()
    group = (root if version_2 else root / "cpu") / f"birefnet-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        if version_2:
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


def test_a_real_quota(real_group):
    enter = f"open('{real_group / 'cgroup.procs'}', 'w').write('0'); "

    done = subprocess.run(
        [sys.executable, "-c", enter + PROGRAM], capture_output=True, text=True, check=True
    )

    assert done.stdout == "1\n"
