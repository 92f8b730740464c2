"""Providers by name, with one that is the CPU in truth: opened, looked at, compared once."""

import dataclasses
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_runtime import Cpu, Named, ProviderError, ProviderWarning, Segmenter, SizeError
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.machine import Processor
from birefnet_runtime.session import open as sessions
from birefnet_runtime.session.acceptance import ACCEPTED
from birefnet_runtime.session.availability import Build
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_session import NodePlacement, SessionInfo
from onnx import TensorProto, helper

CPU, COREML = "CPUExecutionProvider", "CoreMLExecutionProvider"
REAL = onnxruntime.InferenceSession


class Mac:
    """A machine whose ONNX Runtime has CoreML, as far as is asked."""

    def __init__(self):
        self.opened = []
        """Names of the providers of each session."""
        self.echo = {}
        self.lost = False
        self.placed = {COREML: ["Conv"]}
        self.answer = lambda logits: logits
        self.build = Build("1.31.1", "onnxruntime", None, (COREML, CPU), Path(), ("onnxruntime",))

    def session(self, path, sess_options, providers, enable_fallback):
        assert enable_fallback == 0
        names = [name for name, _ in providers]
        self.opened.append(names)
        session = REAL(path, sess_options=sess_options, providers=[CPU])
        return session if names == [CPU] else Pretending(self, session)


class Pretending:
    """A session that says it runs on CoreML."""

    def __init__(self, mac, session):
        self.mac = mac
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def get_providers(self):
        return [CPU] if self.mac.lost else [COREML, CPU]

    def get_provider_options(self):
        return {COREML: self.mac.echo, CPU: {}}

    def get_provider_graph_assignment_info(self):
        def nodes(operators):
            return lambda: [SimpleNamespace(op_type=name) for name in operators]

        return [
            SimpleNamespace(ep_name=name, get_nodes=nodes(operators))
            for name, operators in self.mac.placed.items()
        ]

    def run(self, names, feed, options):
        return [self.mac.answer(each) for each in self.session.run(names, feed, options)]


@pytest.fixture
def mac(monkeypatch, tmp_path):
    mac = Mac()
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sessions, "installed_build", lambda: mac.build)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [COREML, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", mac.session)
    return mac


def test_it_is_compared_at_the_first_opening_of_each_kind_and_never_again(mac, model, tmp_path):
    mac.echo = {"ModelFormat": "MLProgram"}
    asked = "coreml:ModelFormat=MLProgram"

    session = open_session(model, providers=asked)

    assert session.info.provider == Named("coreml", {"ModelFormat": "MLProgram"})
    assert session.info.describe() == "running on coreml: coreml 1 node (1 Conv)"
    assert session.info.notes() == []
    assert mac.opened == [[COREML, CPU], [CPU]]
    notes = [entry for entry in ACCEPTED.entries() if entry.key["provider"] == COREML]
    assert [note.facts["parity"]["alpha"] for note in notes] == [[0, 0]]

    open_session(model, providers=Named("CoreML", {"ModelFormat": "MLProgram"}))
    assert mac.opened[2:] == [[COREML, CPU]], "noted"
    open_session(model, providers="coreml")
    assert mac.opened[3:] == [[COREML, CPU], [CPU]], "other options"
    (notes[0].folder / "facts.json").write_text("{}")
    open_session(model, providers=asked)
    assert mac.opened[5:] == [[COREML, CPU], [CPU]], "a note of something else"


@pytest.mark.parametrize("what", ["version", "model", "processor", "device"])
def test_a_note_holds_for_what_was_compared_alone(mac, model, make_model, monkeypatch, what):
    open_session(model, providers="coreml")
    if what == "version":
        mac.build = dataclasses.replace(mac.build, version="1.32.0")
    elif what == "device":
        device = SimpleNamespace(
            type=SimpleNamespace(name="GPU"), vendor="Apple", device_id=2, metadata={}
        )
        listed = [SimpleNamespace(ep_name=COREML, ep_metadata={}, device=device)]
        monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: listed)
    elif what == "processor":
        other = Processor("M9", ())
        monkeypatch.setattr("birefnet_runtime.session.acceptance.read_processor", lambda: other)
    else:
        model = make_model(weight=5.0)

    open_session(model, providers="coreml")

    assert mac.opened[2:] == [[COREML, CPU], [CPU]]


@pytest.mark.parametrize("answer", [np.negative, lambda logits: logits * np.nan])
def test_a_wrong_answer_is_refused_each_time_with_the_difference(mac, model, tmp_path, answer):
    mac.answer = answer

    for _ in range(2):
        with pytest.raises(WrongAnswerError, match=r"coreml's .*\.onnx is wrong") as e:
            open_session(model, providers="coreml")
    said = str(e.value)
    assert f"onnxruntime {onnxruntime.__version__}" in said
    assert said.endswith("try --provider cpu")
    assert all(entry.key["provider"] == CPU for entry in ACCEPTED.entries())

    info = open_session(model, providers="coreml,cpu").info
    assert info.provider == Cpu()
    assert "coreml can't run here: coreml's mask" in info.notes()[0]


def test_without_a_cache_it_is_compared_each_time(mac, model, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "file"))

    for _ in range(2):
        open_session(model, providers="coreml")

    assert mac.opened == 2 * [[COREML, CPU], [CPU]]


def test_a_run_that_fails_is_one_line(mac, model):
    def fails(_):
        raise ValueError("[ONNXRuntimeError] : 11 : EP_FAIL : graph capture needs IO binding\nC++")

    mac.answer = fails

    with pytest.raises(ProviderError, match=r"to run \w+\.onnx: graph capture"):
        open_session(model, providers="coreml")


def test_an_answer_of_another_shape_is_one_line(mac, model):
    mac.answer = lambda logits: logits[:, :, ::2]

    with pytest.raises(WrongAnswerError, match=r"answered \(2, 1, 32, 64\) to an"):
        open_session(model, providers="coreml")


def test_a_silent_fallback_is_an_error(mac, model):
    mac.lost = True

    with pytest.raises(ProviderError, match=f"left out {COREML} without an error"):
        open_session(model, providers="coreml")


def test_one_that_takes_no_node_is_an_error(mac, model):
    mac.placed = {CPU: ["Conv"]}
    with pytest.raises(ProviderError, match=r"coreml can't run here: .*node"):
        open_session(model, providers="coreml")

    mac.placed = {}  # WebGPU's nodes are listed in part; the CPU has fewer than alone
    assert open_session(model, providers="coreml").info.provider == Named("coreml")


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has no Azure",
)
def test_a_true_provider_that_takes_nothing_is_an_error(model):
    """It is in the CPU's wheel, opens without a word and leaves all to the CPU."""
    with pytest.raises(ProviderError, match=r"azure can't run here: .*node"):
        open_session(model, providers="azure")


def test_options_are_held_against_what_the_session_says(mac, model):
    mac.echo = {"ModelFormat": "NeuralNetwork", "EnableOnSubgraphs": "0"}

    open_session(model, providers="coreml:EnableOnSubgraphs=False")
    with pytest.raises(ProviderError, match=r"given ModelFormat=MLProgram and runs with .*Neural"):
        open_session(model, providers="coreml:ModelFormat=MLProgram")
    with pytest.raises(
        ProviderError, match=r"no option 'Format'; .*EnableOnSubgraphs, ModelFormat$"
    ):
        open_session(model, providers="coreml:Format=MLProgram")

    mac.echo = {}
    with pytest.warns(ProviderWarning, match="coreml doesn't say .*Format=x may"):
        Segmenter(model, providers="coreml:Format=x")


def test_held_at_one_size_the_graph_runs_there(mac, model, picture):
    segmenter = Segmenter(model, providers="coreml:fixed", size=(96, 64))

    assert segmenter.model_size(picture.shape[:2]) == (96, 64)
    session = segmenter._session
    assert session.get_inputs()[0].shape == [1, 3, 96, 64]
    first, second = segmenter.batch([picture, picture])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(
        first, Segmenter(model, size=(96, 64), providers="cpu")(picture), atol=1e-6
    )
    open_session(model, providers="coreml", sizes=[(96, 64)])
    assert len(mac.opened) == 5, "free, it is another graph to compare"


@pytest.mark.parametrize("sizes", [["auto"], [64, 96]])
def test_several_sizes_cant_be_held(mac, model, sizes):
    with pytest.raises(ProviderError, match=r"coreml:fixed .* one size; give --size"):
        open_session(model, providers="coreml:fixed", sizes=sizes)


def test_a_size_that_the_network_cant_run_at_is_told_before(mac, model):
    with pytest.raises(SizeError, match="multiples of 32, not 65x65"):
        open_session(model, providers="coreml:fixed", sizes=[65])
    assert mac.opened == []


def pixel_graph(path):
    """uint8 (batch, height, width, 3) to uint8 (batch, height, width): the mean of the colors."""
    shape = ["batch", "height", "width"]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["mean"], ["alpha"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*shape, 3])],
        [helper.make_tensor_value_info("alpha", TensorProto.UINT8, shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"birefnet.trained_size": "64x64", "birefnet.output": "alpha"})
    onnx.save(made, path)
    return path


def test_a_graph_of_pixels_is_compared_and_never_held(mac, tmp_path):
    file = pixel_graph(tmp_path / "pixels.onnx")

    open_session(file, providers="coreml")
    mac.answer = lambda alpha: alpha // 2
    with pytest.raises(ProviderError, match="coreml's mask of"):
        open_session(file, providers="coreml:EnableOnSubgraphs=1")
    with pytest.raises(ProviderError, match=r"use the model\.onnx"):
        open_session(file, providers="coreml:fixed")


def test_runs_take_turns(mac, model):
    session = open_session(model, providers="coreml")
    inside, most = [], []

    def answer(logits):
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.02)
        inside.pop()
        return logits

    mac.answer = answer
    feed = {"input_image": np.ones((1, 3, 32, 32), np.float32)}
    threads = [threading.Thread(target=session.run, args=(None, feed)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1, 1, 1]


def test_heavy_operators_on_the_cpu_are_told_where_they_cost_a_copy():
    placement = NodePlacement({COREML: {"Add": 1}, CPU: {"DeformConv": 20}})

    (note,) = SessionInfo(Named("coreml"), (), placement).notes()

    assert re.fullmatch("under coreml, the CPU runs 20 DeformConv: expect it to be slow", note)
    assert SessionInfo(Named("xnnpack"), (), placement).notes() == []
