"""Memory of a process, as Linux counts it."""

import subprocess
import sys

from birefnet_runtime.machine import peak_rss_bytes, rss_bytes


def test_the_peak_counts_memory_that_was_given_back():
    program = (
        "from birefnet_runtime.machine import peak_rss_bytes\n"
        "before = peak_rss_bytes()\n"
        "block = bytearray(b'x') * 100_000_000\n"
        "del block\n"
        "print(peak_rss_bytes() - before)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert 95_000_000 < int(done.stdout) < 115_000_000


def test_a_childs_peak_is_not_its_parents():
    block = bytearray(b"x") * 200_000_000
    module = "birefnet_runtime.machine"
    program = f"from {module} import peak_rss_bytes; print(peak_rss_bytes())"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert int(done.stdout) < 150_000_000
    assert peak_rss_bytes() > len(block)


def test_figures_are_those_of_the_status_file_in_bytes(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")

    assert peak_rss_bytes(status) == 2048 * 1024
    assert rss_bytes(status) == 1024 * 1024
