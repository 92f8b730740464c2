"""Resident memory of this process."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = STATUS) -> int | None:
    """Resident set size now; None where the system doesn't say."""
    return _kibibytes(status, "VmRSS:")


def peak_rss_bytes(status: Path = STATUS) -> int:
    """Highest resident set size so far.

    Linux's `ru_maxrss` starts at the parent's peak when a process is spawned; `VmHWM` doesn't.
    """
    if peak := _kibibytes(status, "VmHWM:"):
        return peak
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _kibibytes(status: Path, name: str) -> int | None:
    """A field of Linux's `status` file, in bytes."""
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None
