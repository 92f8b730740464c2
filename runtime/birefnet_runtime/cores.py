"""How many processor cores this process may use."""

import math
import os
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores by scheduler affinity and by the container's CPU quota (cgroup v2), at least one."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(cgroup / "cpu.max", cores)))


def _quota(file: Path, unlimited: int) -> int:
    """`cpu.max` holds `QUOTA PERIOD` or `max PERIOD`. A part of a core counts as one."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return unlimited
    if quota == "max":
        return unlimited
    return math.ceil(int(quota) / int(period))
