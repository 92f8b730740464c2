"""Whether a session answers right, found out once on a machine: before a mask is made of it.

A file that carries a known answer is asked for it. Of another file what a provider answers is
compared with the CPU. Both go through the steps that pictures go through; NumPy and OpenCV are
asked for sums whose results are known, too. That it was right is noted in the cache, by all that
the answer depends on; what was wrong is asked again each time.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
from birefnet_models.base.errors import CacheError
from birefnet_models.base.hashes import stamp_of
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.store import Store

from ..errors import ModelError, ProviderError, WrongAnswerError
from ..machine import read_driver, read_processor
from ..model.known_answer import SIZE, Answer, Difference, Tolerance
from ..model.locate import ModelFile
from ..model.metadata import (
    concrete_sizes,
    read_metadata,
)
from ..model.size import Size
from ..stderr import ticking
from .availability import Build
from .judge import BY_CPU, Asked, advice, check, check_machine, coarser, versions
from .ort_errors import onnxruntime_errors, reason_of
from .ort_options import SessionPlan
from .ort_session import OpenSession
from .plugins import Plugin, plugin_of
from .providers import EXECUTION_PROVIDER, Cpu, Named, Provider, TensorRT, execution_provider

ACCEPTED = Store("accepted", limit_bytes=4 << 20)
VERDICT_FORMAT = 1
"""Raised when an answer that was right should be asked for again."""
NO_NODE_TAKEN = "it took no node of this graph, so all would run on the CPU"
_CPU = EXECUTION_PROVIDER["cpu"]

OF_RUNS = {
    "intra_op_num_threads", "inter_op_num_threads", "enable_mem_pattern", "enable_cpu_mem_arena",
    "session.intra_op.allow_spinning", "session.use_env_allocators",
    "session.record_ep_graph_assignment_info",
}  # fmt: skip
"""Settings of a session that no optimization looks at."""
_VARIABLES = (
    *("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES"),
    *("OPENCV_CPU_DISABLE", "OPENCV_IPP", "KMP_AFFINITY_DISABLE_SSE"),
)
"""Of the environment, those that choose kernels of NumPy and OpenCV."""


def settings_of(plan: SessionPlan) -> dict[str, object]:
    """What of a plan changes how a graph is optimized."""
    every = {**plan.entries, **plan.attributes}
    return {name: value for name, value in every.items() if name not in OF_RUNS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceKey:
    """All that an answer depends on, as far as it can be asked."""

    model: str
    """sha256 of the `.onnx` file and of the weights beside it."""
    provider: str
    options: Mapping[str, object]
    """The provider's, and those of the session that change how the graph is optimized."""
    dimensions: Mapping[str, int]
    """What the graph is fixed at."""
    onnxruntime: str
    """Wheel, version and build, and the version of the provider's own wheel."""
    devices: tuple[str, ...]
    """Of the provider, as ONNX Runtime describes them; it lists none of some providers."""
    machine: Mapping[str, str]
    """Processor, operating system, and the libraries between picture and network."""
    engines: tuple[str, ...] = ()
    """TensorRT's, by size and time of their files."""
    format: int = VERDICT_FORMAT


def machine_facts() -> dict[str, str]:
    """What kernels of this machine depend on."""
    blas = np.__config__.CONFIG.get("Build Dependencies", {}).get("blas", {})
    system = os.uname() if hasattr(os, "uname") else platform.uname()
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return {
        "processor": read_processor().key,
        "system": f"{system[0]} {system[2]}",
        "numpy": f"{np.__version__} {blas.get('name')} {blas.get('openblas configuration')}",
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "variables": str(variables),
    }


def accept(
    model: ModelFile,
    opened: OpenSession,
    build: Build,
    reference: Callable[[], OpenSession],
    size: Size = None,
) -> None:
    """Refuse a session that answers wrong, unless it is noted that it answered right here.

    A compiled form or engine that answers wrong is discarded, and what it was made of opened.

    Args:
        model: the file.
        opened: the session on the provider.
        build: the installed ONNX Runtime.
        reference: opens a session on the CPU, to compare with where the file has no known answer.
        size: what it will be run at, where it is compared with the CPU.

    Raises:
        WrongAnswerError: its answer is wrong, or NumPy's or OpenCV's are.
        ProviderError: it took no node of the graph, or fails to run it.
        ModelError: the model fails on the CPU, or its answer is not a mask.
    """
    provider = opened.info.provider
    if isinstance(provider, Named) and does_nothing(opened, reference):
        raise ProviderError(NO_NODE_TAKEN)
    key = acceptance_key(model, opened, build)
    try:
        if ACCEPTED.find(key) is not None:
            return
    except (CacheError, OSError):
        pass
    check_machine()
    again = partial(examine, model, opened, reference, size)
    try:
        parity = again()
    except (ProviderError, ModelError) as error:
        parity = opened.on_the_graph(again, error)
    note(model, key, parity)


def note(model: ModelFile, key: AcceptanceKey, parity: Mapping[str, Difference]) -> None:
    """Remember that a session answered right, where that can be written."""
    with suppress(CacheError, OSError):
        ACCEPTED.note(key, {"model": str(model.path.absolute()), "parity": parity})


def acceptance_key(model: ModelFile, opened: OpenSession, build: Build) -> AcceptanceKey:
    """The key of what a session answers, in this environment."""
    import onnxruntime

    provider, plan = opened.info.provider, opened.plan
    name = plan.providers[0][0]
    plugin = plugin_of(KERNELS if name == EXECUTION_PROVIDER[KERNELS] else provider.name)
    own = plugin.version if plugin else ""
    info = onnxruntime.get_build_info()
    folder = dict(plan.providers[0][1]).get("trt_engine_cache_path")
    return AcceptanceKey(
        model=model.sha256,
        provider=name,
        options={**dict(plan.providers[0][1]), **settings_of(plan)},
        dimensions=plan.dimensions,
        onnxruntime=f"{build.package} {build.version} {own} {info}",
        devices=_devices(name),
        # To ask the CPU costs less than a tenth of a second, others minutes.
        machine=machine_facts() | ({"start": _boot()} if isinstance(provider, Cpu) else {}),
        engines=_stamps(Path(folder)) if folder else (),
    )


def examine(
    model: ModelFile,
    opened: OpenSession,
    reference: Callable[[], OpenSession],
    size: Size = None,
) -> dict[str, Difference]:
    """Ask a session, and say by how much its answer is off; TensorRT's engines at the shape that
    they are best at.

    Of a file without a known answer nothing is known of the CPU's own: it isn't asked.

    Raises:
        WrongAnswerError, ProviderError, ModelError: as `accept`.
    """
    provider, asked = opened.info.provider, Asked.of(opened, model)
    known = asked.known
    plain = isinstance(provider, Cpu) and not (provider.bf16 or _has_kernels(provider))
    if known is None and plain:
        return {}
    profile = provider.profile if isinstance(provider, TensorRT) else None
    if known is not None and not opened.plan.dimensions and not profile:
        answer = _asked(asked, provider, model, partial(asked.answer, known.size, known.pictures))
        off, tolerance = known.off(answer), _allowed(provider, model, known.tolerance)
        whose, at = "the answer that the file carries", known.size
    else:
        at, number = asked.signature.size or SIZE, asked.signature.batch
        if isinstance(provider, Named):
            at = asked.signature.size or concrete_sizes(size, asked.metadata)[0]
        if profile:
            number, at = profile.best[0], profile.best[1:]
        what = f"comparing {provider.name}'s mask of {model.path.name} with the CPU's"
        with ticking(what):
            answer = _asked(asked, provider, model, partial(asked.sample, at, number))
            alone = Asked.of(reference(), model)
            expected = _asked(alone, Cpu(), model, partial(alone.sample, at, number))
        off, whose = answer.off(expected), "the CPU's"
        tolerance = _allowed(provider, model, BY_CPU)
    check(off, tolerance, f"{provider.name}'s mask of {model.path}", whose, at, provider)
    return off


def _asked(
    asked: Asked, provider: Provider, model: ModelFile, answer: Callable[[], Answer]
) -> Answer:
    """An answer; a run that fails is the provider's error, and on the CPU the model's.

    What can't be a mask is the provider's error, too, where the file says what is right.
    """
    try:
        with np.errstate(all="ignore"):
            return answer()
    except ModelError as error:
        if isinstance(provider, Cpu) and asked.known is None:
            raise ModelError(f"{model.path}: {error}") from error
        raise WrongAnswerError(
            f"{provider.name}'s mask of {model.path} is wrong: {error}, so it is not used; "
            f"{versions()}; try {advice(provider)}"
        ) from error
    except onnxruntime_errors(RuntimeError, ValueError) as error:
        if isinstance(provider, Cpu):
            reason = reason_of(error)
            raise ModelError(f"{model.path}: ONNX Runtime can't run it: {reason}") from error
        raise ProviderError(f"it fails to run {model.path.name}: {reason_of(error)}") from error


def _has_kernels(provider: Provider) -> bool:
    return isinstance(provider, Cpu) and provider.kernels == "on"


def _allowed(
    provider: Provider, model: ModelFile, tolerance: Mapping[str, Tolerance]
) -> Mapping[str, Tolerance]:
    """What an answer may differ by: our kernels compute more of an int8 file in int8."""
    if (
        _has_kernels(provider)
        and model.graph.properties.get(f"{METADATA_PREFIX}precision") == "int8"
    ):
        return coarser(Cpu(bf16=True), tolerance)
    return coarser(provider, tolerance)


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
        name = model.path.name
        raise ProviderError(f"{name} has dimensions without a name, which can't be fixed")
    return {name: length for name, length in lengths.items() if isinstance(name, str)}


def _stamps(folder: Path) -> tuple[str, ...]:
    return tuple(str(stamp_of(file)[:2]) for file in sorted(folder.glob("*.engine")))


def _devices(execution_provider: str) -> tuple[str, ...]:
    """What ONNX Runtime says of the devices that a provider lists, and NVIDIA's driver of its."""
    import onnxruntime

    if execution_provider in (EXECUTION_PROVIDER["cuda"], EXECUTION_PROVIDER["tensorrt"]):
        driver = read_driver()
        return (f"{driver.version} {driver.gpus}",) if driver else ()
    ask = getattr(onnxruntime, "get_ep_devices", None)  # since 1.23
    found = [] if ask is None or execution_provider == _CPU else ask()
    return tuple(
        f"{each.device.type.name} {each.device.vendor} {each.device.device_id} "
        f"{sorted(each.device.metadata.items())} {sorted(each.ep_metadata.items())}"
        for each in found
        if each.ep_name == execution_provider
    )


def _boot(file: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """What tells this machine from others, also for containers that share a cache: its last start;
    empty where the system doesn't say."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


# Our own DeformConv on the CPU, where `birefnet-ort-kernels` is installed: is it faster here?
#
# Asked once for each model on a machine, of one session after the other, so that no more memory is
# held than for one. A crash can't be caught; the wheel checks sizes and types before it touches a
# tensor.

KERNELS = "birefnet"
KERNEL_RUNS = 3
"""With each, after one that isn't timed; the fastest counts."""
KERNEL_NOISE = 1.05
"""How much longer they may take: one session runs after the other."""
VERDICTS = Store("kernels", limit_bytes=4 << 20)
Opener = Callable[[Cpu], OpenSession]


def open_with_kernels(
    model: ModelFile, cpu: Cpu, threads: int, build: Build, opening: Opener
) -> OpenSession:
    """A session on the CPU, with the kernels that are installed if they are right and faster.

    Args:
        model: the file.
        cpu: what is asked for.
        threads: for one operator.
        build: the installed ONNX Runtime.
        opening: opens a session with the kernels "on" or "off", and accepts it.

    Raises:
        ModelError: the model can't be loaded, or fails without the kernels, too.
        WrongAnswerError: its answer is wrong without them, too.
    """
    on, off = replace(cpu, kernels="on"), replace(cpu, kernels="off")
    key = _verdict_key(model, threads, build, plugin_of(KERNELS))
    noted = None
    with suppress(CacheError, OSError):
        noted = VERDICTS.find(key)
    opened, why = None, noted.facts["why_not"] if noted else None
    try:
        if noted is None:
            opened, why = _faster(model, opening(off), lambda: opening(on))
        elif why is None:
            return opening(on)
    except (ModelError, ProviderError) as error:  # wrong, or they fail
        opened, why = None, str(error)
    with suppress(CacheError, OSError):
        VERDICTS.note(key, {"model": str(model.path.absolute()), "why_not": why})
    return opened or opening(off)


def deform_conv_kernel(model: ModelFile, threads: int, build: Build) -> str:
    """Whose kernel runs a file's DeformConv on this machine's CPU, as a first opening found."""
    plugin = plugin_of(KERNELS)
    if plugin is None:
        return "ONNX Runtime's own (birefnet-ort-kernels is not installed)"
    noted = None
    with suppress(CacheError, OSError):
        noted = VERDICTS.find(_verdict_key(model, threads, build, plugin))
    if noted is None:
        return f"not known yet: {plugin.wheel} is tried when the file is first opened"
    why_not = noted.facts["why_not"]
    wheel = plugin.version.strip()
    return f"ONNX Runtime's own; {wheel} was tried: {why_not}" if why_not else wheel


def _verdict_key(
    model: ModelFile, threads: int, build: Build, plugin: Plugin | None
) -> dict[str, Any]:
    return {
        "model": model.sha256,
        "onnxruntime": f"{build.package} {build.version}{plugin.version if plugin else ''}",
        "machine": machine_facts(),
        "threads": threads,
    }


def _faster(
    model: ModelFile, plain: OpenSession, with_kernels: Callable[[], OpenSession]
) -> tuple[OpenSession | None, str | None]:
    """The session with the kernels, or why there is none."""
    placement = plain.info.placement
    if placement and not any("DeformConv" in each for each in placement.operators.values()):
        return None, "it has no DeformConv"
    with ticking(f"trying birefnet-ort-kernels on {model.path.name}, once"):
        plain_s = _seconds(plain, model)
        del plain
        opened = with_kernels()
        if not opened.info.kernels:
            return None, "they take no node of it"
        kernels_s = _seconds(opened, model)
    if kernels_s > KERNEL_NOISE * plain_s:
        return None, f"they take {kernels_s / plain_s:.2f} of ONNX Runtime's own time"
    return opened, None


def _seconds(opened: OpenSession, model: ModelFile) -> float:
    """Of the fastest run, on all cores together: what else the machine does counts less there."""
    asked, times = Asked.of(opened, model), []
    for _ in range(1 + KERNEL_RUNS):
        started = time.process_time()
        asked.sample()
        times.append(time.process_time() - started)
    return min(times[1:])
