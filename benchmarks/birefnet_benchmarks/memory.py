"""How much memory this process took at its peak."""

import sys
from pathlib import Path


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Highest resident set size so far.

    Linux's `ru_maxrss` starts at the parent's peak when a process is spawned; `VmHWM` doesn't.
    """
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
