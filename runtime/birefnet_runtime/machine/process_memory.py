"""How much memory this process holds, and held at its peak."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = STATUS) -> int | None:
    """Resident set size now; None where the system doesn't say."""
    return _status_bytes(status, "VmRSS:")


def peak_rss_bytes(status: Path = STATUS) -> int | None:
    """Highest resident set size so far; None where the system doesn't say.

    Linux's `ru_maxrss` starts at the parent's peak when a process is spawned; `VmHWM` doesn't.
    """
    peak = _status_bytes(status, "VmHWM:")
    if peak is not None:
        return peak
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(status: Path, name: str) -> int | None:
    """A figure of Linux's `status` file, in bytes."""
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None
