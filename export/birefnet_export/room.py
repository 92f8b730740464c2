"""What an export takes of memory and of the disk, compared with what there is before it begins.

Without this a process that needs more than its container allows is killed without a line, minutes
after it began. Estimates lie above what was measured with generated weights on one core.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from math import inf, prod
from pathlib import Path
from typing import NamedTuple

from birefnet_models.base.text import format_bytes
from birefnet_runtime.machine import memory_limit_bytes

from .checkpoint.read import Checkpoint
from .errors import ExportError
from .graph.activation_memory import activation_bytes_per_pixel, attention_bytes
from .graph.lowering import LOWERINGS
from .graph.save import LARGEST_FILE
from .options import ExportRequest

MEMINFO = Path("/proc/meminfo")
EXPORT_PROGRAM_BYTES = 170e6
"""Python, NumPy, onnx, ONNX Runtime, and the graph without its weights."""
BUILT = 0.15
"""Bytes per byte of weights while the graph is built: those of the largest layer, in float64."""
CHECKED = {"fp32": 1.2, "fp16": 1.6, "int8": 1.2}
"""Bytes per byte of float32 weights in the check: those that ONNX Runtime has turned to other
types, and of others the pages that are mapped."""
CALIBRATED = 1.1
"""The same while int8 is calibrated, where weights are not packed."""
WATCHED_PACKING = 1.45
"""How much more ONNX Runtime takes than the tensors that live at once, while values are watched."""
HALVED_PACKING = 1.9
"""The same of a graph in float16, whose values ONNX Runtime turns to float32 and back on a CPU."""
WRITTEN = {"fp32": 1.0, "fp16": 0.5, "int8": 0.4}
"""Bytes of the finished file per byte of float32 weights."""


class Need(NamedTuple):
    """What an export takes at most, in bytes."""

    memory: float
    disk: float
    """Of the folder that it is written to, while it is made."""
    file: float
    """Of the finished file."""


def estimated(checkpoint: Checkpoint, request: ExportRequest, size: tuple[int, int]) -> Need:
    """What the export of a checkpoint takes.

    Args:
        size: (height, width) at which int8 is calibrated and a graph from pixels to alpha runs.
    """
    precision = request.precision.name
    weights = 4.0 * sum(prod(tensor.shape) for tensor in checkpoint.tensors.values())
    memory = BUILT * weights
    if request.verify:
        memory = max(memory, CHECKED[precision] * weights)
    if request.precision.calibrate or request.end_to_end:
        tensors = _tensor_bytes(checkpoint, request, size)
        memory = max(memory, CALIBRATED * weights + WATCHED_PACKING * tensors)
    file = WRITTEN[precision] * weights
    beside = weights if precision == "fp32" else weights + file
    disk = beside + file * (2 if request.end_to_end else 1)
    return Need(EXPORT_PROGRAM_BYTES + memory, disk, file)


def headroom_bytes(checkpoint: Checkpoint, request: ExportRequest, size: tuple[int, int]) -> float:
    """Memory that measuring fp16's head-room takes at most, at (height, width)."""
    weights = 4.0 * sum(prod(tensor.shape) for tensor in checkpoint.tensors.values())
    form = replace(request.form, lowering=LOWERINGS["rows"])
    tensors = _tensor_bytes(checkpoint, replace(request, form=form), size)
    return EXPORT_PROGRAM_BYTES + CHECKED["fp16"] * weights + HALVED_PACKING * tensors


def require_room(
    checkpoint: Checkpoint,
    request: ExportRequest,
    size: tuple[int, int],
    directory: Path,
    before: Sequence[ExportRequest] = (),
) -> None:
    """Compare what the export takes with what there is.

    Args:
        before: what the same run writes first; its files take room on the disk.

    Raises:
        ExportError: there is too little memory or disk, or the weights don't fit one file; with the
            numbers.
    """
    need = estimated(checkpoint, request, size)
    if not request.external_data and need.file > LARGEST_FILE:
        raise ExportError(
            f"{checkpoint.path}: its weights take {format_bytes(need.file)} in "
            f"{request.precision.name}, more than one file holds ({format_bytes(LARGEST_FILE)}); "
            "write them beside the graph (--external-data)"
        )
    if need.memory > (there := available_memory_bytes()):
        raise ExportError(
            f"{checkpoint.path}: its export in {request.precision.name} takes up to "
            f"{format_bytes(need.memory)} of memory, and there are {format_bytes(there)}; make it "
            "on a larger machine and copy the folder" + _smaller(checkpoint, request, size, there)
        )
    disk = need.disk + sum(estimated(checkpoint, other, size).disk for other in before)
    if disk > (free := free_disk_bytes(directory)):
        raise ExportError(
            f"{directory}: the export takes {format_bytes(disk)} while it is made, and "
            f"{format_bytes(free)} are free there"
        )


def available_memory_bytes(meminfo: Path = MEMINFO) -> float:
    """Memory and swap that nobody uses, at most the limit of this process's container.

    Infinite where the system doesn't say.
    """
    limit = memory_limit_bytes() or inf
    try:
        entries = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
        kibibytes = {name: float(count) for name, count, *_ in entries}
        return min(limit, 1024 * (kibibytes["MemAvailable:"] + kibibytes["SwapFree:"]))
    except (OSError, ValueError, LookupError):
        return limit


def free_disk_bytes(directory: Path) -> float:
    """Free bytes where a folder is or will be; infinite where the system doesn't say."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        return float(shutil.disk_usage(directory).free)
    except OSError:
        return inf


def _tensor_bytes(checkpoint: Checkpoint, request: ExportRequest, size: tuple[int, int]) -> float:
    """Of the tensors between the layers, at their peak."""
    pixels = size[0] * size[1]
    form = request.form
    linear, square = attention_bytes(checkpoint.arch, form.opset) or (0.0, 0.0)
    by_maps = activation_bytes_per_pixel(checkpoint.arch, form.lowering.name) * pixels
    return max(by_maps, linear * pixels + square * pixels**2)


def _smaller(
    checkpoint: Checkpoint, request: ExportRequest, size: tuple[int, int], there: float
) -> str:
    """What would fit, if anything does."""
    if request.verify:
        unverified = estimated(checkpoint, replace(request, verify=False), size).memory
        if unverified <= there:
            return f", or without its check (--no-verify, {format_bytes(unverified)})"
    return ""
