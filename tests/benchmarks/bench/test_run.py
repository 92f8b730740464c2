"""`birefnet bench` as it is typed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_apps.cli.main import main
from birefnet_benchmarks.bench.configuration import Configuration
from birefnet_benchmarks.bench.inputs import BenchRequest, bench_models
from birefnet_benchmarks.bench.interleave import InterleavedRuns
from birefnet_benchmarks.bench.measure.process import Limits
from birefnet_benchmarks.bench.measure.roofline import measure_roofline
from birefnet_benchmarks.bench.results import ConfigurationResult, MatmulPeak, Round, read_report
from birefnet_benchmarks.bench.run import RunSettings, _fastest, _notes
from birefnet_benchmarks.bench.workloads import Grid
from birefnet_benchmarks.errors import BenchmarkError
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "models" / "nano" / "model.safetensors"


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def write_foreign(path):
    """Somebody else's graph: for 64 x 64 alone, and with the sigmoid inside."""
    weight = numpy_helper.from_array(np.full((1, 3, 1, 1), 0.1, np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["mask"]),
        ],
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 64, 64])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The embedded model and a foreign one against nano's checkpoint, at two sizes."""
    folder = tmp_path_factory.mktemp("bench")
    gradient = np.linspace(0, 255, 90 * 120 * 3).reshape(90, 120, 3).astype(np.uint8)
    Image.fromarray(gradient).save(folder / "photo.png")
    write_foreign(folder / "theirs.onnx")
    arguments = (
        *("nano", folder / "theirs.onnx", "--against", CHECKPOINT),
        *("--sizes", "64,96x64", "--threads", "1", "--seconds", "0"),
        *("--images", folder / "photo.png", "--output", folder / "run", "--keep-going"),
    )
    return bench(*arguments), folder / "run"


@pytest.mark.pytorch
@pytest.mark.slow
def test_every_way_is_measured_and_compared(run):
    done, folder = run
    assert done.exit_code == 0, done.output
    found = read_report(folder)
    small = {
        each.configuration.backend + each.configuration.variant: each for each in found.results[:3]
    }

    assert list(small) == ["pytorcheager", "onnxruntimenative", "onnxruntimeas given"]
    assert all(len(each.rounds) >= 3 and each.error is None for each in small.values())
    ours, theirs = small["onnxruntimenative"], small["onnxruntimeas given"]
    assert ours.graph.problem is None
    assert 0 < ours.graph.logits.max_abs < 1e-3
    assert ours.previews[0].parity.problem is None
    assert ours.previews[0].parity.max_levels < 0.5
    assert theirs.facts["output"] == "mask"
    assert "mask" in theirs.graph.problem
    assert small["pytorcheager"].peak_rss_bytes > ours.peak_rss_bytes > 50e6


@pytest.mark.pytorch
@pytest.mark.slow
def test_what_a_graph_can_not_do_is_its_result(run):
    _, folder = run
    theirs = read_report(folder).results[5]

    assert theirs.configuration.size == (96, 64)
    assert "64x64 alone" in theirs.error
    assert read_report(folder).results[4].graph.problem is None


@pytest.mark.pytorch
@pytest.mark.slow
def test_the_machine_and_the_work_are_known(run):
    _, folder = run
    found = read_report(folder)

    assert {peak.library for peak in found.matmul_peaks} == {"onnxruntime", "torch"}
    assert all(peak.flops_per_s > 1e9 for peak in found.matmul_peaks)
    small, large = found.operation_counts
    assert large.multiply_adds == pytest.approx(1.5 * small.multiply_adds, rel=0.05)
    assert found.seconds == 0
    assert found.took_s > 1


@pytest.mark.pytorch
@pytest.mark.slow
def test_it_says_what_runs_and_what_is_left(run):
    done, folder = run

    assert "(workload 2 of 2)" in done.stderr
    assert "3 of 3 configurations done" in done.stderr
    assert "cpu: first answer after" in done.stderr
    assert done.stdout.startswith("configuration")
    for name in ("report.json", "report.md", "report.html"):
        assert (folder / name).stat().st_size > 1000


@pytest.mark.pytorch
@pytest.mark.slow
def test_the_documents_can_be_made_anew_and_a_run_is_no_regression_of_itself(run):
    _, folder = run
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()

    assert bench("report", folder).exit_code == 0
    assert (folder / "report.html").read_bytes() == page
    assert bench("compare", folder, folder).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["nano", "--images", "nowhere"], "nowhere: no such image"),
        (["nano", "--against", "transformers:a/b@c"], "add --trust-remote-code"),
        (["nano", "--against", "transformers:a/b", "--trust-remote-code"], "name the revision"),
        (["nano", "nano"], "asked twice for nano"),
        (["nano", "--images", "x" * 5000], "can't be read: File name too long"),
        (["nano", "--images", __file__], "test_run.py"),
        (["nano", "--against", ""], "--against names nothing"),
        (["nano", "--against", "x" * 5000], "x" * 5000),
        (["nano", "--against", CHECKPOINT, "--pytorch", "swift"], "PyTorch runs as eager"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, arguments, said):
    done = bench(*arguments, "--output", tmp_path / "run")

    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.startswith("birefnet: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sizes", "big"),
        ("--sizes", "auto"),
        ("--batches", "0"),
        ("--providers", "gpu"),
        ("--providers", "cpu,coreml:fp16,webgpu:deviceId=1"),
        ("--lowerings", "columns"),
        ("--precisions", "fp8"),
        ("--max-memory", "much"),
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--timeout", "nan"),
        ("--timeout", "1e300"),
        ("--min-iou", "nan"),
        ("--sizes", "32x1000000000"),
        ("--sizes", "0"),
        ("--sizes", "9" * 5000),
        ("--threads", "99999999999999"),
        ("--threads", "9" * 5000),
        ("--batches", "1025"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(tmp_path, option, value):
    done = bench("nano", "--output", tmp_path, option, value)

    assert done.exit_code == 2
    assert f"Invalid value for '{option}'" in done.stderr


def test_an_iou_without_images_to_take_it_on_is_a_usage_error(tmp_path):
    done = bench("nano", "--output", tmp_path, "--min-iou", "0.5")

    assert done.exit_code == 2
    assert "images of --calibrate" in done.stderr


def test_an_interrupted_run_keeps_what_it_has(tmp_path, monkeypatch):
    def interrupted(interleaved, configurations):
        yield ConfigurationResult(configurations[0], error="was in hand")
        raise KeyboardInterrupt

    monkeypatch.setattr(InterleavedRuns, "run", interrupted)
    monkeypatch.setattr("birefnet_benchmarks.bench.run.measure_roofline", lambda **_: ((), ()))

    done = bench("nano", "--output", tmp_path, "--note", "said by hand")

    assert done.exit_code == 130  # what shells give a program that Ctrl-C ends
    found = read_report(tmp_path)
    assert [each.error for each in found.results] == ["was in hand"]
    assert found.notes == ("said by hand", "Interrupted: configurations are missing.")


def test_an_export_that_can_not_be_exported_is_a_configuration(tmp_path, monkeypatch):
    def refuse(checkpoint, export, folder, int8):
        raise BenchmarkError(f"{export.precision} was refused")

    def run(interleaved, configurations):
        return (
            ConfigurationResult(configuration, error="not run") for configuration in configurations
        )

    monkeypatch.setattr("birefnet_benchmarks.bench.inputs.export_graph", refuse)
    monkeypatch.setattr(InterleavedRuns, "run", run)
    monkeypatch.setattr("birefnet_benchmarks.bench.run.measure_roofline", lambda **_: ((), ()))

    done = bench(CHECKPOINT, "--precisions", "fp32,int8", "--output", tmp_path, "--note", "mine")

    assert done.exit_code == 1, done.output
    assert "3 of 3 configurations failed" in done.stderr
    assert "--keep-going" in done.stderr
    found = read_report(tmp_path)
    errors = {
        each.configuration.precision + each.configuration.backend: each.error
        for each in found.results
    }
    assert errors == {
        "fp32pytorch": "not run",
        "fp32onnxruntime": "fp32 was refused",
        "int8onnxruntime": "int8 was refused",
    }
    assert {each.configuration.model for each in found.results} == {"nano"}
    assert "mine" in found.notes


def test_models_of_one_name_are_called_as_they_were_typed(tmp_path):
    places = [tmp_path / name / "model.onnx" for name in "ab"]
    for place in places:
        place.parent.mkdir()
        write_foreign(place)
    request = BenchRequest(models=tuple(map(str, (*places, "nano"))))

    models = bench_models(request, tmp_path, print, lambda: 0.0)

    assert [model.name for model in models] == [*map(str, places), "nano"]


def test_the_faster_product_of_each_library_and_number_of_threads_counts():
    slow, fast = MatmulPeak(2, "torch", 1e11), MatmulPeak(2, "torch", 2e11)
    other, one = MatmulPeak(2, "onnxruntime", 5e10), MatmulPeak(1, "torch", 3e11)

    assert _fastest((slow, other, fast, one)) == _fastest((fast, one, slow, other))
    assert _fastest((slow, other, fast, one)) == (one, other, fast)


def noted(results=(), batches=(1,), images=()):
    settings = RunSettings(Grid((), batches, (1,)), 1.0, Limits(), images, ("mine",))
    return " ".join(_notes(BenchRequest(("nano",)), settings, results))


def test_what_no_single_configuration_shows_is_noted():
    pytorch = Configuration("nano", "pytorch", "eager", "fp32", "cpu", (32, 32), 1, 1, "a.pth")
    graph = replace(pytorch, backend="onnxruntime")
    read = (Round(0, 0, (1.0,), 0.0, 2.0),)

    assert noted().startswith("mine ")
    assert "Without --against" in noted([ConfigurationResult(graph)])
    assert "Without --against" not in noted(
        [ConfigurationResult(graph), ConfigurationResult(pytorch)]
    )
    assert "Without --images" in noted()
    assert "Without --images" not in noted(images=(Path("a.jpg"),))
    assert "batch 1" in noted(images=(Path("a.jpg"),), batches=(1, 2))
    assert "batch 1" not in noted(images=(Path("a.jpg"),))
    assert "No energy counter" in noted(
        [ConfigurationResult(graph, rounds=(Round(0, 0, (1.0,), 0.0),))]
    )
    assert "No energy counter" not in noted(
        [ConfigurationResult(graph), ConfigurationResult(pytorch, rounds=read)]
    )


def test_without_an_answer_in_time_no_roofline_is_known():
    assert measure_roofline([1], [], [], timeout_s=0.01) == ((), ())
