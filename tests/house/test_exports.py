"""`__init__` holds imports and a sorted `__all__`, and nothing else; a lazy one says them twice,
for readers and for Python, and both agree."""

import ast
import importlib

import pytest

PACKAGES = ["birefnet_models", "birefnet_runtime", "birefnet_export", "birefnet_benchmarks"]
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
