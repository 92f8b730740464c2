"""Our own kernels on the CPU: used where they are right and faster, asked once."""

from types import SimpleNamespace

import onnx
import pytest
from birefnet_models.base.store import Store
from birefnet_runtime import ProviderError, segmenter, trial
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.model.locate import ModelFile, find_model
from birefnet_runtime.session import acceptance
from birefnet_runtime.session.acceptance import deform_conv_kernel, open_with_kernels
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_options import plan_session
from birefnet_runtime.session.ort_session import NodePlacement, SessionInfo
from birefnet_runtime.session.plugins import Plugin
from birefnet_runtime.session.providers import Cpu, parse_providers
from onnx import TensorProto, helper

BUILD = SimpleNamespace(package="onnxruntime", version="1.32.0")
OURS, THEIRS = "BiRefNetExecutionProvider", "CPUExecutionProvider"


class Opened:
    """A session whose runs take some seconds of the fake clock."""

    def __init__(self, record, seconds=1.0, placed=None):
        where = OURS if record.kernels == "on" else THEIRS
        self.info = SessionInfo(record, (), NodePlacement(placed or {where: {"DeformConv": 20}}))
        self.seconds = seconds


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Where kernels are installed: `open(plain={...}, **with_kernels)`, and what was opened."""
    clock = SimpleNamespace(now=0.0)

    def asked(session, model):
        def sample():
            clock.now += session.seconds

        return SimpleNamespace(sample=sample)

    store, opened = Store(tmp_path / "kernels"), []
    monkeypatch.setattr(acceptance, "time", SimpleNamespace(process_time=lambda: clock.now))
    monkeypatch.setattr(acceptance, "VERDICTS", store)
    monkeypatch.setattr(acceptance, "Asked", SimpleNamespace(of=asked))
    monkeypatch.setattr(acceptance, "plugin_of", lambda _: Plugin("onnxruntime_ep_birefnet", "any"))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")

    def open_(plain=None, error=None, **with_kernels):
        def opening(record):
            opened.append(record.kernels)
            if record.kernels == "on" and error:
                raise error
            return Opened(record, **(with_kernels if record.kernels == "on" else plain or {}))

        return open_with_kernels(ModelFile(path), Cpu(), 2, BUILD, opening)

    def why_not():
        return [entry.facts["why_not"] for entry in store.entries()]

    def said():
        return deform_conv_kernel(ModelFile(path), 2, BUILD)

    return SimpleNamespace(open=open_, opened=opened, why_not=why_not, said=said)


def test_kernels_that_are_right_and_faster_are_used_from_then_on(machine):
    first = machine.open(seconds=0.5)
    second = machine.open(seconds=0.5)

    assert first.info.kernels
    assert second.info.kernels
    assert machine.opened == ["off", "on", "on"]
    assert machine.why_not() == [None]


@pytest.mark.parametrize(
    ("with_kernels", "why"),
    [
        ({"error": WrongAnswerError("its mask is wrong")}, "wrong"),
        ({"error": ProviderError("damaged")}, "damaged"),
        ({"seconds": 1.2}, "1.20 of"),
        ({"placed": {THEIRS: {"DeformConv": 20}}}, "no node"),
    ],
)
def test_kernels_that_are_not_are_left_out_from_then_on(machine, with_kernels, why):
    first = machine.open(**with_kernels)
    second = machine.open(**with_kernels)

    assert not first.info.kernels
    assert not second.info.kernels
    assert machine.opened == ["off", "on", "off", "off"]
    (noted,) = machine.why_not()
    assert why in noted


def test_kernels_that_answer_wrong_later_are_left_out_too(machine):
    machine.open(seconds=0.5)

    later = machine.open(error=WrongAnswerError("its mask is wrong"))

    assert not later.info.kernels
    assert machine.why_not() == ["its mask is wrong"]


def test_whose_kernel_runs_is_known_after_the_first_opening(machine, monkeypatch):
    monkeypatch.setattr(Plugin, "version", " birefnet-ort-kernels 7.8")

    assert "not known yet" in machine.said()
    machine.open(seconds=0.5)
    assert machine.said() == "birefnet-ort-kernels 7.8"
    machine.open(error=WrongAnswerError("its mask is wrong"))
    assert machine.said().startswith("ONNX Runtime's own;")
    assert machine.said().endswith("its mask is wrong")
    monkeypatch.setattr(acceptance, "plugin_of", lambda _: None)
    assert "not installed" in machine.said()


def test_a_graph_without_deformconv_is_not_tried(machine):
    machine.open(plain={"placed": {THEIRS: {"GridSample": 4}}})

    assert machine.opened == ["off", "off"]


def test_without_the_wheel_nothing_changes(monkeypatch):
    monkeypatch.setattr("birefnet_runtime.session.open.find_spec", lambda module: None)
    model = find_model("nano")

    assert open_session(model).info.provider == Cpu()
    with pytest.raises(ProviderError, match="birefnet-ort-kernels"):
        open_session(model, providers="cpu:kernels")


def test_what_is_asked_for():
    (plain,), (asked,) = (list(parse_providers(text)) for text in ("cpu:plain", "cpu:kernels"))

    assert (plain.kernels, asked.kernels, Cpu().kernels) == ("off", "on", "auto")


def test_only_kernels_that_are_on_are_planned():
    plans = [plan_session(Cpu(kernels=each), 2).providers for each in ("auto", "off", "on")]

    assert [[name for name, _ in plan] for plan in plans] == [[THEIRS], [THEIRS], [OURS, THEIRS]]


@pytest.mark.parametrize(
    ("installed", "node", "asked", "used"),
    [
        (True, "DeformConv", "auto", True),
        (True, "DeformConv", "cpu:kernels", True),
        (True, "DeformConv", "cpu:plain", False),
        (True, "DeformConv", "cuda", False),
        (True, "Conv", "cpu", False),
        (False, "DeformConv", "cpu", False),
    ],
)
def test_a_limit_of_memory_reckons_with_what_runs(
    installed, node, asked, used, tmp_path, monkeypatch
):
    """With the kernels a model takes less; without them it would go beyond the limit."""
    opened, tried = [], []

    def open_session(model, *, cpu, **_):
        opened.append(cpu.kernels)
        raise ProviderError("opened")

    def try_it(file, limit, kernels):
        tried.append(kernels)
        size = {"trained_size": (64, 64), "size_multiple": 32, "fixed": False}
        return {"bytes_per_pixel": 1, **size}

    monkeypatch.setattr(trial, "find_spec", lambda _: installed or None)
    monkeypatch.setattr(trial, "FOOTPRINTS", Store(tmp_path / "footprints"))
    monkeypatch.setattr(trial, "_try", try_it)
    monkeypatch.setattr(segmenter, "open_session", open_session)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph([helper.make_node(node, ["x"], ["y"])], "g", [image], [image])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")

    with pytest.raises(ProviderError, match="opened"):
        segmenter.Segmenter(tmp_path / "m.onnx", providers=asked, max_memory="1GB")

    assert tried == [used]
    assert opened == ["on" if used else "auto"]
