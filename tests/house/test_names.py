"""One name means one thing: a public name has one definition in the packages."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "models/birefnet_models",
    "runtime/birefnet_runtime",
    "runtime/birefnet_apps",
    "export/birefnet_export",
    "benchmarks/birefnet_benchmarks",
)
MIRRORS = (
    # A network is written four times on purpose: by names and shapes of its tensors, as a graph,
    # in NumPy, in PyTorch. A layer has the same name in each.
    "export/birefnet_export/network",
    "export/birefnet_export/graph",
    "export/birefnet_export/reference",
    "benchmarks/birefnet_benchmarks/pytorch",
)
COMMANDS = "/cli/"
"""Functions there bear their command's name; two more programs are started by their `main`."""


def public_names(source: str) -> Iterator[str]:
    """Classes, functions and capital constants at the top of a file."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names = [name]
            case ast.AsyncFunctionDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [ast.unparse(target) for target in targets]
                names = [name for name in names if name.isidentifier() and name.isupper()]
            case ast.AnnAssign(target=ast.Name(id=name)) if name.isupper():
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def definitions() -> dict[str, list[str]]:
    """The files that define a name."""
    found = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            here = file.relative_to(ROOT).as_posix()
            for name in public_names(file.read_text(encoding="utf-8")):
                if COMMANDS not in here or not name.islower():
                    found[name].append(here)
    return found


def test_names_are_seen():
    source = "class A: pass\ndef b(): pass\nC = 1\nD: int = 1\n_E = 1\nfor f in (): G = 1\n"

    assert list(public_names(source)) == ["A", "b", "C", "D"]


def test_a_public_name_has_one_definition():
    doubles = {
        name: files
        for name, files in definitions().items()
        if len(files) > 1 and name != "main" and not all(f.startswith(MIRRORS) for f in files)
    }

    assert doubles == {}
