"""Memory of this process, of others, and of the machine.

psutil is imported where it is needed: a measured process on Linux does without it.
"""

import sys
from pathlib import Path

from birefnet_runtime.machine.cgroup import memory_limit_bytes

STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = STATUS) -> int | None:
    """Resident set size of this process now; None where the system doesn't say."""
    return _kibibytes(status, "VmRSS:")


def peak_rss_bytes(status: Path = STATUS) -> int:
    """Highest resident set size of this process so far.

    Linux's `ru_maxrss` starts at the parent's peak when a process is spawned; `VmHWM` doesn't.
    """
    if peak := _kibibytes(status, "VmHWM:"):
        return peak
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _kibibytes(status: Path, name: str) -> int | None:
    """A field of Linux's `status` file, in bytes."""
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None


def process_rss_bytes(pid: int) -> int | None:
    """Resident set size of a process; None if it has ended."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def memory_left_bytes() -> tuple[int, int]:
    """Free memory and all memory, of the machine or of the container that limits this process."""
    import psutil

    machine = psutil.virtual_memory()
    limit = memory_limit_bytes()
    if limit is None or limit >= machine.total:
        return machine.available, machine.total
    here = psutil.Process()
    pids = (here.pid, *(child.pid for child in here.children(recursive=True)))
    taken = sum(process_rss_bytes(pid) or 0 for pid in pids)
    return max(0, min(machine.available, limit - taken)), limit


def kill_children(pid: int) -> None:
    """End the processes that a process has started, and those that these have started."""
    import psutil

    try:
        for child in psutil.Process(pid).children(recursive=True):
            child.kill()
    except psutil.Error:
        pass  # one has ended by itself
