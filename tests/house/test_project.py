"""The project's own files agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from birefnet_models.base.extras import EXTRA_OF_MODULE

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_changelogs_top_version_is_the_packages():
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)

    assert versions[0] == PROJECT["version"]


@pytest.mark.parametrize(("module", "extra"), EXTRA_OF_MODULE.items())
def test_the_extra_that_is_named_brings_the_module(module, extra):
    names = {requirement_name(line) for line in PROJECT["optional-dependencies"][extra]}

    assert module in {MODULE_OF.get(name, name).replace("-", "_") for name in names}


MODULE_OF = {
    "nvidia-ml-py": "pynvml",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pysodmetrics": "py_sod_metrics",
}


@pytest.mark.parametrize(
    ("requirements", "folders"),
    [
        (PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"], "models runtime"),
        (PROJECT["optional-dependencies"]["export"], "export"),
        (PROJECT["optional-dependencies"]["bench"], "benchmarks"),
        (PROJECT["optional-dependencies"]["pytorch"], "benchmarks"),
        (PROJECT["optional-dependencies"]["evaluate"], "benchmarks"),
    ],
)
def test_nothing_is_required_that_is_not_imported(requirements, folders):
    files = [path for folder in folders.split() for path in (ROOT / folder).rglob("*.py")]
    source = "".join(path.read_text() for path in files)

    for line in requirements:
        module = MODULE_OF.get(requirement_name(line), requirement_name(line))
        assert re.search(rf"^\s*(import|from) {module}\b", source, flags=re.MULTILINE), line


def test_torch_and_onnx_are_never_needed_to_cut_out():
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"]

    assert {requirement_name(line) for line in needed}.isdisjoint({"torch", "onnx", "transformers"})


@pytest.mark.parametrize("extra", ["bench", "evaluate", "export", "heic", "matting", "pytorch"])
def test_an_extra_for_a_task_leaves_the_build_of_onnx_runtime_open(extra):
    """Two builds overwrite each other's files: `gpu,export` must not bring the CPU's, too."""
    names = {requirement_name(line) for line in PROJECT["optional-dependencies"][extra]}

    assert not {name for name in names if name.startswith("onnxruntime")}


def test_everything_that_is_required_is_pinned_in_the_constraints():
    """What `make` installs, directly; so that a fresh machine gets what was tested."""
    pinned = {
        requirement_name(line)
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    installed = [*PROJECT["dependencies"]]
    for extra in ("cpu", "export", "pytorch", "bench", "evaluate", "serve", "docs", "dev"):
        installed += PROJECT["optional-dependencies"][extra]

    assert {requirement_name(line) for line in installed} <= pinned


def requirement_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found.group().lower()
