"""`birefnet doctor` and what it asks: the driver, the processor, each provider."""

import ctypes
import json
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from birefnet_runtime.cli import main as cli
from birefnet_runtime.doctor import provider_check as probes
from birefnet_runtime.doctor.diagnosis import Diagnosis, ProviderState, diagnose
from birefnet_runtime.doctor.provider_check import GRAPH, probe
from birefnet_runtime.machine.nvml import Driver, Gpu, read_driver
from birefnet_runtime.machine.processor import Processor, read_processor
from birefnet_runtime.session.providers.node_placement import Placement, count
from click.testing import CliRunner
from onnx.checker import check_model

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def found():
    return diagnose()


def test_this_machine(found):
    states = {state.name: state for state in found.providers}

    assert list(states) == ["cpu", "cuda", "tensorrt", "openvino"]
    assert states["cpu"].verified
    assert states["cpu"].placement == Placement({CPU: {"DeformConv": 1, "MatMul": 1}})
    assert found.healthy
    assert 1 <= found.usable_cores <= found.affinity_cores
    assert found.memory_bytes


@pytest.fixture
def run(found, monkeypatch):
    """The command, with what was found already."""

    def invoke(*arguments, **changes):
        facts = {name: getattr(found, name) for name in Diagnosis.__slots__} | changes
        monkeypatch.setattr(
            "birefnet_runtime.cli.doctor.diagnose",
            lambda required, verbose: Diagnosis(**facts | {"required": tuple(required)}),
        )
        return CliRunner().invoke(cli.main, ["doctor", *arguments])

    return invoke


def test_json_holds_what_the_table_shows(run):
    result = run("--json")

    facts = json.loads(result.stdout)
    assert result.exit_code == 0
    assert facts["healthy"]
    assert facts["providers"][0]["placement"] == {CPU: {"DeformConv": 1, "MatMul": 1}}
    assert facts["build"]["version"] == onnxruntime.__version__
    shown = run().stdout
    assert onnxruntime.__version__ in shown
    assert facts["advice"] in shown


@pytest.mark.parametrize(("require", "code"), [("cpu", 0), ("cuda", 1), ("cpu,tensorrt", 1)])
def test_the_exit_code_is_a_health_check(run, require, code):
    result = run("--require", require)

    assert result.exit_code == code
    assert ("doesn't work" in result.stdout) == bool(code)


def test_an_unknown_provider_is_a_usage_error(run):
    assert run("--require", "gpu").exit_code == 2


def test_without_onnxruntime(run):
    result = run(build=None, providers=())

    assert result.exit_code == 1
    assert "pip install 'birefnet-ort[cpu]'" in result.stdout


def state(name, *steps, reason=None):
    return ProviderState(name, *steps, reason=reason)


WORKS, ABSENT = (True, True, True), (False, False, False)
GPU = Driver("580.1", "13.0", (Gpu("NVIDIA L4", "8.9", 24 << 30),))


@pytest.mark.parametrize(
    ("cuda", "driver", "says"),
    [
        (state("cuda", *WORKS), GPU, "fastest is --provider cuda"),
        (state("cuda", *ABSENT, reason="no build"), None, "fastest is --provider cpu"),
        (state("cuda", *ABSENT, reason="no build"), GPU, "there is a GPU (NVIDIA L4); no build"),
        (state("cuda", True, False, False, reason="no libs"), None, "doesn't work: no libs"),
    ],
)
def test_advice_is_one_line(found, cuda, driver, says):
    facts = {name: getattr(found, name) for name in Diagnosis.__slots__}
    others = [state("cpu", *WORKS), cuda, state("tensorrt", *ABSENT), state("openvino", *ABSENT)]

    advice = Diagnosis(**facts | {"providers": tuple(others), "driver": driver}).advice

    assert says in advice
    assert "\n" not in advice


def test_the_probe_is_what_its_script_writes():
    script = Path(__file__).parents[3] / "docs/provider_check_graph.py"
    written = runpy.run_path(str(script))["make_graph"]()

    check_model(written)
    assert GRAPH.read_bytes() == written.SerializeToString(deterministic=True)


def test_a_provider_that_answers_wrong_is_not_verified(monkeypatch):
    real = probes.open_session

    class Wrong:
        def __init__(self, session):
            self.info = session.info

        def run(self, names, feed):
            return [np.zeros((1, 1, 8, 8), np.float32)]

    monkeypatch.setattr(probes, "open_session", lambda *a, **k: Wrong(real(*a, **k)))

    verdict = probe("cpu")

    assert not verdict.works
    assert "its answer to a known graph is off by" in verdict.reason


def test_a_run_that_throws_is_a_reason(monkeypatch):
    def opened(*_, **__):
        raise RuntimeError("CUDNN failure 1\nand more")

    monkeypatch.setattr(probes, "open_session", opened)

    assert probe("cuda").reason == "CUDNN failure 1"


class Nvml:
    """libnvidia-ml with one GPU; `broken` names a function that fails."""

    def __init__(self, broken=None):
        self.broken = broken

    def __getattr__(self, name):
        def call(*arguments):
            if name == self.broken:
                return 999
            self.answer(name, arguments)
            return 0

        return call

    def answer(self, name, arguments):
        def put(pointer, kind, value):
            ctypes.cast(pointer, ctypes.POINTER(kind))[0] = value

        if name == "nvmlDeviceGetCount_v2":
            put(arguments[0], ctypes.c_uint, 1)
        elif name == "nvmlSystemGetDriverVersion":
            arguments[0].value = b"580.82.07"
        elif name == "nvmlDeviceGetName":
            arguments[1].value = b"NVIDIA H100"
        elif name == "nvmlSystemGetCudaDriverVersion_v2":
            put(arguments[0], ctypes.c_int, 13010)
        elif name == "nvmlDeviceGetCudaComputeCapability":
            put(arguments[1], ctypes.c_int, 9)
            put(arguments[2], ctypes.c_int, 0)
        elif name == "nvmlDeviceGetMemoryInfo":
            put(arguments[1], ctypes.c_ulonglong, 85_000_000_000)


def test_the_driver_is_asked_through_its_own_library():
    driver = read_driver(lambda _: Nvml())

    assert driver == Driver("580.82.07", "13.1", (Gpu("NVIDIA H100", "9.0", 85_000_000_000),))


@pytest.mark.parametrize("broken", ["nvmlInit_v2", "nvmlDeviceGetName", "nvmlDeviceGetCount_v2"])
def test_a_driver_that_does_not_answer_is_none(broken):
    assert read_driver(lambda _: Nvml(broken)) is None


def test_no_driver():
    def load(name):
        raise OSError(name)

    assert read_driver(load) is None


def test_the_processor_is_read(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\n"
        "flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile\n\nprocessor\t: 1\nmodel name\t: other\n"
    )

    assert read_processor(file) == Processor("Intel(R) Xeon(R)", ("AVX2", "AVX-512", "VNNI", "AMX"))
    assert read_processor(tmp_path / "none").features == ()


def test_nodes_are_counted_and_described():
    assigned = [(CUDA, "Conv"), (CUDA, "Conv"), (CPU, "Shape"), (CUDA, "DeformConv")]

    placement = count(assigned)

    assert placement.nodes(CUDA) == 3
    assert placement.nodes("TensorrtExecutionProvider") == 0
    assert placement.heavy_on(CUDA) == {"DeformConv": 1, "Conv": 2}
    assert placement.heavy_on(CPU) == {}
    assert placement.describe() == "cuda 3 nodes (2 Conv, 1 DeformConv), cpu 1 node (1 Shape)"
