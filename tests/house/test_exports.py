"""`__init__` holds imports and a sorted `__all__`, and nothing else; a lazy one says them twice,
for readers and for Python, and both agree."""

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

PACKAGES = [
    "birefnet_models",
    "birefnet_runtime",
    "birefnet_apps",
    "birefnet_export",
    "birefnet_benchmarks",
]
OF_THE_FACE = {"_telemetry", "TYPE_CHECKING", "lazily"}
"""Not handed on: one acts when it is imported, two make a face lazy."""


def imports(statements: list[ast.stmt]) -> dict[str, set[str]]:
    """The names that are imported from each module, as `.module` in a package."""
    found: dict[str, set[str]] = {}
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in statement.names} - OF_THE_FACE
            if names:
                home = "." * statement.level + (statement.module or "")
                found.setdefault(home, set()).update(names)
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_init_holds_only_imports_and_a_sorted_all(name):
    package = importlib.import_module(name)
    with open(package.__file__, encoding="utf-8") as file:
        docstring, *statements = ast.parse(file.read()).body
    assert isinstance(docstring, ast.Expr)
    found, lazy = imports(statements), None
    for statement in statements:
        match statement:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                found |= imports(statement.body)
            case ast.Assign([ast.Name("__getattr__")], ast.Call(ast.Name("lazily"), [_, homes])):
                lazy = {home: set(names.split()) for home, names in ast.literal_eval(homes).items()}
            case ast.Assign([ast.Name("__all__")]) | ast.AnnAssign(ast.Name("__all__")):
                pass
            case _:
                assert isinstance(statement, ast.ImportFrom)

    assert package.__all__ == sorted(set().union(*found.values()))
    assert lazy in (None, found)


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_exported_exists_and_nothing_else(name):
    package = importlib.import_module(name)

    for exported in package.__all__:
        assert hasattr(package, exported)
    with pytest.raises(AttributeError, match="has no attribute 'no_such'"):
        _ = package.no_such
    assert {*package.__all__} <= {*dir(package)}
    assert package.__version__ == version("birefnet-ort")


def docstrings(package) -> Iterator[tuple[str, str]]:
    """Names and docstrings of what a package exports, methods among them."""
    for name in package.__all__:
        value = getattr(package, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield name, inspect.getdoc(value) or ""
        for method, inner in vars(value).items() if inspect.isclass(value) else ():
            if not method.startswith("_") and callable(inner):
                yield f"{name}.{method}", inspect.getdoc(inner) or ""


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_documented(name):
    """Functions, classes and methods; `make docs` refuses other values without a docstring."""
    package = importlib.import_module(name)

    assert [where for where, text in docstrings(package) if not text] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_every_error_that_a_docstring_names_is_public(name):
    """In the package itself, so that it needs one import to use a function and catch its errors."""
    package = importlib.import_module(name)
    known = {*package.__all__, *dir(importlib.import_module("birefnet_runtime")), *dir(builtins)}

    unknown = {
        (where, error)
        for where, text in docstrings(package)
        for line in text.partition("Raises")[2].splitlines()
        if (raised := re.fullmatch(r" +((?:\w+, )*\w+): .*", line))
        for error in raised[1].split(", ")
        if error not in known
    }

    assert unknown == set()


def test_user_code_that_is_checked_for_types_uses_every_public_name():
    source = (Path(__file__).parent / "plain_user_code.py").read_text(encoding="utf-8")
    used = {*re.findall(r"\w+", source)}

    for name in ("birefnet_runtime", "birefnet_apps"):
        assert {*importlib.import_module(name).__all__} - used == set()


def test_the_library_prints_nothing():
    """It logs and warns; the one line to stderr is the command line's, past what was caught."""
    root = Path(__file__).parents[2]
    printing = {
        file.relative_to(root).as_posix()
        for package in ("models/birefnet_models", "runtime/birefnet_runtime")
        for file in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.stdout.write"}
    }

    assert printing == {
        "runtime/birefnet_runtime/stderr.py",
        "runtime/birefnet_runtime/trial.py",  # a process of its own, which answers so
    }
