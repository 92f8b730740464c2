"""What this process may use of the machine: processor cores and memory.

In a container the limits of its control groups count, versions 1 and 2. A limit on any group above
holds as well, so the tightest on the way up counts. The groups above are often out of sight there,
and its own is mounted as the root.
Files: the kernel's admin-guide, cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores by scheduler affinity and by the container's CPU quota, at least one.

    A part of a core counts as one. The arguments are where control groups are found.
    """
    cores = affinity_cores()
    quota = cpu_quota(root, own)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def affinity_cores() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
    """How many cores' worth of time may be used; None if that is unlimited or not known."""
    limits = [_read(folder / "cpu.max").partition(" ")[::2] for folder in _folders(root, own, "")]
    for folder in _folders(root, own, "cpu"):  # version 1
        limits.append((_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")))
    quotas = []
    for quota, period in limits:  # in microseconds; no number: `max`, -1, or no such file
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = ROOT, own: Path = OWN) -> int | None:
    """How much memory may be used before the process is killed; None if there is no limit."""
    files = [folder / "memory.max" for folder in _folders(root, own, "")]
    files += [folder / "memory.limit_in_bytes" for folder in _folders(root, own, "memory")]
    # Version 1 says "unlimited" with the largest number of whole pages.
    limits = [int(text) for text in map(_read, files) if text.isdecimal() and int(text) < 2**62]
    return min(limits, default=None)


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above; version 2 if `controller` is ""."""
    mount = root / controller
    if not controller and not (root / "cgroup.controllers").exists():
        # Beside version 1, version 2 has a place of its own.
        mount = root / "unified" if (root / "unified").is_dir() else root
    for line in _read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            group = PurePosixPath(path.lstrip("/"))
            for folder in (group, *group.parents):
                yield mount / folder
            return
    yield mount


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
