"""A file is a room: large enough to hold a thought, small enough to be read at once."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "models/birefnet_models",
    "runtime/birefnet_runtime",
    "runtime/birefnet_apps",
    "runtime/birefnet_kernels",
    "export/birefnet_export",
    "benchmarks/birefnet_benchmarks",
)
LEAST_LINES, MOST_LINES = 35, 450
FACES = {"__init__.py", "__main__.py", "errors.py"}
"""What a package hands on, and the errors that are its own: as long as they are."""
SMALL = {
    # Each does one thing when it is imported, before anything else may be.
    "models/birefnet_models/base/telemetry.py",
    "models/birefnet_models/base/version.py",
    # Old places of public names, until version 0.5.
    "runtime/birefnet_runtime/cli/main.py",
    "runtime/birefnet_runtime/ray.py",
    # Code that reads a file of another language that lies beside it.
    "runtime/birefnet_apps/serve/page.py",
    # Layers and lowerings, one a file, as in the reference, the graph and PyTorch.
    "benchmarks/birefnet_benchmarks/pytorch/mlp.py",
    "export/birefnet_export/graph/lowering/native.py",
    "export/birefnet_export/network/backbone/mlp.py",
    "export/birefnet_export/network/backbone/read.py",
    "export/birefnet_export/network/backbone/record.py",
    "export/birefnet_export/network/birefnet.py",
}
LARGE = {
    # The class that everybody uses; half of its lines are the documentation of its methods.
    "runtime/birefnet_runtime/segmenter.py": 540,
}


def file_sizes() -> dict[str, int]:
    return {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        if file.name not in FACES
    }


def test_a_file_is_neither_a_scrap_nor_a_scroll():
    sizes = file_sizes()
    wrong = {
        name: lines
        for name, lines in sizes.items()
        if lines > LARGE.get(name, MOST_LINES) or (lines < LEAST_LINES and name not in SMALL)
    }

    assert wrong == {}


def test_what_is_excepted_is_there_and_needs_it():
    sizes = file_sizes()

    assert {name for name in SMALL if sizes.get(name, LEAST_LINES) >= LEAST_LINES} == set()
    assert {name for name in LARGE if sizes.get(name, 0) <= MOST_LINES} == set()
