"""What a CUDA device is, by the number that CUDA_VISIBLE_DEVICES gives it.

NVML counts all GPUs of the machine, whatever that variable says; so the driver's own API is asked.
Signatures and attribute numbers: CUDA Driver API, section "Device Management".
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_TEXT = 96


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A GPU as an engine is tied to it."""

    name: str
    compute_capability: str
    """`MAJOR.MINOR`."""


def read_device(device_id: int, load: Callable[[str], Any] = ctypes.CDLL) -> CudaDevice | None:
    """Ask the driver for a device; None where it doesn't answer or has no such device."""
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_TEXT)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), device_id)
        or cuda.cuDeviceGetName(name, _TEXT, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if failed:
        return None
    return CudaDevice(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
