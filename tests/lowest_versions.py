"""Constraints with the lowest versions that pyproject.toml declares, for `make test-lowest`.

    python tests/lowest_versions.py EXTRA,... > constraints.txt

A line `name==version` for each requirement of the package and of these extras that states a lowest
version. The test tools are as in constraints.txt.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITH_DEFORM_CONV = {"onnxruntime": "1.25"}
"""Instead of the lowest that is declared, which runs the lowering `gridsample` alone and so hardly
any test; `make test-lowest` tries that one apart."""
_LOWEST = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?>=(?P<version>[\w.]+)")


def lowest_versions(project: dict, extras: list[str]) -> dict[str, str]:
    """The lowest declared version of each requirement by its name in lower case.

    Args:
        project: the table `project` of pyproject.toml.
        extras: whose requirements count beside the package's own.
    """
    groups = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    found = (_LOWEST.match(requirement) for group in groups for requirement in group)
    return {match["name"].lower(): match["version"] for match in found if match}


def constraints(tested: str, lowest: dict[str, str]) -> list[str]:
    """The lines of constraints.txt with these versions instead of its own."""
    pins = [line.split("==") for line in tested.splitlines() if "==" in line]
    merged = {name.lower(): version for name, version in pins if name not in _LEFT_TO_PIP}
    merged |= lowest
    return [f"{name}=={version}" for name, version in sorted(merged.items())]


_LEFT_TO_PIP = {"ml_dtypes", "pandas", "protobuf", "scikit-image", "scikit-learn", "scipy"}
"""Needs of the needed ones, which want others beside older versions."""

if __name__ == "__main__":
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = lowest_versions(declared, sys.argv[1].split(","))
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = constraints(tested, wanted | WITH_DEFORM_CONV)
    print("\n".join(lines))
