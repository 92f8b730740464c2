"""What the NVIDIA driver says of itself and its GPUs, through its own library NVML.

Called by ctypes, so that no package is needed; where there is no driver there is no library.
Signatures: NVML API reference, sections "System Queries" and "Device Queries".
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_TEXT = 96


class NvmlError(Exception):
    """A call failed; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    compute_capability: str
    """`MAJOR.MINOR`."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver."""

    version: str
    cuda: str
    """The newest CUDA version that it can run, `MAJOR.MINOR`."""
    gpus: tuple[Gpu, ...]


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def read_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver | None:
    """Ask the driver; None where there is none, or where it doesn't answer."""
    try:
        library = load("libnvidia-ml.so.1")
        _call(library, "nvmlInit_v2")
    except (OSError, NvmlError):
        return None
    try:
        number = ctypes.c_uint()
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(number))
        return Driver(
            version=_text(library, "nvmlSystemGetDriverVersion"),
            cuda=_cuda_version(library),
            gpus=tuple(_gpu(library, index) for index in range(number.value)),
        )
    except NvmlError:
        return None
    finally:
        library.nvmlShutdown()


def _gpu(library: Any, index: int) -> Gpu:
    handle = ctypes.c_void_p()
    _call(library, "nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    _call(
        library,
        "nvmlDeviceGetCudaComputeCapability",
        handle,
        ctypes.byref(major),
        ctypes.byref(minor),
    )
    _call(library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    name = _text(library, "nvmlDeviceGetName", handle)
    return Gpu(name, f"{major.value}.{minor.value}", int(memory.total))


def _cuda_version(library: Any) -> str:
    version = ctypes.c_int()
    _call(library, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _text(library: Any, function: str, *arguments: Any) -> str:
    buffer = ctypes.create_string_buffer(_TEXT)
    _call(library, function, *arguments, buffer, _TEXT)
    return buffer.value.decode(errors="replace")


def _call(library: Any, function: str, *arguments: Any) -> None:
    code = getattr(library, function)(*arguments)
    if code != 0:
        raise NvmlError(f"{function}: {code}")
