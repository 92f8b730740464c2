"""Records as options of ONNX Runtime: no session in sight.

The names are those of ONNX Runtime's provider structures (cuda_provider_options.h,
tensorrt_provider_options.h) and of onnxruntime_session_options_config_keys.h; a test looks each up
in the installed build. Every value is text: booleans are "0" or "1".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ProviderError
from .providers import (
    EXECUTION_PROVIDER,
    Cpu,
    Cuda,
    Named,
    OpenVINO,
    Profile,
    Provider,
    TensorRT,
    execution_provider,
)

# Whether a provider took the options that it was given, as far as it tells.


_SPELLINGS = {"true": "1", "false": "0"}


def check_options(record: Named, echoed: Mapping[str, str]) -> tuple[str, ...]:
    """Hold the options that were asked for against those that the session says it runs with.

    ONNX Runtime hands options on unread: some providers refuse what they don't know, others do as
    if nothing was said.

    Args:
        record: what was asked for.
        echoed: the provider's part of `InferenceSession.get_provider_options`.

    Returns:
        What the user should know, a line each: that this provider tells nothing.

    Raises:
        ProviderError: an option that isn't among those, or has another value there.
    """
    if not record.options:
        return ()
    if not echoed:
        given = ", ".join(f"{key}={value}" for key, value in record.options.items())
        return (f"{record.name} doesn't say which options it took: {given} may do nothing",)
    for key, value in record.options.items():
        if key not in echoed:
            raise ProviderError(f"it took no option {key!r}; it has {', '.join(sorted(echoed))}")
        if _plain(value) != _plain(echoed[key]):
            raise ProviderError(f"it was given {key}={value} and runs with {key}={echoed[key]}")
    return ()


def _plain(value: str) -> str:
    """A value without what is spelling alone."""
    low = value.strip().lower()
    return _SPELLINGS.get(low, low)


_ARENA = {"next-power-of-two": "kNextPowerOfTwo", "same-as-requested": "kSameAsRequested"}
_OWN_ARENAS: dict[str, dict[str, int]] = {
    "same-as-requested": {"arena_extend_strategy": 1},
    # Address space costs nothing until it is written to. By default a chunk that is up to 128 MiB
    # too large is given away whole.
    "one-region": {"initial_chunk_size_bytes": 512 << 20, "max_dead_bytes_per_chunk": 64 << 10},
}
"""As OrtArenaCfg wants it."""
_ORDER = {"default": "DEFAULT", "priority": "PRIORITY_BASED"}


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Options of one session, as ONNX Runtime takes them."""

    providers: tuple[tuple[str, Mapping[str, str]], ...]
    """Its name of each execution provider with its options, the preferred first."""
    device: str = "cpu"
    """Where inputs and outputs are bound."""
    device_id: int = 0
    cuda_graph: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)
    """Of SessionOptions."""
    execution_order: str = "DEFAULT"
    entries: Mapping[str, str] = field(default_factory=dict)
    """Of SessionOptions.add_session_config_entry."""
    run_entries: Mapping[str, str] = field(default_factory=dict)
    """Of RunOptions.add_run_config_entry."""
    arena: Mapping[str, int] = field(default_factory=dict)
    """Settings of the CPU's arena, where they differ: one that the process registers, once."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    """What dynamic dimensions of the graph are fixed at, by their names in the file."""


def plan_session(
    provider: Provider,
    threads: int,
    *,
    engine: Path | None = None,
    input_name: str = "input_image",
    dimensions: Mapping[str, int] | None = None,
) -> SessionPlan:
    """Options with which ONNX Runtime runs on this provider, with `threads` for one operator.

    The CPU is always there behind another provider: shapes are computed on it. `engine` is the
    directory of TensorRT's, `input_name` that of the graph's input, and `dimensions` are what its
    dynamic dimensions are fixed at.
    """
    cpu = provider if isinstance(provider, Cpu) else Cpu()
    providers: list[tuple[str, Mapping[str, str]]] = []
    device, device_id, graph = "cpu", 0, False
    match provider:
        case Cpu(kernels="on"):
            providers.append((EXECUTION_PROVIDER["birefnet"], {}))
        case Cuda():
            providers.append((EXECUTION_PROVIDER["cuda"], cuda_options(provider)))
            device, device_id, graph = "cuda", provider.device_id, provider.cuda_graph
        case TensorRT():
            # What TensorRT can't take stays on the GPU.
            behind = Cuda(device_id=provider.device_id)
            options = tensorrt_options(provider, directory=engine, input_name=input_name)
            providers.append((EXECUTION_PROVIDER["tensorrt"], options))
            providers.append((EXECUTION_PROVIDER["cuda"], cuda_options(behind)))
            device, device_id, graph = "cuda", provider.device_id, provider.cuda_graph
        case OpenVINO():
            providers.append((EXECUTION_PROVIDER["openvino"], openvino_options(provider, threads)))
        case Named():
            name = execution_provider(provider.name) or provider.name
            providers.append((name, dict(provider.options)))
    return SessionPlan(
        providers=(*providers, (EXECUTION_PROVIDER["cpu"], {})),
        device=device,
        device_id=device_id,
        cuda_graph=graph,
        attributes={
            # Set, even if to the number of cores: left at 0, ONNX Runtime pins its threads and
            # complains on stderr where a container forbids that.
            "intra_op_num_threads": threads,
            "inter_op_num_threads": 1,
            "enable_mem_pattern": cpu.memory_pattern,
            "enable_cpu_mem_arena": cpu.arena != "off",
        },
        execution_order=_ORDER[cpu.order],
        entries=session_entries(cpu),
        run_entries={"memory.enable_memory_arena_shrinkage": "cpu:0"} if cpu.shrink_arena else {},
        arena=_OWN_ARENAS.get(cpu.arena, {}),
        dimensions=dimensions or {},
    )


def session_entries(cpu: Cpu) -> dict[str, str]:
    """Session configuration entries of the CPU's record."""
    entries = {
        "session.intra_op.allow_spinning": _flag(cpu.spin),
        "session.record_ep_graph_assignment_info": "1",
    }
    if not cpu.prepack:
        entries["session.disable_prepacking"] = "1"
    if cpu.bf16:
        entries["mlas.enable_gemm_fastmath_arm64_bf16"] = "1"
    if not cpu.kleidiai:
        entries["mlas.disable_kleidiai"] = "1"
    if cpu.arena in _OWN_ARENAS:
        entries["session.use_env_allocators"] = "1"
    return entries


def cuda_options(cuda: Cuda) -> dict[str, str]:
    """Options of CUDAExecutionProvider."""
    options = {
        "device_id": str(cuda.device_id),
        "arena_extend_strategy": _ARENA[cuda.arena],
        "cudnn_conv_algo_search": cuda.conv_search.upper(),
        "cudnn_conv_use_max_workspace": _flag(cuda.conv_max_workspace),
        "do_copy_in_default_stream": _flag(cuda.copy_in_default_stream),
        "use_tf32": _flag(cuda.tf32),
        "prefer_nhwc": _flag(cuda.prefer_nhwc),
        "fuse_conv_bias": _flag(cuda.fuse_conv_bias),
        "enable_cuda_graph": _flag(cuda.cuda_graph),
    }
    if cuda.memory_limit_bytes is not None:
        options["gpu_mem_limit"] = str(cuda.memory_limit_bytes)
    return options


def tensorrt_options(
    tensorrt: TensorRT, *, directory: Path | None = None, input_name: str = "input_image"
) -> dict[str, str]:
    """Options of TensorrtExecutionProvider.

    Args:
        tensorrt: the record, its profile resolved.
        directory: where engine and timing cache lie; None: nothing is kept.
        input_name: of the graph's one input.
    """
    options = {
        "device_id": str(tensorrt.device_id),
        "trt_fp16_enable": _flag(tensorrt.fp16),
        # Without it fp16 overflows inside LayerNorm's variance.
        "trt_layer_norm_fp32_fallback": _flag(tensorrt.fp16),
        "trt_builder_optimization_level": str(tensorrt.optimization_level),
        "trt_cuda_graph_enable": _flag(tensorrt.cuda_graph),
        "trt_detailed_build_log": _flag(tensorrt.detailed_log),
        # 0: the builder may use what the GPU has. A guessed limit hides the fast algorithms.
        "trt_max_workspace_size": str(tensorrt.workspace_bytes or 0),
    }
    if tensorrt.profile is not None:
        options |= profile_options(tensorrt.profile, input_name)
    if directory is not None:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(directory),
            "trt_engine_cache_prefix": "birefnet",
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(directory),
        }
    return options


def profile_options(profile: Profile, input_name: str) -> dict[str, str]:
    """`NAME:BATCHx3xHEIGHTxWIDTH` for the smallest, best and largest shape."""

    def shape(dimensions: tuple[int, int, int]) -> str:
        batch, height, width = dimensions
        return f"{input_name}:{batch}x3x{height}x{width}"

    return {
        "trt_profile_min_shapes": shape(profile.smallest),
        "trt_profile_opt_shapes": shape(profile.best),
        "trt_profile_max_shapes": shape(profile.largest),
    }


def openvino_options(openvino: OpenVINO, threads: int) -> dict[str, str]:
    """Options of OpenVINO's plugin: its own properties travel as JSON in `load_config`."""
    device = openvino.device.upper()
    properties: dict[str, str] = {"INFERENCE_PRECISION_HINT": openvino.precision}
    if openvino.device == "cpu":
        properties["INFERENCE_NUM_THREADS"] = str(openvino.threads or threads)
    if openvino.cache is not None:
        properties["CACHE_DIR"] = str(openvino.cache)
    # Anything beside load_config is accepted and ignored by version 1.8.1.
    return {"load_config": json.dumps({device: properties}, sort_keys=True)}


def _flag(value: bool) -> str:
    return "1" if value else "0"


def run_options(entries: Mapping[str, str]) -> Any:
    """The entries as `onnxruntime.RunOptions`."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options
