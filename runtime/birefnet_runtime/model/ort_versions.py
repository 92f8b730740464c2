"""Which ONNX Runtime can run a graph: by its opset and its operators."""

import re
from collections.abc import Collection
from typing import NamedTuple

OPSETS = {
    23: "1.23", 22: "1.21", 21: "1.18", 20: "1.17", 19: "1.15", 18: "1.14", 17: "1.12", 16: "1.11"
}  # fmt: skip
"""The first ONNX Runtime that knows an opset, from its own table of versions; 17 to 23 were tried
with 1.20 to 1.25."""
BEFORE = "1.7"
"""Of older opsets."""
DEFORM_CONV = "1.25"
"""The first with kernels for `DeformConv`: 1.24 knows the operator and can't run it."""


class Requirement(NamedTuple):
    """The newest ONNX Runtime that anything in a file asks for."""

    what: str
    """`DeformConv`, `opset 23`."""
    version: str
    """The first version that has it."""


def required_version(operators: Collection[str], opset: int) -> Requirement:
    """What in a graph asks for the newest ONNX Runtime, and for which version.

    Args:
        operators: the names of those that occur.
        opset: of ONNX's own operators.
    """
    if "DeformConv" in operators:
        return Requirement("DeformConv", DEFORM_CONV)
    first = next((version for least, version in OPSETS.items() if opset >= least), BEFORE)
    return Requirement(f"opset {opset}", first)


def has_deform_conv(version: str) -> bool:
    """Whether an ONNX Runtime of this version runs `DeformConv`."""
    return not older(version, DEFORM_CONV)


def older(version: str, than: str) -> bool:
    """Whether a release such as `1.20.1` is older than one such as `1.25`."""
    return _release(version) < _release(than)


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
