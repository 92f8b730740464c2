"""How many processor cores this process may use."""

import math
import os
from pathlib import Path

from .cgroup import OWN, ROOT, cpu_quota


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
