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


def needs_pytorch(module: str) -> bool:
    return module.startswith(PYTORCH) and not module.endswith(".remote_source")


PYTORCH = ("birefnet_benchmarks.pytorch.", "birefnet_benchmarks.bench.backends.pytorch")

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
@pytest.mark.parametrize(
    ("others", "modules"),
    [
        ("filelock, psutil", [name for name in MODULES if not needs_pytorch(name)]),
        pytest.param(
            "filelock, torch, transformers",
            [name for name in MODULES if needs_pytorch(name)],
            marks=pytest.mark.pytorch,
        ),
    ],
    ids=["without PyTorch", "with PyTorch"],
)
def test_every_module_can_be_imported(others, modules):
    """Other packages choose what they import by the system, which here is Unix: they come first."""
    program = f"import {others}\n{AS_ON_WINDOWS}"
    program += "for name in sys.argv[1:]:\n    importlib.import_module(name)"

    done = subprocess.run(
        [sys.executable, "-c", program, *modules], capture_output=True, text=True, check=False
    )

    assert len(modules) > 5

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
