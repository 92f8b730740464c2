"""Names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package whose public names stand in modules of its own.

    The package's `dir()` has these names, too, so that `help()` and completion show them.

    Args:
        package: its `__name__`.
        homes: for each module, relative to the package, the names in it, a space between them.

    Raises, when a name is first used:
        AttributeError: there is none of that name.
        MissingExtraError: its module needs a package that is not installed.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(home_of[name], package), name)
        except ModuleNotFoundError as error:
            from .extras import missing_extra  # for messages alone

            if missing := missing_extra(error.name):
                raise missing from error
            raise
        setattr(sys.modules[package], name, value)
        return value

    module = sys.modules[package]
    vars(module)["__dir__"] = lambda: sorted({*vars(module), *home_of})
    return get
