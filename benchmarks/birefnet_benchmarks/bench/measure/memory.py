"""Memory of other processes and of the machine.

psutil is imported where it is needed, so that every module can be imported without it.
"""

from birefnet_runtime.machine import memory_limit_bytes


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
