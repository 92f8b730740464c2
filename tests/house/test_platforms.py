"""Nothing that only Unix has is needed to import a module, or to ask a command for help."""

import pkgutil
import subprocess
import sys
import textwrap

import birefnet_benchmarks
import birefnet_export
import birefnet_models
import birefnet_runtime
import pytest

PACKAGES = (birefnet_models, birefnet_runtime, birefnet_export, birefnet_benchmarks)
MODULES = [
    info.name
    for package in PACKAGES
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]

AS_ON_WINDOWS = textwrap.dedent(
    """
    import importlib, sys

    UNIX = {"resource", "fcntl", "pwd", "grp", "termios", "syslog"}

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name in UNIX:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Block())
    for name in UNIX:
        sys.modules.pop(name, None)
    """
)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS + program, *arguments], capture_output=True, text=True
    )


def test_the_block_blocks():
    assert "No module named 'fcntl'" in run("import fcntl").stderr


@pytest.mark.slow
def test_every_module_can_be_imported():
    """Other packages choose what they import by the system, which here is Unix: they come first."""
    assert len(MODULES) > 100
    program = "import filelock, psutil, torch, transformers\n" + AS_ON_WINDOWS
    program += "for name in sys.argv[1:]:\n    importlib.import_module(name)"

    done = subprocess.run(
        [sys.executable, "-c", program, *MODULES], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["bench", "cutout", "doctor", "evaluate", "export", "video"])
def test_every_command_can_be_asked_for_help(command):
    program = "from birefnet_apps.cli.main import main; main()"

    done = run(program, command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_no_two_files_differ_by_case_alone():
    """One of them would be lost on Windows and on a Mac."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0")

    assert len({name.casefold() for name in names}) == len(names)
