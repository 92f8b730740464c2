"""Memory back to the operating system."""

import ctypes
import gc


def release_memory() -> None:
    """Give back what the allocator keeps of freed memory; does nothing where that can't be asked.

    glibc keeps freed blocks for later: without this a closed session's hundreds of megabytes stay
    with the process.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return  # not glibc
    trim(0)
