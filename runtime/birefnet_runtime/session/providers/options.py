"""What can be asked of each execution provider: one frozen record a provider.

A field means the same wherever it appears. `ort_options` spells each for ONNX Runtime.
The defaults are ONNX Runtime's unless a comment says why not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

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
    (Graviton 3). What it does there is unmeasured: docs/arm.md."""


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

RECORDS: dict[str, type[Cpu | Cuda | TensorRT | OpenVINO]] = {
    record.name: record for record in (Cpu, Cuda, TensorRT, OpenVINO)
}
"""Those with a record of their own."""
