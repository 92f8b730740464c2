"""Providers by name: opened, looked at, and compared with the CPU once on a machine."""

import dataclasses
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models import cache_root
from birefnet_models.base.errors import CacheError
from birefnet_models.base.files import replacing
from birefnet_models.base.hashes import record_name
from birefnet_models.base.text import first_line, format_size
from numpy.typing import NDArray

from ..errors import ModelError, ProviderError
from ..machine import read_processor
from ..model.locate import ModelFile
from ..model.metadata import concrete_sizes, model_facts, read_metadata, read_properties
from ..model.signature import OutputKind, Signature, read_signature
from ..model.size import Size
from ..stderr import ticking
from .availability import Build
from .ort_errors import onnxruntime_errors, reason_of
from .ort_session import OpenSession
from .plugins import plugin_of
from .providers import EXECUTION_PROVIDER, Named, execution_provider

# Whether a provider answers as the CPU does: on one image, when it first runs a model here.


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a mask may be from the CPU's, in [0, 1]. Far above rounding, and far below what a
    wrong kernel or an overflow does; not yet tuned on hardware."""

    largest: float
    mean: float


FP32 = Tolerance(largest=0.05, mean=0.001)  # TensorRT multiplies in TF32
FP16 = Tolerance(largest=0.2, mean=0.005)


def compare(output: Any, expected: Any, kind: OutputKind = "logits") -> dict[str, float]:
    """Differences of masks: `largest` and `mean`; NaN where one holds NaN.

    Args:
        output: of the provider, an array of any shape.
        expected: the CPU's, of the same shape.
        kind: what both hold.
    """
    difference = np.abs(_mask(output, kind) - _mask(expected, kind))
    return {"largest": float(difference.max()), "mean": float(difference.mean())}


def check(
    parity: dict[str, float],
    tolerance: Tolerance,
    size: tuple[int, int],
    *,
    whose: str,
    instead: str,
) -> None:
    """Refuse masks that aren't the CPU's.

    Args:
        parity: from `compare`.
        tolerance: what is allowed.
        size: (height, width) at which both ran.
        whose: who made the mask, with an apostrophe.
        instead: what else can be tried.

    Raises:
        ProviderError: beyond the tolerance, or not a number.
    """
    if parity["largest"] <= tolerance.largest and parity["mean"] <= tolerance.mean:
        return
    raise ProviderError(
        f"{whose} mask differs from the CPU's by {parity['largest']:.2g} at most and "
        f"{parity['mean']:.2g} on average, at {format_size(size)}; "
        f"{tolerance.largest:g} and {tolerance.mean:g} are allowed, so it is not used; "
        f"try {instead}"
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


def _mask(answer: Any, kind: OutputKind) -> NDArray[np.float64]:
    values = np.asarray(answer, np.float64)
    if kind == "logits":
        return np.tanh(values / 2) / 2 + 0.5
    return values / 255 if kind == "alpha" else values


NOTHING = "it took no node of this graph, so all would run on the CPU"
_CPU = EXECUTION_PROVIDER["cpu"]
FORMAT = 1
"""Raised when a passed comparison should count no longer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """All that the answer of a provider depends on, as far as it can be asked."""

    graph: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    provider: str
    options: Mapping[str, str]
    dimensions: Mapping[str, int]
    """What the graph is fixed at."""
    onnxruntime: str
    """Wheel and version, and those of the provider's own wheel."""
    devices: tuple[str, ...]
    """Of the provider, as ONNX Runtime describes them; it lists none of some providers."""
    machine: tuple[str, str]
    """Operating system and processor."""
    format: int = FORMAT

    @property
    def file(self) -> Path:
        """Where it is noted that the comparison was passed.

        Raises:
            CacheError: there is no directory for caches.
        """
        return cache_root() / "compared" / f"{record_name(self)}.json"


def fixed_dimensions(
    model: ModelFile, record: Named, sizes: Sequence[Size], batch: int
) -> dict[str, int]:
    """What the dynamic dimensions of a graph are to be fixed at, by their names; none where the
    record leaves them free or the file has none.

    Raises:
        ProviderError: several sizes are asked for, the file takes pixels, or a dimension has no
            name.
        OnnxFileError: the file can't be read.
        SizeError: the network can't run at the size.
    """
    if not record.fixed:
        return {}
    graph = model.graph
    if [(len(port.shape or ()), port.dtype == "uint8") for port in graph.inputs] != [(4, False)]:
        raise ProviderError(
            f"{record.name}:fixed is for the network's own input, and this file takes another; "
            "use the model.onnx beside it"
        )
    metadata = read_metadata(graph.properties)
    asked = {size for each in sizes or [None] for size in concrete_sizes(each, metadata)}
    if len(asked) > 1:
        raise ProviderError(f"{record.name}:fixed runs at one size; give --size N or HxW")
    (height, width) = asked.pop()
    lengths = dict(zip(graph.inputs[0].shape or (), (batch, 3, height, width), strict=True))
    if "?" in lengths:
        raise ProviderError(
            f"{model.path.name} has dimensions without a name, which can't be fixed"
        )
    return {name: length for name, length in lengths.items() if isinstance(name, str)}


def approve(
    model: ModelFile,
    opened: OpenSession,
    dimensions: Mapping[str, int],
    sizes: Sequence[Size],
    build: Build,
    reference: Callable[[], OpenSession],
) -> None:
    """Refuse a provider that does nothing, or whose masks aren't the CPU's.

    It is compared when it first opens a model on this machine; passing is noted in the cache of
    birefnet-ort. Where nothing can be written there, it is compared each time.

    Args:
        model: the file.
        opened: the session on the provider, which is a named one.
        dimensions: what the graph was fixed at.
        sizes: what it will be run at; compared is at the first, else at the trained one.
        build: the installed ONNX Runtime.
        reference: opens a session on the CPU.

    Raises:
        ProviderError: it took no node of the graph, its run fails, or its mask is too far off.
        ModelError: the model fails on the CPU, too.
    """
    record = opened.info.provider
    assert isinstance(record, Named)
    if does_nothing(opened, reference):
        raise ProviderError(NOTHING)
    name, plugin = execution_provider(record.name) or record.name, plugin_of(record.name)
    passed = Passed(
        graph=model.sha256,
        provider=name,
        options=record.options,
        dimensions=dimensions,
        onnxruntime=f"{build.package} {build.version}{plugin.version if plugin else ''}",
        devices=_devices(name),
        machine=(platform.platform(), read_processor().model),
    )
    if _is_noted(passed):
        return
    parity, size = _compare(model, opened, sizes, reference)
    check(parity, FP16, size, whose=f"{record.name}'s", instead="--provider cpu")
    _note(passed, parity)


def _compare(
    model: ModelFile,
    opened: OpenSession,
    sizes: Sequence[Size],
    reference: Callable[[], OpenSession],
) -> tuple[dict[str, float], tuple[int, int]]:
    """How far the provider's mask is from the CPU's, and the (height, width) of both."""
    signature = read_signature(opened)
    metadata = model_facts(read_properties(opened, model), signature, model)
    size = signature.size or concrete_sizes(next(iter(sizes), None), metadata)[0]
    tensor = _sample(signature, size)
    with ticking(
        f"comparing {opened.info.provider.name}'s mask of {model.path.name} with the CPU's"
    ):
        try:
            answer = signature.run(opened, tensor)
        except onnxruntime_errors(RuntimeError, ValueError) as error:
            raise ProviderError(f"it fails to run {model.path.name}: {reason_of(error)}") from error
        try:
            expected = signature.run(reference(), tensor)
        except onnxruntime_errors(RuntimeError) as error:
            raise ModelError(
                f"{model.path}: ONNX Runtime can't run it: {first_line(error)}"
            ) from error
    if answer.shape != expected.shape:
        raise ProviderError(f"it answers {answer.shape} where the CPU answers {expected.shape}")
    return compare(answer, expected, metadata.output), size


def does_nothing(opened: OpenSession, reference: Callable[[], OpenSession]) -> bool:
    """Whether all nodes of the graph stayed on the CPU; False where ONNX Runtime can't tell.

    That a provider is listed with no node is not enough: of what WebGPU takes, ONNX Runtime 1.27
    lists a part. So the CPU's nodes are counted, in a session on the CPU alone, too.
    """
    name, placement = opened.info.provider.name, opened.info.placement
    if placement is None or placement.nodes(execution_provider(name) or name):
        return False
    alone = reference().info.placement
    return alone is not None and placement.nodes(_CPU) >= alone.nodes(_CPU)


def _sample(signature: Signature, size: tuple[int, int]) -> NDArray[Any]:
    """One image as the graph takes it: normalized, or as uint8 pixels."""
    tensor = sample_image((signature.batch or 1, *size))
    if not signature.takes_pixels:
        return tensor
    return np.asarray((tensor * 50 + 120).clip(0, 255).transpose(0, 2, 3, 1), np.uint8)


def _devices(execution_provider: str) -> tuple[str, ...]:
    """What ONNX Runtime says of the devices that a provider lists."""
    import onnxruntime

    ask = getattr(onnxruntime, "get_ep_devices", None)  # since 1.23
    found = [] if ask is None else ask()
    return tuple(
        f"{each.device.type.name} {each.device.vendor} {each.device.device_id} "
        f"{sorted(each.device.metadata.items())} {sorted(each.ep_metadata.items())}"
        for each in found
        if each.ep_name == execution_provider
    )


def _is_noted(passed: Passed) -> bool:
    try:
        noted = json.loads(passed.file.read_text(encoding="utf-8"))
    except (CacheError, OSError, ValueError):
        return False
    wanted = json.loads(json.dumps(dataclasses.asdict(passed)))
    return isinstance(noted, dict) and noted.get("of") == wanted


def _note(passed: Passed, parity: Mapping[str, float]) -> None:
    """Note it where that is possible: a folder that can't be written costs the next comparison."""
    text = json.dumps({"of": dataclasses.asdict(passed), "parity": dict(parity)}, indent=2)
    try:
        passed.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(passed.file) as file:
            file.write_text(text + "\n", encoding="utf-8")
    except (CacheError, OSError):
        return
