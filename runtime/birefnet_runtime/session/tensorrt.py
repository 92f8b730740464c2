"""TensorRT: a model's engine is found, or built and compared with the CPU before it is used."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from birefnet_models.base.onnx_file import OnnxFile
from birefnet_models.base.store import Entry, Store, as_json

from ..errors import ProviderError, WrongAnswerError
from ..model.locate import ModelFile
from ..model.metadata import ModelMetadata, concrete_sizes, read_metadata
from ..model.size import Size
from ..stderr import ticking
from .acceptance import accept, acceptance_key, examine, note
from .availability import Build, installed_versions
from .judge import check_machine
from .ort_session import OpenSession
from .providers import Profile, TensorRT, covers, describe_profile

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


ENGINE_FORMAT = 2
"""Of an engine's folder; raised when what is in it changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that an engine depends on."""

    graph: str
    """sha256 of the `.onnx` file and the weights beside it, and of weights in files that are called
    otherwise."""
    gpu: str
    compute_capability: str
    tensorrt: str
    onnxruntime: str
    cuda: str
    fp16: bool
    optimization_level: int
    workspace_bytes: int | None
    profile: Profile
    format: int = ENGINE_FORMAT


def engines(root: Path | None = None) -> Store:
    """Where engines are kept: `tensorrt` in the cache, or another folder."""
    # Beside an engine lies TensorRT's timing cache, which it may write to at any time.
    return Store(root or "tensorrt", stamped=False, lasting="*.engine")


def find_engine(store: Store, key: EngineKey) -> tuple[Path, Profile] | None:
    """A complete engine for this key, or one that differs only in a wider profile."""
    exact = store.find(key)
    wanted = {**as_json(key), "profile": None}
    for entry in (*([exact] if exact else ()), *store.entries()):
        if {**entry.key, "profile": None} == wanted:
            shapes = {name: tuple(shape) for name, shape in entry.key["profile"].items()}
            if covers(profile := Profile(**shapes), key.profile):
                return entry.folder, profile
    return None


Open = Callable[[TensorRT, Path, str, "Rebuilt | None"], OpenSession]
"""Opens a session on a record whose profile is set, with its engine in this directory, for the
graph's input of this name, and with what builds the engine anew if it fails."""


@dataclass(slots=True)
class Rebuilt:
    """An engine that was kept, to be built anew once if it fails or answers wrong.

    The new one takes the other's place only after it was compared with the CPU.
    """

    build: Callable[[], object]
    start: Callable[[], Any]
    """Opens ONNX Runtime's session on what lies in the store."""
    built: bool = False
    """Or tried to."""

    def is_used(self) -> bool:
        """Whether what was opened last is the engine that was kept."""
        return not self.built

    def open(self) -> Any:
        """Build it anew, if it wasn't yet, and open that.

        Raises:
            ProviderError: TensorRT fails, or what it built answers wrong.
        """
        if not self.built:
            self.built = True
            self.build()
        return self.start()

    def discard(self, why: str) -> None:
        """Nothing: the new engine has taken its place."""


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
    versions = installed_versions()
    if record.fp16 and str(versions.tensorrt).startswith(("11.", "12.")):
        raise ProviderError(
            f"TensorRT {versions.tensorrt} computes in the types that the graph has, so fp16 asks "
            "for nothing: export with --precision fp16, and ask for tensorrt alone"
        )
    device = read_device(record.device_id)
    if device is None:
        raise ProviderError(f"the driver knows no CUDA device {record.device_id}")
    profile = record.profile or derive_profile(metadata, sizes, batch)
    folder, own = model.path.parent, model.path.name
    others = [name for name in model.graph.external_files if not name.startswith(own)]
    key = EngineKey(
        graph=" ".join([model.sha256, *(model.sha256_of(folder / name) for name in others)]),
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


def build_engine(
    model: ModelFile,
    record: TensorRT,
    key: EngineKey,
    input_name: str,
    open_on: Open,
    reference: Callable[[], OpenSession],
    *,
    anew: bool = False,
) -> Entry:
    """Build an engine, compare its mask with the CPU's, and keep it.

    Args:
        model: the file.
        record: what was asked for.
        key: from `resolve`.
        input_name: from `resolve`.
        open_on: opens a session; building happens inside it, or in its first run.
        reference: opens a session on the CPU.
        anew: build it in place of one that is kept.

    Raises:
        ProviderError: the engine's mask is too far from the CPU's, or it can't be kept.
    """
    store, record = engines(record.cache), replace(record, profile=key.profile)

    def build(directory: Path) -> dict[str, Any]:
        with ticking(_what(model.path, key), "this takes minutes, once"):
            parity = examine(model, open_on(record, directory, input_name, None), reference)
        if not any(directory.glob("*.engine")):
            raise ProviderError("TensorRT built no engine: it took no part of the graph")
        return {"parity": parity}

    check_machine()
    try:
        return store.make(key, build, anew=anew)
    except WrongAnswerError:
        store.discard(key)  # what was to be replaced did no better
        raise
    except OSError as error:
        raise ProviderError(
            f"{store.root}: engines can't be kept there: {error.strerror}"
        ) from error


def open_engine(
    model: ModelFile,
    record: TensorRT,
    build: Build,
    asked: tuple[EngineKey, str],
    open_on: Open,
    reference: Callable[[], OpenSession],
) -> OpenSession:
    """A session on the engine that is kept, or on one that is built. One that was kept and can't be
    opened, fails to run or answers wrong is built anew, once.

    Args:
        model: the file.
        record: what was asked for.
        build: the installed ONNX Runtime.
        asked: from `resolve`.
        open_on: as `build_engine` takes it.
        reference: opens a session on the CPU.

    Raises:
        ProviderError: as `build_engine`, or the engine that was built can't be opened.
    """
    key, name = asked
    kept = find_engine(engines(record.cache), key)
    if kept is not None:
        key = replace(key, profile=kept[1])
    record = replace(record, profile=key.profile)
    make = partial(build_engine, model, record, key, name, open_on, reference)
    if kept is not None:
        rebuilt = Rebuilt(partial(make, anew=True), lambda: None)
        try:
            opened = open_on(record, kept[0], name, rebuilt)
        except ProviderError:
            engines(record.cache).discard(key)
        else:
            accept(model, opened, build, reference)
            return opened
    entry = make()
    opened = open_on(record, entry.folder, name, None)
    note(model, acceptance_key(model, opened, build), entry.facts["parity"])
    return opened


def _what(path: Path, key: EngineKey) -> str:
    precision = "fp16" if key.fp16 else "fp32"
    return (
        f"building a TensorRT engine of {path.name} for {key.gpu} in {precision}, "
        f"{describe_profile(key.profile)}"
    )


def _input_name(model: OnnxFile) -> str:
    if len(model.inputs) != 1:
        names = ", ".join(port.name for port in model.inputs)
        raise ProviderError(f"a profile is made for one image input, and this graph has {names}")
    return model.inputs[0].name
