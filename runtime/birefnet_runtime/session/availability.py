"""Whether a provider can run here, found out before a session is opened."""

import contextlib
import ctypes
import io
import mmap
import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from birefnet_models.base.extras import install_command
from birefnet_models.base.text import joined

from .plugins import PLUGINS, plugin_of
from .providers import EXECUTION_PROVIDER, OTHERS, execution_provider, short_name

# Which shared libraries an ELF file asks for: the NEEDED entries that `readelf -d` shows.
#
# The dynamic linker names only the first library that it misses; read from the file, all have
# names. Layout: System V gABI, chapters "ELF Header", "Program Header" and "Dynamic Section".


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")
_LOAD, _DYNAMIC_SEGMENT = 1, 2
_NEEDED, _STRING_TABLE = 1, 5


def needed(path: Path) -> tuple[str, ...]:
    """The libraries that a little-endian 64-bit ELF file names; none for any other file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _needed(data)
    except (OSError, ValueError, struct.error):
        return ()


def _needed(data: mmap.mmap) -> tuple[str, ...]:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01":
        return ()
    start, size, number = header[5], header[9], header[10]
    segments = [_PROGRAM.unpack_from(data, start + i * size) for i in range(number)]
    entries = [
        entry
        for kind, _, offset, *_, length, _, _ in segments
        if kind == _DYNAMIC_SEGMENT
        for entry in _DYNAMIC.iter_unpack(data[offset : offset + length])
    ]
    tables = [_file_offset(segments, value) for tag, value in entries if tag == _STRING_TABLE]
    return tuple(
        data[tables[0] + value : data.find(b"\0", tables[0] + value)].decode()
        for tag, value in entries
        if tag == _NEEDED
    )


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, virtual, _, length, _, _ in segments:
        if kind == _LOAD and virtual <= address < virtual + length:
            return offset + address - virtual
    raise ValueError(f"address {address} lies in no segment")


# Which build of ONNX Runtime is installed, and whether two lie over one another.


WHEELS = ("onnxruntime", "ort-")
"""What the names of wheels with ONNX Runtime begin with."""


@dataclass(frozen=True, slots=True)
class Build:
    """What can be known of the installed ONNX Runtime without opening a session."""

    version: str
    package: str
    """The wheel whose files lie there last: `onnxruntime`, `onnxruntime-gpu`."""
    cuda: str | None
    """The CUDA version it was built with."""
    providers: tuple[str, ...]
    """ONNX Runtime's names. Listed means compiled in, not that it works."""
    folder: Path
    """Where its native libraries lie."""
    wheels: tuple[str, ...]
    """`NAME VERSION` of every installed wheel that owns those files: more than one is a mistake."""

    @property
    def conflict(self) -> str | None:
        """What is wrong where wheels were installed over one another, and what to do."""
        if len(self.wheels) < 2:
            return None
        names = [wheel.partition(" ")[0] for wheel in self.wheels]
        keep = next((name for name in names if name != "onnxruntime"), names[0])
        return (
            f"{' and '.join(self.wheels)} are installed over one another, and {self.package} won; "
            f"repair: pip uninstall -y {' '.join(names)} && pip install {keep}"
        )


def installed_build() -> Build:
    """Look at the installed ONNX Runtime.

    Raises:
        ModuleNotFoundError: there is none.
    """
    import onnxruntime

    try:
        info: Any = import_module("onnxruntime.capi.build_and_package_info")
    except ModuleNotFoundError:  # wheels for the CPU before 1.21
        info = None
    return Build(
        version=onnxruntime.__version__,
        package=str(getattr(info, "package_name", "onnxruntime")),
        cuda=getattr(info, "cuda_version", None) or None,
        providers=tuple(onnxruntime.get_available_providers()),
        folder=Path(onnxruntime.__file__).parent / "capi",
        wheels=owners(distributions_named(*WHEELS)),
    )


def distributions_named(*prefixes: str) -> Iterator[Distribution]:
    """The installed distributions whose folder is called so, without reading what the others say:
    in a large environment that would take longer than opening a small model."""
    for folder in sys.path:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                name = entry.name.lower().replace("_", "-")
                if name.endswith(".dist-info") and name.startswith(prefixes):
                    yield Distribution.at(entry.path)


def owners(
    installed: Iterable[Distribution],
    package: str = "onnxruntime",
    prefixes: tuple[str, ...] = WHEELS,
) -> tuple[str, ...]:
    """The distributions of such names that brought a package: `NAME VERSION`, sorted."""
    wheels = set()
    for distribution in installed:
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not name.startswith(prefixes):
            continue
        face = f"{package}/__init__.py"
        if any(file.as_posix() == face for file in distribution.files or ()):
            wheels.add(f"{name} {distribution.version}")
    return tuple(sorted(wheels))


# The native libraries that a GPU provider needs: which are missing, and what brings them.


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


def why_unavailable(provider: str, build: Build) -> str | None:
    """One clause: why this provider can't run here and what to install; None if nothing is known
    to stand in its way.

    ONNX Runtime lists what was compiled in; whether its libraries can be loaded shows only when a
    session is opened, and then as a log line.
    """
    if not is_installed(provider, build):
        return _not_installed(provider, build)
    if provider not in EXECUTION_PROVIDER or provider in OTHERS:
        return None  # which libraries it needs only it knows
    preload(build)
    names = libraries_of(provider, build)
    missing = missing_libraries(names)
    if not missing:
        return None
    required = required_versions(build, names)
    return (
        f"{joined(missing)} can't be loaded; {build.package} {build.version} "
        f"wants {required.describe()}; {what_to_install(missing, build, required)}"
    )


def is_installed(provider: str, build: Build) -> bool:
    """Whether it was compiled into this build or lies beside it; not whether it works."""
    if plugin_of(provider):
        return True
    return provider != "openvino" and execution_provider(provider) in build.providers


def _not_installed(provider: str, build: Build) -> str:
    if provider == "openvino":
        wheel = PLUGINS[provider].wheel
        return f"{wheel} is not installed; install it with: {install_command('openvino')}"
    if build.conflict:
        return build.conflict
    there = ", ".join(short_name(name) for name in build.providers if "Azure" not in name)
    replace_it = f"replace it: pip uninstall -y {build.package} && {install_command('gpu')}"
    how = OTHERS[provider].install if provider in OTHERS else replace_it
    return f"{build.package} {build.version} is a build without it (it has {there}); {how}"
