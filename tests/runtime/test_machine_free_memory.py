import ctypes
import subprocess
import sys

import pytest

COUNT = """
import ctypes, os
import numpy as np
from birefnet_runtime.machine import return_freed_blocks

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd".split()]
    _fields_ += [("rest", ctypes.c_size_t * 5)]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info
if os.environ["ASK"]:
    return_freed_blocks()
np.empty(16 << 20, np.uint8)  # freed, which glibc takes for a hint
before = mallinfo().hblks
kept = np.empty(15 << 20, np.uint8)
print(mallinfo().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc 2.33 or later")
@pytest.mark.parametrize(
    ("environment", "apart"),
    [({"ASK": "1"}, 1), ({"ASK": ""}, 0), ({"ASK": "1", "GLIBC_TUNABLES": "x=1"}, 0)],
)
def test_large_blocks_lie_apart_from_the_heap(environment, apart):
    """So that they go back when they are freed; what the environment says of it holds."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        check=True,
    )
    assert int(done.stdout) == apart
