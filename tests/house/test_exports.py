"""`__init__` holds imports and a sorted `__all__`, and nothing else."""

import ast
import importlib

import pytest

PACKAGES = ["birefnet_models", "birefnet_runtime", "birefnet_export", "birefnet_benchmarks"]


@pytest.mark.parametrize("name", PACKAGES)
def test_init_holds_only_imports_and_a_sorted_all(name):
    package = importlib.import_module(name)
    with open(package.__file__, encoding="utf-8") as file:
        docstring, *statements = ast.parse(file.read()).body
    assert isinstance(docstring, ast.Expr)
    imported = []
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            names = [alias.asname or alias.name for alias in statement.names]
            imported += [name for name in names if name != "_telemetry"]  # acts when imported
        else:
            target = (
                statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            )
            assert target.id == "__all__"

    assert package.__all__ == sorted(package.__all__)
    assert sorted(imported) == package.__all__


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_exported_exists(name):
    package = importlib.import_module(name)

    for exported in package.__all__:
        assert hasattr(package, exported)
