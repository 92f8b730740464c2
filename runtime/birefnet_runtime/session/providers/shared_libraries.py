"""The native libraries that a GPU provider needs: which are missing, and what brings them."""

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from birefnet_models.text import joined

from .elf import needed
from .ort_build import Build

FILES = {
    "cuda": "libonnxruntime_providers_cuda.so",
    "tensorrt": "libonnxruntime_providers_tensorrt.so",
}
CUDNN_MAJOR = 9
"""Of every ONNX Runtime since 1.18.1."""


@dataclass(frozen=True, slots=True)
class RequiredVersions:
    """Major versions that a build was linked with; None for what it doesn't use."""

    cuda: int | None
    cudnn: int | None
    tensorrt: int | None

    def describe(self) -> str:
        """`CUDA 13, cuDNN 9 and TensorRT 10`."""
        named = (("CUDA", self.cuda), ("cuDNN", self.cudnn), ("TensorRT", self.tensorrt))
        return joined([f"{name} {major}" for name, major in named if major is not None])


def libraries_of(provider: str, build: Build) -> tuple[str, ...]:
    """The shared libraries that a provider of this build needs; none where that isn't known.

    TensorRT's provider hands nodes to CUDA's, so it needs what that one needs, too. CUDA's loads
    cuDNN by itself when the first convolution runs.
    """
    if not sys.platform.startswith("linux") or provider not in FILES:
        return ()
    cuda = needed(build.folder / FILES["cuda"])
    if cuda and not any(name.startswith("libcudnn.") for name in cuda):
        cuda = (*cuda, f"libcudnn.so.{CUDNN_MAJOR}")
    if provider == "cuda":
        return cuda
    own = needed(build.folder / FILES["tensorrt"])
    return tuple(dict.fromkeys((*own, *cuda))) if own else ()


def missing_libraries(
    names: Iterable[str], load: Callable[[str], object] = ctypes.CDLL
) -> tuple[str, ...]:
    """Those of the shared libraries that the dynamic linker can't load.

    A library that lies there but misses another counts as the other: that is what to install.
    """
    missing = []
    for name in names:
        try:
            load(name)
        except OSError as error:
            at_fault = re.match(r"(\S+\.so[.\d]*): cannot open shared object", str(error))
            missing.append(at_fault[1] if at_fault else name)
    return tuple(dict.fromkeys(missing))


def required_versions(build: Build, names: Iterable[str]) -> RequiredVersions:
    """Read the majors off the libraries' names, and CUDA's off the build where it says so."""
    majors = {}
    for name in names:
        if match := re.match(r"lib(cudart|cudnn|nvinfer)\.so\.(\d+)", name):
            majors[match[1]] = int(match[2])
    cuda = int(build.cuda.partition(".")[0]) if build.cuda else majors.get("cudart")
    return RequiredVersions(cuda, majors.get("cudnn"), majors.get("nvinfer"))


@dataclass(frozen=True, slots=True)
class InstalledVersions:
    """Versions of the libraries that the dynamic linker finds here; None for what it doesn't."""

    cuda: str | None
    cudnn: str | None
    tensorrt: str | None


def installed_versions(load: Callable[[str], Any] = ctypes.CDLL) -> InstalledVersions:
    """Ask each library for its version: of the newest major that can be loaded."""
    cuda = _ask(load, "libcudart.so.{}", range(14, 10, -1), _cudart_version)
    cudnn = _ask(load, "libcudnn.so.{}", range(10, 7, -1), lambda lib: lib.cudnnGetVersion())
    tensorrt = _ask(
        load, "libnvinfer.so.{}", range(12, 7, -1), lambda lib: lib.getInferLibVersion()
    )
    return InstalledVersions(
        None if not cuda else f"{cuda // 1000}.{cuda % 1000 // 10}",
        None if not cudnn else _dotted(cudnn, 1000 if cudnn < 90000 else 10000),
        None if not tensorrt else _dotted(tensorrt, 1000 if tensorrt < 100000 else 10000),
    )


def _ask(
    load: Callable[[str], Any], name: str, majors: Iterable[int], ask: Callable[[Any], Any]
) -> int:
    for major in majors:
        with contextlib.suppress(OSError, AttributeError):
            return int(ask(load(name.format(major))))
    return 0


def _cudart_version(library: Any) -> int:
    version = ctypes.c_int()
    library.cudaRuntimeGetVersion(ctypes.byref(version))
    return version.value


def _dotted(number: int, major: int) -> str:
    return f"{number // major}.{number % major // 100}.{number % 100}"


def what_to_install(missing: Sequence[str], build: Build, required: RequiredVersions) -> str:
    """One clause: the driver, CUDA and cuDNN, TensorRT, as far as they are missing."""
    steps = []
    if "libcuda.so.1" in missing:
        steps.append("an NVIDIA driver (in a container: run it with --gpus all)")
    packages = []
    tensorrt = ("libnvinfer", "libnvonnxparser")
    if any(not name.startswith(("libcuda.so", *tensorrt)) for name in missing):
        packages.append(f"'{build.package}[cuda,cudnn]=={build.version}'")
    if any(name.startswith(tensorrt) for name in missing):
        packages.append(f"'tensorrt-cu{required.cuda}-libs=={required.tensorrt}.*'")
    if packages:
        steps.append(f"what this brings: pip install {' '.join(packages)}")
    return "install " + joined(steps, ", then ")


def preload(build: Build) -> None:
    """Load CUDA, cuDNN and TensorRT from the wheels that bring them, where they are installed.

    The dynamic linker doesn't look into site-packages; what is loaded once is found by name.
    """
    if not build.cuda:
        return
    import onnxruntime

    site = build.folder.parents[1]
    if (site / "nvidia").is_dir():
        # It prints what it misses; `missing_libraries` says that better.
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
    # The parser needs the library beside it.
    for pattern in ("libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*"):
        for path in sorted((site / "tensorrt_libs").glob(pattern)):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
