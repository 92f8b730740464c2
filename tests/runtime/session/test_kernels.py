"""Our own kernels on the CPU: used where they are right and faster, asked once."""

from types import SimpleNamespace

import numpy as np
import pytest
from birefnet_models.base.store import Store
from birefnet_runtime import ProviderError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session import acceptance
from birefnet_runtime.session.acceptance import open_with_kernels, why_no_kernels
from birefnet_runtime.session.ort_options import plan_session
from birefnet_runtime.session.ort_session import NodePlacement, SessionInfo
from birefnet_runtime.session.plugins import Plugin
from birefnet_runtime.session.providers import Cpu, parse_providers

BUILD = SimpleNamespace(package="onnxruntime", version="1.32.0")
OURS, THEIRS = "BiRefNetExecutionProvider", "CPUExecutionProvider"


class Opened:
    """A session whose runs take some seconds of the fake clock."""

    def __init__(self, record, clock, answer=0.0, seconds=1.0, placed=None, fails=False):
        where = OURS if record.kernels == "on" else THEIRS
        placement = NodePlacement(placed or {where: {"DeformConv": 20}, THEIRS: {"Conv": 5}})
        if placed is None and where == THEIRS:
            placement = NodePlacement({THEIRS: {"DeformConv": 20, "Conv": 5}})
        self.info = SessionInfo(record, (), placement)
        self.clock, self.answer, self.seconds, self.fails = clock, answer, seconds, fails

    def run(self):
        if self.fails:
            raise RuntimeError("bad node")
        self.clock.now += self.seconds
        return np.full((1, 1, 8, 8), self.answer, np.float32)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Where kernels are installed: `open(with_kernels={...}, plain={...})`, and what was opened."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(acceptance, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(acceptance, "VERDICTS", Store(tmp_path / "kernels"))
    monkeypatch.setattr(
        acceptance, "plugin_of", lambda name: Plugin("onnxruntime_ep_birefnet", "any")
    )
    monkeypatch.setattr(acceptance, "read_properties", lambda session, path: {})
    monkeypatch.setattr(acceptance, "model_facts", lambda *_: SimpleNamespace(output="logits"))
    signature = SimpleNamespace(
        size=None, batch=None, takes_pixels=False, run=lambda session, tensor: session.run()
    )
    monkeypatch.setattr(acceptance, "read_signature", lambda session: signature)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")
    model = ModelFile(path)
    opened = []

    def open_(cpu=None, plain=None, **with_kernels):
        def opening(record):
            opened.append(record.kernels)
            own = with_kernels if record.kernels == "on" else plain
            return Opened(record, clock, **(own or {}))

        return open_with_kernels(model, cpu or Cpu(), 2, BUILD, opening)

    return SimpleNamespace(
        open=open_, opened=opened, why_not=lambda: why_no_kernels(model, 2, BUILD)
    )


def test_kernels_that_are_right_and_faster_are_used_from_then_on(machine):
    first = machine.open(seconds=0.5)
    second = machine.open(seconds=0.5)

    assert first.info.kernels
    assert second.info.kernels
    assert machine.opened == ["off", "on", "on"]
    assert machine.why_not() is None


@pytest.mark.parametrize(
    ("with_kernels", "why"),
    [
        ({"answer": 3.0}, "differs"),
        ({"answer": float("nan")}, "differs"),
        ({"seconds": 1.2}, "1.20 of"),
        ({"fails": True}, "bad node"),
        ({"placed": {THEIRS: {"DeformConv": 20}}}, "no node"),
    ],
)
def test_kernels_that_are_not_are_refused_once(machine, with_kernels, why):
    first = machine.open(**with_kernels)
    second = machine.open(**with_kernels)

    assert not first.info.kernels
    assert not second.info.kernels
    assert machine.opened == ["off", "on", "off", "off"]
    assert why in machine.why_not()


def test_a_graph_without_deformconv_is_not_tried(machine):
    machine.open(plain={"placed": {THEIRS: {"GridSample": 4}}})

    assert machine.opened == ["off", "off"]


def test_without_the_wheel_nothing_changes(machine, monkeypatch):
    monkeypatch.setattr(acceptance, "plugin_of", lambda name: None)

    assert machine.open().info.provider == Cpu()
    assert machine.opened == ["auto"]
    with pytest.raises(ProviderError, match="birefnet-ort-kernels"):
        machine.open(Cpu(kernels="on"))


def test_what_is_asked_for_is_not_tried(machine):
    machine.open(Cpu(kernels="on"))
    machine.open(Cpu(kernels="off"))

    assert machine.opened == ["on", "off"]
    assert parse_providers("cpu:plain") == (Cpu(kernels="off"),)
    assert parse_providers("cpu:kernels") == (Cpu(kernels="on"),)


def test_only_kernels_that_are_on_are_planned():
    plans = [plan_session(Cpu(kernels=each), 2).providers for each in ("auto", "off", "on")]

    assert [[name for name, _ in plan] for plan in plans] == [[THEIRS], [THEIRS], [OURS, THEIRS]]
