"""The driver, asked through nvidia-ml-py: with a library of the driver's functions made here."""

import ctypes
import sys

import pynvml
import pytest
from birefnet_runtime.session.nvml import Driver, Gpu, read_driver


class Nvml:
    """libnvidia-ml with one GPU; `broken` names a function that fails."""

    def __init__(self, broken=None):
        self.broken = broken

    def __getattr__(self, name):
        def call(*arguments):
            if name == self.broken:
                return 999
            self.answer(name, arguments)
            return 0

        return call

    def answer(self, name, arguments):
        def put(pointer, kind, value):
            ctypes.cast(pointer, ctypes.POINTER(kind))[0] = value

        if name == "nvmlDeviceGetCount_v2":
            put(arguments[0], ctypes.c_uint, 1)
        elif name == "nvmlSystemGetDriverVersion":
            arguments[0].value = b"580.82.07"
        elif name == "nvmlDeviceGetName":
            arguments[1].value = b"NVIDIA H100"
        elif name == "nvmlSystemGetCudaDriverVersion_v2":
            put(arguments[0], ctypes.c_int, 13010)
        elif name == "nvmlDeviceGetCudaComputeCapability":
            put(arguments[1], ctypes.c_int, 9)
            put(arguments[2], ctypes.c_int, 0)
        elif name == "nvmlDeviceGetMemoryInfo":
            put(arguments[1], ctypes.c_ulonglong, 85_000_000_000)


def install(monkeypatch, library):
    """Let nvidia-ml-py call this instead of the driver's library."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


def test_the_driver_is_asked_through_its_own_library(monkeypatch):
    install(monkeypatch, Nvml())

    assert read_driver() == Driver(
        "580.82.07", "13.1", (Gpu("NVIDIA H100", "9.0", 85_000_000_000),)
    )


@pytest.mark.parametrize(
    "broken", ["nvmlInitWithFlags", "nvmlDeviceGetName", "nvmlDeviceGetCount_v2"]
)
def test_a_driver_that_does_not_answer_is_none(monkeypatch, broken):
    install(monkeypatch, Nvml(broken))

    assert read_driver() is None


def test_no_driver(monkeypatch):
    def load(name):
        raise OSError(name)

    install(monkeypatch, None)
    monkeypatch.setattr(pynvml, "CDLL", load)

    assert read_driver() is None


def test_without_nvidia_ml_py_no_driver_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert read_driver() is None
