"""What ONNX Runtime complains about: its exceptions, and the log that it writes past Python."""

import re
from collections.abc import Collection
from typing import NamedTuple

from birefnet_models.base.errors import OnnxFileError
from birefnet_models.base.files import head_of, stand_in
from birefnet_models.base.names import stays_inside
from birefnet_models.base.text import first_line, printable

from ..model.locate import ModelFile

# Which ONNX Runtime can run a graph: by its opset and its operators.


FIRST_RUNTIME_OF_OPSET = {
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
    first = next(
        (version for least, version in FIRST_RUNTIME_OF_OPSET.items() if opset >= least), BEFORE
    )
    return Requirement(f"opset {opset}", first)


def has_deform_conv(version: str) -> bool:
    """Whether an ONNX Runtime of this version runs `DeformConv`."""
    return not older(version, DEFORM_CONV)


def older(version: str, than: str) -> bool:
    """Whether a release such as `1.20.1` is older than one such as `1.25`."""
    return _release(version) < _release(than)


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def onnxruntime_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """The classes to name behind `except`: ONNX Runtime's dozen, which share no base, and `others`.

    Without ONNX Runtime, `others` alone.
    """
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return others
    members = (getattr(state, name) for name in dir(state))
    own = (kind for kind in members if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, *others)


def why_not_loaded(model: ModelFile, version: str) -> str | None:
    """Why an ONNX Runtime of this version can't load a file; None if that isn't known.

    To be asked once it has failed: a build of one's own may know more than its number says.
    """
    try:
        file = model.graph
    except OnnxFileError as error:
        return str(error).removeprefix(f"{model.path}: ")
    for name in filter(stays_inside, file.external_files):
        weights = model.path.parent / name
        what = stand_in(head_of(weights)) if weights.is_file() else "is not beside it"
        if what:
            return f"its weights are in {printable(name)}, which {what}"
    needed = required_version({node.op_type for node in file.nodes}, file.opsets.get("", 0))
    if not older(version, needed.version):
        return None
    return (
        f"its {needed.what} needs ONNX Runtime {needed.version} or later, found {version}; "
        "upgrade it, or export with --lowering gridsample --opset 17, which 1.20 runs"
    )


def reason_of(error: BaseException) -> str:
    """What an exception says behind kinds of errors and places in ONNX Runtime's source."""
    line = first_line(error)
    return re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line) or line


def log_reason(text: str) -> str | None:
    """The reason in ONNX Runtime's log: what follows `with error:`, or its last error line."""
    errors = [line for line in text.splitlines() if "[E:onnxruntime" in line]
    if not errors:
        return None
    line = errors[-1].strip("\x1b[m")
    return line.rpartition("with error: ")[2].rpartition("] ")[2].strip()
