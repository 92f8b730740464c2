"""TensorRT: a model's engine is found, or built and compared with the CPU before it is used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.onnx_file import OnnxFile, read_onnx
from birefnet_models.remembered import graph_sha256
from birefnet_models.text import first_line
from numpy.typing import NDArray

from ...errors import ProviderError
from ...model.input_size import Size
from ...model.metadata import read_metadata
from ...model.signature import Session
from ..ort_errors import onnxruntime_errors
from ..parity import FP16, FP32, check, compare, sample_image, ticking
from ..providers.options import TensorRT
from ..providers.ort_build import Build
from ..providers.shared_libraries import installed_versions
from . import engine_cache
from .cuda_device import read_device
from .engine_cache import EngineKey
from .optimization_profile import derive_profile, describe

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
    path: Path, record: TensorRT, build: Build, sizes: Sequence[Size], batch: int
) -> tuple[EngineKey, str]:
    """The key of the engine that a model needs here, and the name of the graph's input.

    Raises:
        ProviderError: the GPU or TensorRT doesn't answer.
        OnnxFileError: the file can't be read.
        SizeError: the network can't run at one of the sizes.
    """
    model = read_onnx(path)
    metadata = read_metadata(model.properties)
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
        graph=graph_sha256(path),
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
    return key, _input_name(model)


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
