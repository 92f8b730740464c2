"""From models as they are typed to setups, without exporting anything."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_benchmarks.bench import inputs as models
from birefnet_benchmarks.bench.inputs import (
    BenchRequest,
    Export,
    Int8Options,
    bench_models,
    export_graph,
    trained_size,
)
from birefnet_benchmarks.bench.workloads import BenchModel, Setup
from birefnet_benchmarks.errors import BenchmarkError
from birefnet_models import PinError
from birefnet_models.pins import FetchOptions
from onnx import TensorProto, helper, numpy_helper

CHECKPOINT = Path(__file__).parents[3] / "models" / "nano" / "model.safetensors"


def write_graph(path, height, width, **facts):
    weight = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["logits"])],
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, height, width])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"birefnet.{key}": value for key, value in facts.items()})
    onnx.save(model, path)
    return path


def resolved(request, scratch=Path()):
    return bench_models(request, scratch, lambda line: None, lambda: 0.0)


@pytest.mark.parametrize(
    ("sides", "facts", "size"),
    [
        (("h", "w"), {"trained_size": "96x160"}, (96, 160)),
        ((64, 128), {"trained_size": "96x160"}, (96, 160)),
        ((64, 128), {}, (64, 128)),
        (("h", "w"), {}, (1024, 1024)),
        ((64, "w"), {}, (1024, 1024)),
    ],
)
def test_the_size_is_what_the_graph_was_trained_or_fixed_at(tmp_path, sides, facts, size):
    file = write_graph(tmp_path / "a.onnx", *sides, **facts)

    (model,) = resolved(BenchRequest((str(file),)))

    assert trained_size(model) == size


def test_the_size_is_that_of_the_first_graph_that_can_run(tmp_path):
    first, second = (write_graph(tmp_path / f"{n}.onnx", n, n) for n in (32, 64))
    setups = [Setup("onnxruntime", "rows", "fp32", ("cpu",), str(file)) for file in (first, second)]
    pytorch = Setup("pytorch", "eager", "fp32", ("cpu",), "a.pth")
    broken = Setup("onnxruntime", "rows", "fp32", ("cpu",), "a.pth", problem="not exported")

    assert trained_size(BenchModel("a", (pytorch, broken, *setups[::-1]), None)) == (64, 64)
    assert trained_size(BenchModel("a", (pytorch,), None)) == (1024, 1024)


def test_with_a_checkpoint_all_models_are_compared_with_it(tmp_path):
    files = [str(write_graph(tmp_path / f"{name}.onnx", 32, 32)) for name in ("a", "b")]
    request = BenchRequest(tuple(files), str(CHECKPOINT), ("eager", "bf16"), ("cpu", "cuda"))

    (model,) = resolved(request)

    assert (model.name, model.checkpoint) == ("nano", CHECKPOINT)
    ways = [(setup.backend, setup.precision, setup.providers) for setup in model.setups]
    assert ways == [
        ("pytorch", "fp32", ("cpu",)),
        ("pytorch", "bf16", ("cpu",)),
        ("onnxruntime", "fp32", ("cpu", "cuda")),
        ("onnxruntime", "fp32", ("cpu", "cuda")),
    ]


def test_without_one_each_model_is_its_own(tmp_path):
    files = [str(write_graph(tmp_path / f"{name}.onnx", 32, 32)) for name in ("a", "b")]

    a, b = resolved(BenchRequest(tuple(files), backends=("mine:Class",)))

    assert (a.name, b.name) == ("a", "b")
    assert [setup.backend for setup in a.setups] == ["onnxruntime", "mine:Class"]
    assert a.setups[1].source == files[0]
    assert a.checkpoint is None


def test_a_checkpoint_is_exported_and_its_failures_are_setups(monkeypatch, tmp_path):
    graph = write_graph(tmp_path / "a.onnx", 32, 32, lowering="rows", precision="fp32")

    def export(checkpoint, export, folder, int8):
        if export.precision == "int8":
            raise BenchmarkError("no images")
        return graph

    monkeypatch.setattr(models, "export_graph", export)

    (model,) = resolved(BenchRequest((str(CHECKPOINT),), precisions=("fp32", "int8")))

    assert model.name == "nano"  # a file called model.safetensors has its folder's name
    assert [setup.backend for setup in model.setups] == ["pytorch", "onnxruntime", "onnxruntime"]
    assert [setup.problem for setup in model.setups] == [None, None, "no images"]
    assert model.setups[2].variant == "rows"


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("fp32", []),
        ("int8", ["--calibrate", "photos", "--min-iou", "0.0"]),
    ],
)
def test_only_int8_is_calibrated(monkeypatch, tmp_path, precision, options):
    calls = []

    def export_by_command(*arguments):
        calls.append(arguments)
        return {"file": "a.onnx"}

    monkeypatch.setattr("birefnet_benchmarks.bench.inputs.export_by_command", export_by_command)
    int8 = Int8Options(Path("photos"), 0.0)

    file = export_graph(CHECKPOINT, Export("rows", precision), tmp_path, int8)

    base = ["--lowering", "rows", "--precision", precision]
    assert file == Path("a.onnx")
    assert calls == [(CHECKPOINT, tmp_path / f"rows-{precision}", *base, *options)]


def test_a_model_of_the_hub_is_fetched_and_pinned_as_a_checkpoint_is(hub, tmp_path):
    graph = write_graph(tmp_path / "a.onnx", 64, 64)
    lock = FetchOptions(tmp_path / "my.lock")
    hub.repo("someone/thing").commit({"onnx/model_fp16.onnx": graph.read_bytes()})
    with pytest.raises(PinError, match="--locked refuses"):
        resolved(BenchRequest(("someone/thing",), fetching=FetchOptions(lock.lock, locked=True)))
    (model,) = resolved(BenchRequest(("someone/thing",), fetching=lock))
    (again,) = resolved(BenchRequest(("someone/thing",), precisions=("fp16",), fetching=lock))

    assert [setup.source for setup in model.setups] == [setup.source for setup in again.setups]
    assert Path(model.setups[0].source).read_bytes() == graph.read_bytes()
    assert "someone/thing@main:fp16" in lock.lock.read_text()
