"""Machine and versions on which a run was measured."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from birefnet_runtime.machine import read_processor, usable_cores
from birefnet_runtime.session.nvml import read_driver

RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-ep-openvino",
    "onnxruntime-ep-webgpu",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
    "onnxruntime-webgpu",
)
"""Wheels of ONNX Runtime and of its providers."""
PACKAGES = (
    "birefnet-ort",
    "numpy",
    *RUNTIMES,
    "opencv-python-headless",
    "Pillow",
    "torch",
    "transformers",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """Machine and versions."""

    processor: str
    """As the system calls it."""
    cores: int
    """That this process may use."""
    memory_bytes: int
    """Of the machine; 0 where the system doesn't say."""
    system: str
    """Operating system and architecture."""
    python: str
    """Version."""
    packages: dict[str, str]
    """Version of each package that is installed."""
    gpus: tuple[str, ...] = ()
    """Name and compute capability of each NVIDIA GPU."""
    driver: str | None = None
    """Version of the NVIDIA driver, where there is one."""


def read_environment() -> Environment:
    """The machine that this runs on."""
    driver = read_driver()
    return Environment(
        processor=read_processor().model,
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: text for name in PACKAGES if (text := _version(name))},
        gpus=tuple(f"{gpu.name} ({gpu.compute_capability})" for gpu in driver.gpus)
        if driver
        else (),
        driver=driver.version if driver else None,
    )


def _memory_bytes() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        import psutil
    except ModuleNotFoundError:  # `evaluate` alone is installed
        return 0
    return int(psutil.virtual_memory().total)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
