"""TensorRT: a model's engine is found, or built and compared with the CPU before it is used."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.onnx_file import OnnxFile, read_onnx
from birefnet_models.remembered import graph_sha256
from birefnet_models.text import first_line, format_seconds, format_size
from numpy.typing import NDArray

from ...errors import ProviderError
from ...model.input_size import Size
from ...model.metadata import read_metadata
from ...model.signature import Session
from ..ort_errors import onnxruntime_errors, say
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
class Tolerance:
    """How far an engine's mask may be from the CPU's, in [0, 1]. Far above rounding, and far below
    what a wrong kernel or an overflow does; not yet tuned on hardware."""

    largest: float
    mean: float


FP32 = Tolerance(largest=0.05, mean=0.001)  # TensorRT multiplies in TF32
FP16 = Tolerance(largest=0.2, mean=0.005)


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
        with ticking(_what(path, key)):
            output = _first_run(lambda: open_on(record, directory, input_name), feed)
        (expected, *_) = reference().run(None, feed)
        parity = compare(output, expected)
        check(parity, FP16 if record.fp16 else FP32, key)
        if not any(directory.glob("*.engine")):
            raise ProviderError("TensorRT built no engine: it took no part of the graph")
        return Engine(record, engine_cache.finish(directory, key, parity), input_name)


def _first_run(opened: Callable[[], Session], feed: dict[str, NDArray[np.float32]]) -> Any:
    """The output of a session that builds while it opens, or in this run."""
    try:
        return opened().run(None, feed)[0]
    except onnxruntime_errors(RuntimeError) as error:
        raise ProviderError(f"TensorRT failed to build: {first_line(error)}") from error


def compare(output: Any, expected: Any) -> dict[str, float]:
    """Differences of masks: `largest` and `mean`; NaN where one holds NaN."""
    difference = np.abs(_mask(output) - _mask(expected))
    return {"largest": float(difference.max()), "mean": float(difference.mean())}


def check(parity: dict[str, float], tolerance: Tolerance, key: EngineKey) -> None:
    """Refuse an engine whose mask isn't the CPU's.

    Raises:
        ProviderError: beyond the tolerance, or not a number; says what else can be tried.
    """
    if parity["largest"] <= tolerance.largest and parity["mean"] <= tolerance.mean:
        return
    other = "fp32" if key.fp16 else "--provider cuda"
    raise ProviderError(
        f"the engine's mask differs from the CPU's by {parity['largest']:.2g} at most and "
        f"{parity['mean']:.2g} on average, at {format_size(key.profile.best[1:])}; "
        f"{tolerance.largest:g} and {tolerance.mean:g} are allowed, so it is not used; try {other}"
    )


def sample_image(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """A bright disc on a dark ground under noise, the same each time.

    Args:
        shape: (batch, height, width).

    Returns:
        float32 (batch, 3, height, width), normalized RGB.
    """
    batch, height, width = shape
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    disc = np.where(np.hypot(y, x) < 0.6, 2.0, -1.5)
    noise = np.random.default_rng(0).standard_normal((batch, 3, height, width))
    return np.asarray(disc + 0.1 * noise, np.float32)


@contextmanager
def ticking(what: str, every_s: float = 10.0) -> Iterator[None]:
    """Say `what` on stderr now, and how long it has taken every so often until the block ends."""
    started, done = time.monotonic(), threading.Event()

    def tick(how: str = "") -> None:
        say(f"birefnet: {what}: {how}{format_seconds(time.monotonic() - started)}")

    def keep_ticking() -> None:
        while not done.wait(every_s):
            tick()

    say(f"birefnet: {what}; this takes minutes, once")
    ticker = threading.Thread(target=keep_ticking, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    tick("took ")


def _what(path: Path, key: EngineKey) -> str:
    precision = "fp16" if key.fp16 else "fp32"
    return (
        f"building a TensorRT engine of {path.name} for {key.gpu} in {precision}, "
        f"{describe(key.profile)}"
    )


def _mask(logits: Any) -> NDArray[np.float64]:
    return np.tanh(np.asarray(logits, np.float64) / 2) / 2 + 0.5


def _input_name(model: OnnxFile) -> str:
    if len(model.inputs) != 1:
        names = ", ".join(port.name for port in model.inputs)
        raise ProviderError(f"a profile is made for one image input, and this graph has {names}")
    return model.inputs[0].name
