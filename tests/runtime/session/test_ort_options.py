"""Records as ONNX Runtime's options: the documented names, the documented spelling of values."""

import dataclasses
import json
import re
from pathlib import Path

import onnxruntime
import pytest
from birefnet_runtime import Cpu, Cuda, OpenVINO, TensorRT
from birefnet_runtime.session.ort_options import (
    EXECUTION_PROVIDER,
    cuda_options,
    openvino_options,
    plan_session,
    session_entries,
    tensorrt_options,
)
from birefnet_runtime.session.providers import Profile

PROFILE = Profile(smallest=(1, 512, 512), best=(1, 1024, 1024), largest=(4, 1024, 2048))
EVERY_CPU = Cpu(
    arena="same-as-requested", shrink_arena=True, prepack=False, order="priority", spin=False
)


def test_cuda_as_documented():
    assert cuda_options(Cuda()) == {
        "device_id": "0",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
        "prefer_nhwc": "0",
        "fuse_conv_bias": "0",
        "enable_cuda_graph": "0",
    }


def test_every_field_of_cuda_changes_one_option():
    changes = {
        "device_id": (1, ("device_id", "1")),
        "memory_limit_bytes": (2 << 30, ("gpu_mem_limit", "2147483648")),
        "arena": ("same-as-requested", ("arena_extend_strategy", "kSameAsRequested")),
        "conv_search": ("exhaustive", ("cudnn_conv_algo_search", "EXHAUSTIVE")),
        "conv_max_workspace": (False, ("cudnn_conv_use_max_workspace", "0")),
        "tf32": (True, ("use_tf32", "1")),
        "prefer_nhwc": (True, ("prefer_nhwc", "1")),
        "fuse_conv_bias": (True, ("fuse_conv_bias", "1")),
        "cuda_graph": (True, ("enable_cuda_graph", "1")),
        "copy_in_default_stream": (False, ("do_copy_in_default_stream", "0")),
    }
    assert set(changes) == {field.name for field in dataclasses.fields(Cuda)}
    for field, (value, option) in changes.items():
        changed = cuda_options(dataclasses.replace(Cuda(), **{field: value}))
        assert set(changed.items()) - set(cuda_options(Cuda()).items()) == {option}


def test_tensorrt_as_documented(tmp_path):
    record = TensorRT(fp16=True, profile=PROFILE, device_id=1, optimization_level=5)

    assert tensorrt_options(record, directory=tmp_path, input_name="image") == {
        "device_id": "1",
        "trt_fp16_enable": "1",
        "trt_layer_norm_fp32_fallback": "1",
        "trt_builder_optimization_level": "5",
        "trt_cuda_graph_enable": "0",
        "trt_detailed_build_log": "0",
        "trt_max_workspace_size": "0",
        "trt_profile_min_shapes": "image:1x3x512x512",
        "trt_profile_opt_shapes": "image:1x3x1024x1024",
        "trt_profile_max_shapes": "image:4x3x1024x2048",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path),
        "trt_engine_cache_prefix": "birefnet",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path),
    }


def test_tensorrt_without_a_directory_keeps_nothing():
    options = tensorrt_options(TensorRT(workspace_bytes=1 << 30))

    assert options["trt_max_workspace_size"] == "1073741824"
    assert not any("cache" in name or "profile" in name for name in options)


def test_openvino_says_all_in_load_config():
    """Version 1.8.1 ignores every other option without a word (tried: `precision`)."""
    assert openvino_options(OpenVINO(), threads=3) == {
        "load_config": json.dumps(
            {"CPU": {"INFERENCE_NUM_THREADS": "3", "INFERENCE_PRECISION_HINT": "f32"}}
        )
    }
    options = openvino_options(OpenVINO(device="gpu", precision="f16", cache=Path("/c")), threads=3)
    assert json.loads(options["load_config"]) == {
        "GPU": {"CACHE_DIR": "/c", "INFERENCE_PRECISION_HINT": "f16"}
    }


def test_what_tensorrt_leaves_goes_to_cuda_then_to_the_cpu():
    plan = plan_session(TensorRT(device_id=1, cuda_graph=True), threads=2)

    names = [name for name, _ in plan.providers]
    assert names == [EXECUTION_PROVIDER[name] for name in ("tensorrt", "cuda", "cpu")]
    assert plan.providers[1][1]["device_id"] == "1"
    assert (plan.device, plan.device_id, plan.cuda_graph) == ("cuda", 1, True)


def test_openvino_keeps_its_tensors_in_the_machines_memory():
    plan = plan_session(OpenVINO(threads=1), threads=2)

    assert plan.device == "cpu", "its inputs and outputs lie in the machine's memory"
    assert 'INFERENCE_NUM_THREADS": "1' in plan.providers[0][1]["load_config"]


def test_threads_are_always_stated():
    """At 0 ONNX Runtime pins threads by itself, and prints pthread_setaffinity_np errors."""
    for record in (Cpu(), Cuda(), TensorRT(), OpenVINO()):
        assert plan_session(record, threads=2).attributes["intra_op_num_threads"] == 2


def test_the_cpus_settings_as_documented():
    plan = plan_session(EVERY_CPU, threads=1)

    assert plan.entries == {
        "session.intra_op.allow_spinning": "0",
        "session.record_ep_graph_assignment_info": "1",
        "session.disable_prepacking": "1",
        "session.use_env_allocators": "1",
    }
    assert plan.run_entries == {"memory.enable_memory_arena_shrinkage": "cpu:0"}
    assert plan.execution_order == "PRIORITY_BASED"
    assert plan.arena == {"arena_extend_strategy": 1}


def test_one_region_packs_tightly():
    """Half a GiB of address space, of which a chunk may be too large by 64 KiB at most."""
    plan = plan_session(Cpu(arena="one-region"), threads=1)

    assert plan.arena == {
        "initial_chunk_size_bytes": 512 * 1024 * 1024,
        "max_dead_bytes_per_chunk": 64 * 1024,
    }
    assert plan.entries["session.use_env_allocators"] == "1"


@pytest.fixture(scope="module")
def library() -> bytes:
    """ONNX Runtime's native library, where the keys stand as text."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    return b"".join(path.read_bytes() for path in folder.glob("*onnxruntime_pybind11_state*"))


def test_session_entries_are_known_to_the_installed_build(library):
    """An unknown key is accepted without a word, so a misspelled one would do nothing."""
    for key in [*session_entries(EVERY_CPU), *plan_session(EVERY_CPU, 1).run_entries]:
        assert key.encode() in library, key


def test_attributes_and_orders_exist_in_the_installed_build():
    plan = plan_session(Cpu(), threads=1)

    for name in plan.attributes:
        assert hasattr(onnxruntime.SessionOptions, name)
    for order in ("default", "priority"):
        assert hasattr(
            onnxruntime.ExecutionOrder, plan_session(Cpu(order=order), 1).execution_order
        )


def test_every_value_is_text():
    for options in (cuda_options(Cuda()), tensorrt_options(TensorRT(profile=PROFILE))):
        assert all(re.fullmatch(r"[\w:x]+", value) for value in options.values())
