"""Native libraries: read off files, looked for, and what is said when they are missing."""

import ctypes
import shutil
import subprocess
from importlib import import_module
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime.session import availability
from birefnet_runtime.session.availability import (
    Build,
    InstalledVersions,
    RequiredVersions,
    installed_build,
    installed_versions,
    libraries_of,
    missing_libraries,
    needed,
    owners,
    required_versions,
    what_to_install,
    why_unavailable,
)

CUDA_13 = ("libcublasLt.so.13", "libcudart.so.13", "libcuda.so.1", "libcudnn.so.9")


def build(folder=Path("/none"), **changes) -> Build:
    facts = {
        "version": "1.31.1",
        "package": "onnxruntime-gpu",
        "cuda": "13.0",
        "providers": ("CUDAExecutionProvider", "CPUExecutionProvider"),
        "folder": folder,
        "wheels": ("onnxruntime-gpu 1.31.1",),
    }
    return Build(**facts | changes)


def test_needed_libraries_are_those_that_readelf_shows():
    core = "_core" if np.__version__ >= "2" else "core"
    library = Path(import_module(f"numpy.{core}._multiarray_umath").__file__)
    assert any(name.startswith("libc.so") for name in needed(library))
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")

    shown = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True)

    for name in needed(library):
        assert f"[{name}]" in shown.stdout
    assert shown.stdout.count("(NEEDED)") == len(needed(library))


@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF\x02\x01" + bytes(10)])
def test_another_file_needs_nothing(tmp_path, content):
    (tmp_path / "file").write_bytes(content)

    assert needed(tmp_path / "file") == ()
    assert needed(tmp_path / "gone") == ()


def test_cudas_provider_needs_cudnn_though_its_file_does_not_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "birefnet_runtime.session.availability.needed",
        lambda path: ("libcudart.so.13",) if "cuda" in path.name else ("libnvinfer.so.10",),
    )

    assert libraries_of("cuda", build(tmp_path)) == ("libcudart.so.13", "libcudnn.so.9")
    assert libraries_of("tensorrt", build(tmp_path)) == (
        "libnvinfer.so.10",
        "libcudart.so.13",
        "libcudnn.so.9",
    )
    assert libraries_of("cpu", build(tmp_path)) == ()


def test_what_is_missing_is_named_down_to_the_bottom():
    """libcublas lies there, and needs libcublasLt, which doesn't."""
    texts = {
        "libcublas.so.13": "libcublasLt.so.13: cannot open shared object file: No such file",
        "libcublasLt.so.13": "libcublasLt.so.13: cannot open shared object file: No such file",
        "libodd.so.1": "/lib/libodd.so.1: file too short",
    }

    def load(name):
        if name in texts:
            raise OSError(texts[name])

    names = ["libc.so.6", *texts]
    assert missing_libraries(names, load) == ("libcublasLt.so.13", "libodd.so.1")
    assert missing_libraries(["libc.so.6"]) == ()
    assert missing_libraries(["libnothing.so.77"]) == ("libnothing.so.77",)


def test_majors_are_read_off_the_names():
    names = (*CUDA_13, "libnvinfer.so.10")

    assert required_versions(build(cuda=None), names) == RequiredVersions(13, 9, 10)
    assert required_versions(build(cuda="12.8"), CUDA_13) == RequiredVersions(12, 9, None)
    assert RequiredVersions(13, 9, 10).describe() == "CUDA 13, cuDNN 9 and TensorRT 10"
    assert RequiredVersions(13, None, None).describe() == "CUDA 13"


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (["libcuda.so.1"], "install an NVIDIA driver (in a container: run it with --gpus all)"),
        (
            ["libcudnn.so.9"],
            "install what this brings: pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1'",
        ),
        (
            ["libnvinfer.so.10"],
            "install what this brings: pip install 'tensorrt-cu13-libs==10.*'",
        ),
        (
            ["libcudart.so.13", "libcuda.so.1", "libnvonnxparser.so.10"],
            "install an NVIDIA driver (in a container: run it with --gpus all), then what this "
            "brings: pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1' 'tensorrt-cu13-libs==10.*'",
        ),
    ],
)
def test_what_to_install(missing, says):
    assert what_to_install(missing, build(), RequiredVersions(13, 9, 10)) == says


def test_why_not_names_all_that_is_missing(monkeypatch):
    monkeypatch.setattr(availability, "preload", lambda _: None)
    monkeypatch.setattr(availability, "libraries_of", lambda *_: CUDA_13)
    monkeypatch.setattr(availability, "missing_libraries", lambda names: names[:2])

    assert why_unavailable("cuda", build()) == (
        "libcublasLt.so.13 and libcudart.so.13 can't be loaded; onnxruntime-gpu 1.31.1 wants "
        "CUDA 13 and cuDNN 9; install what this brings: "
        "pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1'"
    )
    monkeypatch.setattr(availability, "missing_libraries", lambda names: ())
    assert why_unavailable("cuda", build()) is None


def wheel(folder: Path, name: str, *files: str) -> PathDistribution:
    info = folder / f"{name.replace('-', '_')}-1.31.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return PathDistribution(info)


def test_two_wheels_over_one_another_are_found_and_explained(tmp_path):
    """`pip install onnxruntime` after onnxruntime-gpu: CUDA is gone, both are listed."""
    found = owners(
        [
            wheel(tmp_path, "onnxruntime", "onnxruntime/__init__.py"),
            wheel(tmp_path, "onnxruntime-gpu", "onnxruntime/__init__.py"),
            wheel(tmp_path, "onnxruntime-ep-openvino", "onnxruntime_ep_openvino/__init__.py"),
            wheel(tmp_path, "numpy", "numpy/__init__.py"),
        ]
    )
    assert found == ("onnxruntime 1.31.1", "onnxruntime-gpu 1.31.1")
    broken = build(wheels=found, package="onnxruntime", providers=("CPUExecutionProvider",))

    assert why_unavailable("cuda", broken) == (
        "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are installed over one another, and "
        "onnxruntime won; repair: pip uninstall -y onnxruntime onnxruntime-gpu && "
        "pip install onnxruntime-gpu"
    )


def test_the_installed_build_is_read():
    found = installed_build()

    assert found.version.count(".") == 2
    assert found.package in " ".join(found.wheels)
    assert found.wheels == owners(distributions()), "found without reading what the others say"
    assert found.conflict is None
    assert "CPUExecutionProvider" in found.providers
    assert (found.folder / "build_and_package_info.py").exists()


class Versions:
    def __init__(self, cuda=0, number=0):
        self.cuda, self.number = cuda, number

    def cudaRuntimeGetVersion(self, pointer):
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = self.cuda

    def cudnnGetVersion(self):
        return self.number

    def getInferLibVersion(self):
        return self.number


def test_versions_are_asked_of_the_newest_library_there_is():
    there = {
        "libcudart.so.12": Versions(cuda=12080),
        "libcudnn.so.9": Versions(number=90800),
        "libcudnn.so.8": Versions(number=8902),
        "libnvinfer.so.10": Versions(number=101303),
    }

    def load(name):
        if name not in there:
            raise OSError(name)
        return there[name]

    assert installed_versions(load) == InstalledVersions("12.8", "9.8.0", "10.13.3")
    del there["libcudnn.so.9"], there["libnvinfer.so.10"]
    there["libnvinfer.so.8"] = Versions(number=8601)
    assert installed_versions(load) == InstalledVersions("12.8", "8.9.2", "8.6.1")
    there.clear()
    assert installed_versions(load) == InstalledVersions(None, None, None)
