"""Everything also where Unix has nothing to offer: simulated by blocking its modules and names."""

import subprocess
import sys
import textwrap

import pytest

BLOCKED = """
import os, signal, sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for module, name in ((os, "killpg"), (os, "sysconf"), (os, "getuid"), (signal, "SIGKILL")):
    delattr(module, name)
"""
PSUTIL = "import psutil"
"""For Linux it needs what is then blocked; for Windows it doesn't."""


def run(program, before=""):
    done = subprocess.run(
        [sys.executable, "-c", before + BLOCKED + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.pytorch
@pytest.mark.slow
def test_every_module_can_be_imported_and_bench_says_what_it_does():
    out = run(
        """
        import importlib, pkgutil
        import birefnet_benchmarks
        found = pkgutil.walk_packages(birefnet_benchmarks.__path__, "birefnet_benchmarks.")
        for module in found:
            importlib.import_module(module.name)
        from birefnet_apps.cli.main import main
        main(["bench", "run", "--help"])
        """
    )

    assert "MODEL..." in out


def test_a_process_and_its_children_are_ended_without_process_groups():
    out = run(
        """
        import subprocess
        import psutil
        signal.SIGKILL = signal.SIGTERM  # Unix's own Popen.kill names it
        from birefnet_benchmarks.bench.measure.process import ConfigurationProcess

        parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c',"
        parent += "'import time; time.sleep(60)']); print('up', flush=True); time.sleep(60)"
        process = ConfigurationProcess.__new__(ConfigurationProcess)
        process._process = subprocess.Popen(
            [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
        )
        process._process.stdout.readline()
        (child,) = psutil.Process(process._process.pid).children()
        process._kill()
        gone, alive = psutil.wait_procs([child], timeout=10)
        print(process._process.poll() is not None, len(gone), len(alive))
        """,
        before=PSUTIL,
    )

    assert out == "True 1 0\n"


def test_the_machine_is_known():
    out = run(
        """
        from birefnet_benchmarks.bench.environment import read_environment
        environment = read_environment()
        print(environment.memory_bytes > 1e8, environment.cores > 0)
        """,
        before=PSUTIL,
    )

    assert out == "True True\n"
