"""TensorRT: a model's engine is found, or built and compared with the CPU before it is used."""

import ctypes
import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models import cache_root
from birefnet_models.base.files import replacing
from birefnet_models.base.hashes import record_name
from birefnet_models.base.onnx_file import OnnxFile
from birefnet_models.base.text import first_line
from numpy.typing import NDArray

from ..errors import ProviderError
from ..model.locate import ModelFile
from ..model.metadata import ModelMetadata, concrete_sizes, read_metadata
from ..model.signature import Session
from ..model.size import Size
from ..stderr import ticking
from . import tensorrt as engine_cache
from .acceptance import FP16, FP32, check, compare, sample_image
from .availability import Build, installed_versions
from .ort_errors import onnxruntime_errors
from .providers import Profile, TensorRT, covers, describe

# What a CUDA device is, by the number that CUDA_VISIBLE_DEVICES gives it.
#
# NVML counts all GPUs of the machine, whatever that variable says; so the driver's own API is
# asked. Signatures and attribute numbers: CUDA Driver API, section "Device Management".


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


# Optimization profiles: which shapes a TensorRT engine is built for, and which fit into one.


def derive_profile(metadata: ModelMetadata, sizes: Sequence[Size] = (), batch: int = 1) -> Profile:
    """The narrowest profile that holds what will be run: the narrower, the faster the engine.

    Args:
        metadata: of the model.
        sizes: those that will be asked for, the most frequent first; none: the trained size alone.
            "auto" stands for every aspect ratio from 1:2 to 2:1.
        batch: the largest.

    Raises:
        SizeError: the network can't run at one of the sizes.
    """
    named = [size for asked in sizes or [None] for size in concrete_sizes(asked, metadata)]
    heights, widths = [size[0] for size in named], [size[1] for size in named]
    return Profile(
        smallest=(1, min(heights), min(widths)),
        best=(batch, *named[0]),
        largest=(batch, max(heights), max(widths)),
    )


# Where TensorRT's engines are kept: a directory each, named after all that makes one invalid.
#
# A directory is complete when it holds `facts.json`, which is written last, after the engine's
# mask was compared with the CPU's. What was built elsewhere, by another version, for another GPU
# or from another graph has another name and is never looked into.


FACTS = "facts.json"
FORMAT = 1
"""Of the directory; raised when what is in it changes its meaning."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that an engine depends on."""

    graph: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    gpu: str
    compute_capability: str
    tensorrt: str
    onnxruntime: str
    cuda: str
    fp16: bool
    optimization_level: int
    workspace_bytes: int | None
    profile: Profile
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Of the directory."""
        return record_name(self)


def default_root() -> Path:
    """`tensorrt` in the cache of birefnet-ort."""
    return cache_root() / "tensorrt"


def find(root: Path, key: EngineKey) -> tuple[Path, Profile] | None:
    """A complete engine for this key, or one that differs only in a wider profile."""
    exact = root / key.name
    for directory in (exact, *sorted(path for path in root.glob("*") if path != exact)):
        kept = _complete(directory)
        if kept is None or not covers(kept.profile, key.profile):
            continue
        if dataclasses.replace(kept, profile=key.profile) == key:
            return directory, kept.profile
    return None


@contextmanager
def building(root: Path, key: EngineKey) -> Iterator[Path]:
    """A fresh directory to build in. `finish` keeps it; else it is removed.

    Raises:
        ProviderError: nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        directory = root / f".building-{key.name}-{secrets.token_hex(4)}"
        directory.mkdir()
    except OSError as error:
        raise ProviderError(f"{root}: engines can't be kept there: {error.strerror}") from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def finish(directory: Path, key: EngineKey, parity: dict[str, float]) -> Path:
    """Give a built and checked directory its name.

    Returns:
        Where it is now. If another process was faster, that one's stays.
    """
    facts = {"key": dataclasses.asdict(key), "parity": parity}
    with replacing(directory / FACTS) as file:
        file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    target = directory.parent / key.name
    if target.exists() and _complete(target) is None:
        shutil.rmtree(target, ignore_errors=True)
    try:
        os.rename(directory, target)
    except OSError:
        if _complete(target) is None:
            raise
    return target


def _complete(directory: Path) -> EngineKey | None:
    """The key of a directory that holds an engine and is what its name says."""
    try:
        facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    key = _key(facts) if isinstance(facts, dict) else None
    if key is None or key.name != directory.name or not any(directory.glob("*.engine")):
        return None
    return key


def _key(facts: dict[str, Any]) -> EngineKey | None:
    try:
        key = dict(facts["key"])
        shapes = {name: tuple(shape) for name, shape in key.pop("profile").items()}
        return EngineKey(**key, profile=Profile(**shapes))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


Open = Callable[[TensorRT, Path, str], Session]
"""Opens a session on a record whose profile is set, with its engine in this directory, for the
graph's input of this name."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A complete engine."""

    record: TensorRT
    """With the profile that the engine was built for."""
    directory: Path
    input_name: str


def resolve(
    model: ModelFile, record: TensorRT, build: Build, sizes: Sequence[Size], batch: int
) -> tuple[EngineKey, str]:
    """The key of the engine that a model needs here, and the name of the graph's input.

    Raises:
        ProviderError: the GPU or TensorRT doesn't answer.
        OnnxFileError: the file can't be read.
        SizeError: the network can't run at one of the sizes.
    """
    metadata = read_metadata(model.graph.properties)
    if metadata.output == "alpha":
        raise ProviderError(
            "engines are built for the network's own input, and this file takes pixels; use the "
            "model.onnx beside it"
        )
    device = read_device(record.device_id)
    if device is None:
        raise ProviderError(f"the driver knows no CUDA device {record.device_id}")
    versions = installed_versions()
    profile = record.profile or derive_profile(metadata, sizes, batch)
    key = EngineKey(
        graph=model.sha256,
        gpu=device.name,
        compute_capability=device.compute_capability,
        tensorrt=str(versions.tensorrt),
        onnxruntime=build.version,
        cuda=str(versions.cuda),
        fp16=record.fp16,
        optimization_level=record.optimization_level,
        workspace_bytes=record.workspace_bytes,
        profile=profile,
    )
    return key, _input_name(model.graph)


def engine_for(
    path: Path,
    record: TensorRT,
    key: EngineKey,
    input_name: str,
    open_on: Open,
    reference: Callable[[], Session],
) -> Engine:
    """Find the engine, or build it, compare its mask with the reference's and keep it.

    Args:
        path: the `.onnx` file.
        record: what was asked for.
        key: from `resolve`.
        input_name: from `resolve`.
        open_on: opens a session; building happens inside it, or in its first run.
        reference: opens a session on the CPU, for an engine that was built just now.

    Raises:
        ProviderError: the engine's mask is too far from the reference's, or it can't be kept.
    """
    root = record.cache or engine_cache.default_root()
    if kept := engine_cache.find(root, key):
        directory, profile = kept
        return Engine(replace(record, profile=profile), directory, input_name)
    record = replace(record, profile=key.profile)
    with engine_cache.building(root, key) as directory:
        feed = {input_name: sample_image(key.profile.best)}
        with ticking(_what(path, key), "this takes minutes, once"):
            output = _first_run(lambda: open_on(record, directory, input_name), feed)
        (expected, *_) = reference().run(None, feed)
        parity = compare(output, expected)
        check(
            parity,
            FP16 if record.fp16 else FP32,
            key.profile.best[1:],
            whose="the engine's",
            instead="fp32" if record.fp16 else "--provider cuda",
        )
        if not any(directory.glob("*.engine")):
            raise ProviderError("TensorRT built no engine: it took no part of the graph")
        return Engine(record, engine_cache.finish(directory, key, parity), input_name)


def _first_run(opened: Callable[[], Session], feed: dict[str, NDArray[np.float32]]) -> Any:
    """The output of a session that builds while it opens, or in this run."""
    try:
        return opened().run(None, feed)[0]
    except onnxruntime_errors(RuntimeError) as error:
        raise ProviderError(f"TensorRT failed to build: {first_line(error)}") from error


def _what(path: Path, key: EngineKey) -> str:
    precision = "fp16" if key.fp16 else "fp32"
    return (
        f"building a TensorRT engine of {path.name} for {key.gpu} in {precision}, "
        f"{describe(key.profile)}"
    )


def _input_name(model: OnnxFile) -> str:
    if len(model.inputs) != 1:
        names = ", ".join(port.name for port in model.inputs)
        raise ProviderError(f"a profile is made for one image input, and this graph has {names}")
    return model.inputs[0].name
