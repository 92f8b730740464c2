"""What is asked for is what runs, or an error says why not."""

import os
import re
import subprocess
import sys
import types
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_models.base.extras import install_command
from birefnet_runtime import Cpu, Cuda, ModelError, ProviderError, ProviderWarning, Segmenter
from birefnet_runtime.session import open as sessions
from birefnet_runtime.session.availability import Build
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_session import NodePlacement, SessionInfo
from onnx import TensorProto, helper, numpy_helper

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def gpu_build(monkeypatch, tmp_path):
    """A build that lists CUDA, and whose libraries are all there as far as can be seen."""
    build = Build("1.31.1", "onnxruntime-gpu", "13.0", (CUDA, CPU), tmp_path, ("onnxruntime-gpu",))
    monkeypatch.setattr(sessions, "installed_build", lambda: build)


@pytest.fixture
def silent_fallback(monkeypatch):
    """What ONNX Runtime does where CUDA can't be loaded: hand back a CPU session, and log."""
    real = onnxruntime.InferenceSession
    opened = []

    def session(path, sess_options, providers, **rest):
        opened.append((dict(providers), rest))
        return real(path, sess_options=sess_options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return opened


def test_a_session_runs_and_says_on_what(model):
    session = open_session(model)

    assert session.info.provider == Cpu()
    assert session.info.skipped == ()
    assert session.info.placement == NodePlacement({CPU: {"Conv": 1}})
    assert session.info.notes() == []
    (answer,) = session.run(None, {"input_image": np.ones((1, 3, 32, 32), np.float32)})
    np.testing.assert_allclose(answer, 4.0, rtol=1e-5)


def test_a_provider_that_is_not_built_in_is_an_error_that_says_what_to_install(model):
    with pytest.raises(ProviderError, match=r"cuda can't run here: .*onnxruntime") as e:
        open_session(model, providers="cuda")

    assert install_command("gpu") in str(e.value)
    assert "\n" not in str(e.value)


def test_a_fallback_is_taken_only_if_it_was_named(model):
    info = open_session(model, providers="cuda,cpu").info

    assert info.provider == Cpu()
    ((name, reason),) = info.skipped
    assert name == "cuda"
    assert "without it" in reason
    (note,) = info.notes()
    assert re.fullmatch(r"running on cpu, .* onnxruntime \S+ .*\(birefnet doctor .*\)", note)


def test_auto_does_not_miss_what_is_not_installed(model):
    info = open_session(model, providers="auto").info

    assert (info.provider, info.skipped) == (Cpu(), ())


def test_auto_tells_of_wheels_over_one_another(model, monkeypatch, tmp_path):
    """The CPU's wheel won over the GPU's: whoever installed that one misses CUDA."""
    wheels = ("onnxruntime 1.31.1", "onnxruntime-gpu 1.31.1")
    build = Build("1.31.1", "onnxruntime", None, (CPU,), tmp_path, wheels)
    monkeypatch.setattr(sessions, "installed_build", lambda: build)

    info = open_session(model, providers="auto").info

    assert info.provider == Cpu()
    ((name, reason),) = info.skipped
    assert name == "cuda"
    assert "are installed over one another" in reason
    assert len(info.notes()) == 1


def test_a_silent_fallback_of_onnxruntime_is_an_error(model, gpu_build, silent_fallback):
    with pytest.raises(ProviderError, match="left out CUDAExecutionProvider"):
        open_session(model, providers="cuda")

    ((asked, rest),) = silent_fallback
    assert list(asked) == [CUDA, CPU]
    assert asked[CUDA]["use_tf32"] == "0"
    assert rest == {"enable_fallback": 0}, "else it would retry on the CPU in the middle of a run"


def test_auto_tells_when_what_is_installed_does_not_work(model, gpu_build, silent_fallback):
    with pytest.warns(ProviderWarning, match="on cpu, for cuda") as caught:
        Segmenter(model)

    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_the_cpu_on_request_says_nothing(model, gpu_build, silent_fallback):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Segmenter(model, providers="cpu")


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_a_provider_that_throws_is_skipped(model, gpu_build, monkeypatch, kind):
    real = onnxruntime.InferenceSession

    def session(path, sess_options, providers, **rest):
        if len(providers) > 1:
            raise kind("CUDA failure 35: driver too old\n and pages of C++")
        return real(path, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)

    info = open_session(model, providers=["cuda", Cpu()]).info

    assert info.skipped == (
        ("cuda", "ONNX Runtime can't start it: CUDA failure 35: driver too old"),
    )


def test_a_damaged_file_is_not_blamed_on_the_provider(tmp_path, gpu_build, silent_fallback):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a protobuf")

    with pytest.raises(ModelError, match=r"bad\.onnx: .*not an ONNX model"):
        open_session(path, providers="cuda,cpu")


def test_heavy_operators_on_the_cpu_under_a_gpu_are_told():
    placement = NodePlacement({CUDA: {"Conv": 90, "Add": 5}, CPU: {"DeformConv": 20, "Shape": 7}})

    (note,) = SessionInfo(Cuda(), (), placement).notes()

    assert note == "under cuda, the CPU runs 20 DeformConv: expect it to be slow"
    assert SessionInfo(Cpu(), (), placement).notes() == []
    assert SessionInfo(Cuda(), (), placement).describe() == (
        "running on cuda: cuda 95 nodes (90 Conv, 5 Add), cpu 27 nodes (20 DeformConv, 7 Shape)"
    )


def test_threads_reach_the_session(model, monkeypatch):
    seen = []
    real = onnxruntime.InferenceSession

    def spy(path, sess_options, **rest):
        seen.append(sess_options.intra_op_num_threads)
        return real(path, sess_options=sess_options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    monkeypatch.setattr(sessions, "usable_cores", lambda: 7)

    Segmenter(model, threads=3)
    Segmenter(model)

    assert seen == [3, 7]


@pytest.mark.parametrize(
    "cpu",
    [
        Cpu(),
        Cpu(arena="off"),
        Cpu(arena="same-as-requested"),
        Cpu(arena="one-region"),
        Cpu(shrink_arena=True, memory_pattern=True),
        Cpu(prepack=False, order="priority", spin=False),
    ],
    ids=str,
)
def test_every_setting_of_the_cpu_gives_the_same_answer(model, cpu):
    session = open_session(model, providers=cpu, threads=1)

    for size in (32, 64):
        (answer,) = session.run(None, {"input_image": np.ones((1, 3, size, 32), np.float32)})
        np.testing.assert_allclose(answer, 4.0, rtol=1e-5)


FORK = """
import os, sys
import numpy as np
from pathlib import Path
from birefnet_runtime.session.open import open_session

session = open_session(Path(sys.argv[1]), threads=2)
feed = {"input_image": np.ones((1, 3, 256, 256), np.float32)}
session.run(None, feed)
child = os.fork()
if child == 0:
    (mask,) = session.run(None, feed)
    assert np.allclose(mask, 4, rtol=1e-5)
    del session
    sys.exit(7)
_, status = os.waitpid(child, 0)
(mask,) = session.run(None, feed)
print(os.waitstatus_to_exitcode(status), float(mask.mean()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("telemetry", [None, "1"])
def test_a_forked_child_runs_the_session_and_ends(model, telemetry):
    environment = {key: text for key, text in os.environ.items() if "TELEMETRY" not in key}
    if telemetry:
        environment["ORT_DISABLE_TELEMETRY"] = telemetry

    done = subprocess.run(
        [sys.executable, "-c", FORK, model],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )

    assert done.returncode == 0, done.stderr
    code, mean = done.stdout.split()
    assert (code, float(mean)) == ("7", pytest.approx(4, rel=1e-5))


def endless(path):
    """A graph that turns 2^62 times before it has a mask."""

    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Relu", ["carried"], ["handed_on"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("carried", TensorProto.FLOAT, None),
        ],
        [value("go_on", TensorProto.BOOL, []), value("handed_on", TensorProto.FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1]),
            helper.make_node("Loop", ["turns", "true", "mean"], ["mask"], body=body),
        ],
        "endless",
        [value("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [value("mask", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
        [
            numpy_helper.from_array(np.array(2**62), "turns"),
            numpy_helper.from_array(np.array(True), "true"),
        ],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


ENDLESS = """
import os, signal, sys, threading
import numpy as np
from pathlib import Path
from birefnet_runtime.session.open import open_session

session = open_session(Path(sys.argv[1]), threads=1)
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    session.run(None, {"image": np.ones((1, 3, 32, 32), np.float32)})
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends the process there")
def test_ctrl_c_ends_a_run_that_would_not_end(tmp_path):
    program = [sys.executable, "-c", ENDLESS, endless(tmp_path / "endless.onnx")]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.parametrize(
    ("memory", "prepacks", "own_arena"),
    [("fast", True, False), ("balanced", False, False), ("low", False, True)],
)
def test_memory_reaches_the_session(model, memory, prepacks, own_arena):
    options = Segmenter(model, memory=memory)._session._session.get_session_options()

    def is_set(key):
        try:
            return options.get_session_config_entry(key) == "1"
        except RuntimeError:  # it was never set
            return False

    assert is_set("session.disable_prepacking") is not prepacks
    assert is_set("session.use_env_allocators") is own_arena


def test_settings_of_the_cpu_reach_onnxruntime(model):
    cpu = Cpu(arena="off", memory_pattern=True, prepack=False, order="priority", spin=False)

    session = open_session(model, providers=cpu)._session
    options = session.get_session_options()

    assert not options.enable_cpu_mem_arena
    assert options.enable_mem_pattern
    assert options.execution_order == onnxruntime.ExecutionOrder.PRIORITY_BASED
    assert options.get_session_config_entry("session.disable_prepacking") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_verbose_lets_onnxruntimes_lines_through(model, gpu_build, monkeypatch, capfd):
    def session(path, sess_options, **rest):
        os.write(2, b"a line of C++\n")
        assert sess_options.log_severity_level == (2 if verbose else 4)
        return types.SimpleNamespace(get_providers=lambda: [CPU])

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)

    for verbose in (False, True):
        with pytest.raises(ProviderError, match="left out"):
            open_session(model, providers="cuda", verbose=verbose)
        assert ("a line of C++" in capfd.readouterr().err) == verbose


def test_more_threads_than_could_ever_run_are_refused(model):
    with pytest.raises(ProviderError, match=r"1000 threads for \d+ usable cores"):
        open_session(model, threads=1000)
    assert open_session(model, threads=3).info.provider == Cpu()


def test_an_onnx_runtime_that_is_too_old_is_named_with_what_it_lacks(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("NOT_IMPLEMENTED : Could not find an implementation for DeformConv(19)")

    node = helper.make_node("DeformConv", ["x", "w", "o"], ["y"])
    graph = helper.make_graph([node], "g", [], [])
    opset = helper.make_opsetid("", 19)
    file = tmp_path / "native.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), file)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    monkeypatch.setattr(onnxruntime, "__version__", "1.20.1")

    with pytest.raises(ModelError, match=r"native.onnx: its DeformConv needs .* 1.25"):
        open_session(file)


def test_bf16_on_a_cpu_without_it_is_an_error(model, monkeypatch):
    monkeypatch.setattr(sessions, "has_arm_bf16", lambda: False)
    with pytest.raises(ProviderError, match=r"bf16 .* is for Arm processors"):
        open_session(model, providers="cpu:bf16")

    monkeypatch.setattr(sessions, "has_arm_bf16", lambda: True)
    assert open_session(model, providers="cpu:bf16").info.provider == Cpu(bf16=True)
