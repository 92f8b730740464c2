"""What can be asked of each execution provider: one frozen record a provider.

A field means the same wherever it appears. `ort_options` spells each for ONNX Runtime.
The defaults are ONNX Runtime's unless a comment says why not.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from birefnet_models.base.text import did_you_mean, format_size

from ..errors import ProviderError, SizeError
from .plugins import execution_provider_of, plugin_names, plugin_of

ArenaGrowth: TypeAlias = Literal["next-power-of-two", "same-as-requested"]
"""By how much an allocator grows when it runs out: doubling, or what the tensor needs."""

Order: TypeAlias = Literal["default", "priority"]
"""In which order nodes run. (MEMORY_EFFICIENT exists by name; inference builds refuse it.)"""

ConvSearch: TypeAlias = Literal["exhaustive", "heuristic", "default"]
"""How cuDNN chooses a convolution's algorithm, anew for each shape."""

Precision: TypeAlias = Literal["f32", "bf16", "f16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """ONNX Runtime's own kernels, in every build."""

    name: ClassVar[str] = "cpu"
    arena: ArenaGrowth | Literal["one-region", "off"] = "next-power-of-two"
    """`one-region` starts with half a GiB of address space and packs tensors tightly into it."""
    shrink_arena: bool = False
    """Give memory back to the system after each run."""
    memory_pattern: bool = False
    """One allocation planned per input shape. Off: shapes vary here, and each is kept."""
    prepack: bool = True
    """Copy weights into the layout that kernels like: faster, for a second copy of them."""
    order: Order = "default"
    spin: bool = True
    """Idle threads wait in a loop: faster for one image, a waste of cores between requests."""
    bf16: bool = False
    """Let products of float32 be computed in bfloat16: on Linux, on Arm processors that have it
    (Graviton 3). What it does there is unmeasured: docs/howto/arm.md."""
    kleidiai: bool = True
    """Use Arm's own kernels where they are: those of ONNX Runtime 1.27.0 are wrong with SME."""
    kernels: Literal["auto", "on", "off"] = "auto"
    """Our own DeformConv, of the wheel `birefnet-ort-kernels`. `auto`: where it is installed, and
    right and faster here."""
    by_name: bool = field(default=False, compare=False, repr=False)
    """It was asked for by its name, which may stand for other settings than these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuda:
    """NVIDIA GPUs through CUDA and cuDNN: the `gpu` extra."""

    name: ClassVar[str] = "cuda"
    device_id: int = 0
    memory_limit_bytes: int | None = None
    """Of the arena; cuDNN's workspaces come on top."""
    arena: ArenaGrowth = "next-power-of-two"
    # ONNX Runtime's default times every algorithm, at every new shape.
    conv_search: ConvSearch = "heuristic"
    conv_max_workspace: bool = True
    # ONNX Runtime's default rounds products to 10 bits, which no fp32 parity survives.
    tf32: bool = False
    prefer_nhwc: bool = False
    fuse_conv_bias: bool = False
    cuda_graph: bool = False
    """Record the launches of each shape once and replay them."""
    copy_in_default_stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The shapes that a TensorRT engine is built for, each (batch, height, width)."""

    smallest: tuple[int, int, int]
    best: tuple[int, int, int]
    largest: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRT:
    """NVIDIA GPUs through engines that are built for the GPU at hand, in minutes, and kept."""

    name: ClassVar[str] = "tensorrt"
    device_id: int = 0
    fp16: bool = False
    profile: Profile | None = None
    """None: derived from the model's metadata."""
    cache: Path | None = None
    """Where engines are kept; None: `tensorrt` in the user's cache directory of birefnet-ort."""
    workspace_bytes: int | None = None
    """None: TensorRT takes what its layers need, up to what the GPU has."""
    optimization_level: int = 3
    """0 to 5: how long the builder may search."""
    cuda_graph: bool = False
    detailed_log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVINO:
    """Intel processors through the plugin `onnxruntime-ep-openvino`: the `openvino` extra."""

    name: ClassVar[str] = "openvino"
    device: Literal["cpu", "gpu", "npu"] = "cpu"
    # OpenVINO's own default takes bf16 wherever the processor is faster in it.
    precision: Precision = "f32"
    threads: int | None = None
    """None: as many as the session."""
    cache: Path | None = None
    """A directory where compiled graphs are kept."""


@dataclass(frozen=True, slots=True)
class Named:
    """Any other execution provider: `Named("coreml", {"ModelFormat": "MLProgram"})`.

    What it answers is held against the CPU's on one image when it first opens on a machine.
    """

    name: str
    """As `birefnet doctor` shows it: `coreml`, `directml`, `webgpu`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """As the provider itself calls them."""
    fixed: bool = field(default=False, kw_only=True)
    """Hold the graph at one batch, height and width, as providers want it that know static shapes
    alone: the size asked for, else the trained one."""


Provider: TypeAlias = Cpu | Cuda | TensorRT | OpenVINO | Named

PROVIDER_RECORDS: dict[str, type[Cpu | Cuda | TensorRT | OpenVINO]] = {
    record.name: record for record in (Cpu, Cuda, TensorRT, OpenVINO)
}
"""Those with a record of their own."""


# Providers by name: what ONNX Runtime calls each, and which wheel has it.


_SUFFIX = "executionprovider"
_SILENT = frozenset({"azure"})
"""It computes elsewhere, by HTTP, and takes no node of ours: named in no list."""


@dataclass(frozen=True, slots=True)
class Known:
    """A provider that can be asked for by name, whether or not it is here."""

    execution_provider: str
    """ONNX Runtime's name."""
    install: str
    """What brings it, as the end of a sentence."""
    on_cpu: bool = False
    """It computes on the processor, so that nodes left to ONNX Runtime's own kernels cost no
    copy."""


def _instead(wheel: str) -> str:
    return f"replace it: pip uninstall -y onnxruntime && pip install {wheel}"


OTHERS = {
    "birefnet": Known(
        "BiRefNetExecutionProvider",
        "add birefnet-ort-kernels: in a clone, pip install ./runtime/birefnet_kernels",
        on_cpu=True,
    ),
    "coreml": Known("CoreMLExecutionProvider", "on a Mac, `onnxruntime` itself has it"),
    "directml": Known("DmlExecutionProvider", f"on Windows, {_instead('onnxruntime-directml')}"),
    "migraphx": Known(
        "MIGraphXExecutionProvider", f"with ROCm, {_instead('onnxruntime-migraphx')}"
    ),
    "qnn": Known("QNNExecutionProvider", "add it: pip install onnxruntime-qnn"),
    "webgpu": Known("WebGpuExecutionProvider", "add it: pip install onnxruntime-ep-webgpu"),
    "xnnpack": Known(
        "XnnpackExecutionProvider",
        "no wheel has it: build ONNX Runtime with --use_xnnpack",
        on_cpu=True,
    ),
}
"""Wheels and flags as ONNX Runtime's documentation has them."""

EXECUTION_PROVIDER = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
} | {name: known.execution_provider for name, known in OTHERS.items()}


def canonical(text: str) -> str:
    """A provider's name as it is shown: `CoreMLExecutionProvider` and `CoreML` as `coreml`."""
    return short_name(text.strip().lower().removesuffix(_SUFFIX))


def execution_provider(name: str) -> str | None:
    """ONNX Runtime's name of a provider; None if nothing of that name is known or installed.

    Raises:
        ProviderError: a wheel has this name and is damaged.
    """
    if name in EXECUTION_PROVIDER:
        return EXECUTION_PROVIDER[name]
    if listed := next((each for each in _listed() if short_name(each) == name), None):
        return listed
    plugin = plugin_of(name)
    return execution_provider_of(plugin) if plugin else None


def installed_others() -> list[str]:
    """Names of what the installed ONNX Runtime and wheels beside it bring without a record of its
    own, sorted."""
    names = {*map(short_name, _listed()), *plugin_names()}
    return sorted(names - set(PROVIDER_RECORDS) - _SILENT)


def unknown_provider(name: str) -> str:
    """The message that no provider has this name: the nearest one, and what there is, here and with
    another ONNX Runtime."""
    meant = "cuda" if name == "gpu" else name  # by its letters that would be cpu
    hint = did_you_mean(meant, ["auto", *PROVIDER_RECORDS, *OTHERS]) or ";"
    here = installed_others()
    parts = [f"auto, {', '.join(PROVIDER_RECORDS)}"]
    if here:
        parts.append(f"installed here, too: {', '.join(here)}")
    parts.append(f"with other wheels: {', '.join(each for each in OTHERS if each not in here)}")
    return f"no provider is called {name!r}{hint} there are: {'; '.join(parts)}"


def _listed() -> list[str]:
    """What ONNX Runtime lists; nothing where it isn't installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return []
    return list(onnxruntime.get_available_providers())


# From what a caller says to an ordered request for providers.


Providers: TypeAlias = str | Provider | Sequence[str | Provider]
"""`"cuda"`, `"cuda,cpu"`, `"tensorrt:fp16"`, `"coreml:ModelFormat=MLProgram"`, `"auto"`, a record,
or a sequence of these."""


class Requested(tuple[Provider, ...]):
    """What was asked for, parsed: the preferred first, each later one a fallback."""

    auto: bool = False
    """The choice was left to us: then a provider that isn't installed isn't missed."""


AUTO = "auto"
FIXED = "fixed"

WORDS: dict[str, dict[str, Any]] = {
    "cpu": {
        "bf16": {"bf16": True},
        "kernels": {"kernels": "on"},
        "nokleidiai": {"kleidiai": False},
        "plain": {"kernels": "off"},
    },
    "cuda": {"tf32": {"tf32": True}},
    "tensorrt": {"fp16": {"fp16": True}},
    "openvino": {word: {"precision": word} for word in ("f32", "bf16", "f16")},
}
"""What may stand behind a name and a colon, as fields of the record."""


def parse_providers(asked: Providers, cpu: Cpu | None = None) -> Requested:
    """The providers to try, the preferred first; each later one is a fallback.

    `cpu` is what the CPU's name stands for, instead of its record's defaults. What was parsed
    without it may be given again, with it.

    `auto` stands for CUDA, then the CPU: those whose masks agree to fp32 rounding and that need
    no preparation. All others are used when they are named. Behind a name and a colon there may be
    a device's number or a precision: `cuda:1`, `tensorrt:fp16`, `openvino:bf16`, `cpu:bf16`. Behind
    a provider that has no record of its own there may be `fixed` and its options, as it calls them:
    `coreml:fixed:ModelFormat=MLProgram,MLComputeUnits=ALL`.

    Raises:
        ProviderError: a name that is none, nothing asked for, or a provider twice.
    """
    names: Sequence[str | Provider]
    if isinstance(asked, str):
        names = split_providers(asked)
    elif isinstance(asked, Cpu | Cuda | TensorRT | OpenVINO | Named):
        names = (asked,)
    else:
        names = asked
    records: list[Provider] = []
    for name in names:
        if isinstance(name, str):
            records += _records(name.strip(), cpu)
        elif isinstance(name, Cpu) and name.by_name and cpu:
            records.append(replace(cpu, bf16=name.bf16, kleidiai=name.kleidiai))
        elif isinstance(name, Named) and not isinstance(asked, Requested):
            records.append(_checked(name))
        else:
            records.append(name)
    if not records:
        raise ProviderError("no provider asked for; give one, as cpu, or auto")
    often, times = Counter(record.name for record in records).most_common(1)[0]
    if times > 1:
        raise ProviderError(f"asked twice for {often}")
    requested = Requested(records)
    requested.auto = (isinstance(asked, str) and asked.strip().lower() == AUTO) or (
        isinstance(asked, Requested) and asked.auto
    )
    return requested


def split_providers(text: str) -> list[str]:
    """Providers between commas; `KEY=VALUE` behind a comma is one more option of the one before."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and "=" in part.partition(":")[0]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _records(text: str, cpu: Cpu | None) -> list[Provider]:
    if text.lower() == AUTO:
        return [Cuda(), cpu or Cpu(by_name=True)]
    name, rest = (*re.split("[:,]", text, maxsplit=1), "")[:2]
    name = canonical(name)
    if name not in PROVIDER_RECORDS:
        return [_named(name, rest)]
    options: dict[str, Any] = {}
    for word in rest.lower().split(":") if rest else ():
        options |= _option(name, word)
    if name == Cpu.name:
        return [replace(cpu or Cpu(by_name=True), **options)]
    return [PROVIDER_RECORDS[name](**options)]


def _option(name: str, word: str) -> dict[str, Any]:
    """A word behind a provider's name as a field of its record: `fp16`, `bf16`, a device's number.

    Raises:
        ProviderError: this provider knows no such word.
    """
    if word.isdecimal() and name in ("cuda", "tensorrt"):
        return {"device_id": int(word)}
    known: dict[str, dict[str, Any]] = WORDS.get(name, {})
    if word not in known:
        numbers = "a device's number, " if name in ("cuda", "tensorrt") else ""
        there = numbers + ", ".join(known) or "nothing"
        raise ProviderError(f"{name}:{word}: behind {name} there may be {there.rstrip(', ')}")
    return known[word]


def _named(name: str, rest: str) -> Named:
    """A provider without a record of its own, from what stands behind its name."""
    record = _checked(Named(name))
    word, options = (*re.split("[:,]", rest, maxsplit=1), "")[:2]
    fixed = word.strip().lower() == FIXED
    return replace(record, options=_key_values(name, options if fixed else rest), fixed=fixed)


def _key_values(name: str, text: str) -> Mapping[str, str]:
    """`KEY=VALUE,KEY=VALUE`: a value may hold anything but a comma.

    Raises:
        ProviderError: a part is none, or a key stands there twice.
    """
    options: dict[str, str] = {}
    for part in text.split(",") if text else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (key and equals):
            raise ProviderError(
                f"{name}:{part}: behind {name} there may be {FIXED}, and options as "
                "KEY=VALUE with commas between them"
            )
        if key in options:
            raise ProviderError(f"{name}: {key} is given twice")
        options[key] = value
    return options


def _checked(record: Named) -> Named:
    """The record under the name that is shown, its options as text.

    Raises:
        ProviderError: nothing has this name, or it has a record of its own.
    """
    name = canonical(record.name)
    if name in PROVIDER_RECORDS:
        raise ProviderError(f"{name} has a record of its own: {PROVIDER_RECORDS[name].__name__}")
    if execution_provider(name) is None:
        raise ProviderError(unknown_provider(record.name))
    options = {str(key): str(value) for key, value in record.options.items()}
    return replace(record, name=name, options=options)


def short_name(execution_provider: str) -> str:
    """`CUDAExecutionProvider` as `cuda`, and `DmlExecutionProvider` as everybody calls it."""
    name = execution_provider.removesuffix("ExecutionProvider").lower()
    return "directml" if name == "dml" else name


Shape = tuple[int, int, int]
"""(batch, height, width)."""


def covers(profile: Profile, needed: Profile) -> bool:
    """Whether an engine of the one profile runs all that is needed."""
    return fits_profile(profile, needed.smallest) and fits_profile(profile, needed.largest)


def fits_profile(profile: Profile, shape: Shape) -> bool:
    """Whether this (batch, height, width) lies within the profile."""
    bounds = zip(profile.smallest, shape, profile.largest, strict=True)
    return all(low <= side <= high for low, side, high in bounds)


def check_profile(profile: Profile, shape: Shape) -> None:
    """Refuse a shape before TensorRT does, which names no range.

    Raises:
        SizeError: the shape lies outside the profile.
    """
    if not fits_profile(profile, shape):
        raise SizeError(
            f"a batch of {shape[0]} at {format_size(shape[1:])} lies outside what this TensorRT "
            f"engine was built for ({describe_profile(profile)}); build one for it: birefnet warm "
            f"--size {format_size(shape[1:])} --batch {shape[0]}"
        )


def describe_profile(profile: Profile) -> str:
    """`1 to 4 at 512x512 to 1024x2048`, or `1 at 1024x1024`."""
    ends = (profile.smallest, profile.largest)
    batch = " to ".join(dict.fromkeys(str(shape[0]) for shape in ends))
    return f"{batch} at {' to '.join(dict.fromkeys(format_size(shape[1:]) for shape in ends))}"
