"""`birefnet doctor`: what it shows, what it advises, and whether each provider works."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from birefnet_apps import doctor as provider_check
from birefnet_apps.cli import main as cli
from birefnet_apps.doctor import (
    GRAPH,
    GRIDSAMPLE_GRAPH,
    Diagnosis,
    ProviderCheck,
    ProviderState,
    check_provider,
    diagnose,
)
from birefnet_models.base.extras import install_command
from birefnet_runtime.machine import Driver, Gpu
from birefnet_runtime.session.ort_session import NodePlacement, OpenSession
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
    assert states["cpu"].placement == NodePlacement({CPU: {"DeformConv": 1, "MatMul": 1}})
    assert found.healthy
    assert 1 <= found.usable_cores <= found.affinity_cores
    assert found.memory_bytes


@pytest.fixture
def run(found, monkeypatch):
    """The command, with what was found already."""

    def invoke(*arguments, **changes):
        facts = {name: getattr(found, name) for name in Diagnosis.__slots__} | changes
        monkeypatch.setattr(
            "birefnet_apps.cli.doctor.diagnose",
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


def test_an_unknown_provider_is_a_usage_error_that_lists_what_there_is(run):
    result = run("--require", "gpu")

    assert result.exit_code == 2
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stderr).split())
    assert "there are: auto, cpu, cuda, tensorrt, openvino; " in said
    assert "coreml, directml" in said


def test_what_is_required_is_tried_and_what_is_installed_beside_our_own():
    """Azure is in the CPU's wheel and computes nothing here."""
    states = {state.name: state for state in diagnose(["coreml", "azure"]).providers}

    assert list(states) == ["cpu", "cuda", "tensorrt", "openvino", "coreml", "azure"]
    assert not states["coreml"].installed
    assert "on a Mac, `onnxruntime` itself has it" in states["coreml"].reason
    assert "azure" in states
    if "AzureExecutionProvider" in onnxruntime.get_available_providers():
        assert (states["azure"].installed, states["azure"].verified) == (True, False)
        assert "it took no node of this graph" in states["azure"].reason


def test_another_provider_of_the_build_is_tried_without_being_asked_for(monkeypatch):
    listed = ["WebGpuExecutionProvider", "AzureExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    works = ProviderCheck(True, None, NodePlacement({}))
    monkeypatch.setattr("birefnet_apps.doctor.check_provider", lambda *_, **__: works)

    states = {state.name: state for state in diagnose().providers}

    assert list(states) == ["cpu", "cuda", "tensorrt", "openvino", "webgpu"]
    assert states["webgpu"].verified


def test_without_onnxruntime(run):
    result = run(build=None, providers=())

    assert result.exit_code == 1
    assert install_command("cpu") in result.stdout


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


def test_another_opencv_is_advice_where_all_else_works(found):
    facts = {name: getattr(found, name) for name in Diagnosis.__slots__}
    states = tuple(state(name, *WORKS) for name in ("cpu", "cuda", "tensorrt", "openvino"))

    diagnosis = Diagnosis(**facts | {"providers": states, "opencv": "keep one OpenCV"})

    assert diagnosis.advice == "keep one OpenCV"
    assert diagnosis.healthy


@pytest.mark.parametrize(("file", "gridsample"), [(GRAPH, False), (GRIDSAMPLE_GRAPH, True)])
def test_the_probe_is_what_its_script_writes(file, gridsample):
    script = Path(__file__).parents[2] / "docs/provider_check_graph.py"
    written = runpy.run_path(str(script))["make_graph"](gridsample)

    check_model(written)
    assert file.read_bytes() == written.SerializeToString(deterministic=True)


def test_without_deform_conv_the_rest_is_verified_and_the_advice_says_what_runs(monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.20.1")

    found = diagnose()

    assert found.providers[0].placement == NodePlacement(
        {CPU: {"GridSample": 1, "Conv": 1, "MatMul": 1}}
    )
    assert found.healthy
    assert "onnxruntime 1.20.1 has no DeformConv" in found.advice


def test_a_provider_that_answers_wrong_is_not_verified(monkeypatch):
    real = provider_check.open_session

    class Wrong:
        def __init__(self, session):
            self.info = session.info

        def run(self, names, feed):
            return [np.zeros((1, 1, 8, 8), np.float32)]

    monkeypatch.setattr(provider_check, "open_session", lambda *a, **k: Wrong(real(*a, **k)))

    check = check_provider("cpu")

    assert not check.works
    assert "its answer to a known graph is off by" in check.reason


def test_a_run_that_throws_is_a_reason(monkeypatch):
    def opened(*_, **__):
        raise RuntimeError("CUDNN failure 1\nand more")

    monkeypatch.setattr(provider_check, "open_session", opened)

    assert check_provider("cuda").reason == "CUDNN failure 1"


def test_each_provider_is_asked_for_a_models_known_answer(run, monkeypatch):
    done = run("--model", "nano")
    assert done.exit_code == 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("nano on ")]
    assert line.startswith("nano on cpu: right (alpha off by ")

    real = OpenSession._run
    monkeypatch.setattr(OpenSession, "_run", lambda *a: [-x for x in real(*a)])
    done = run("--model", "nano")
    assert done.exit_code == 1
    assert "nano on cpu: wrong: " in done.stdout
    (answer,) = json.loads(run("--model", "nano", "--json").stdout)["model"]["answers"]
    assert (answer["provider"], answer["right"]) == ("cpu", False)
