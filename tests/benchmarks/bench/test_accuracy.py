"""Outputs compared with the baseline's, by a process that answers from memory."""

from dataclasses import replace

import numpy as np
import pytest
from birefnet_benchmarks.bench.accuracy import AccuracyCheck, folder_name, graph_tolerance
from birefnet_benchmarks.bench.configuration import Configuration
from birefnet_benchmarks.bench.results import ConfigurationResult
from birefnet_benchmarks.errors import MeasurementError
from birefnet_export.verify.logits import FLOAT32_TOLERANCES
from birefnet_export.verify.masks import MASK_TOLERANCES
from PIL import Image

BASELINE = Configuration(
    *("nano", "pytorch", "eager", "fp32", "cpu", (32, 64), 1, 2, "nano.pth"), baseline=True
)
GRAPH = replace(BASELINE, backend="onnxruntime", variant="rows", baseline=False)


class StubProcess:
    """Gives the same logits everywhere, and the same alpha."""

    def __init__(self, logits, alpha=0.5, shape=(1, 1, 32, 64)):
        self.outputs = {
            "logits": np.full(shape, logits, np.float32),
            "alpha": np.full((40, 60), alpha, np.float32),
        }

    def ask(self, request, file, **_):
        np.save(file, self.outputs[request])


@pytest.fixture
def check(tmp_path):
    """Compare processes one after another; the first is the baseline's."""
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    accuracy = AccuracyCheck([tmp_path / "photo.png"], tmp_path / "run", tmp_path)

    def compare(process, configuration=GRAPH, **facts):
        return accuracy.compare(process, ConfigurationResult(configuration, facts=facts))

    return compare


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_both_comparisons_are_differences_to_the_baseline(check, tmp_path):
    baseline = check(StubProcess(0.5), BASELINE)
    result = check(StubProcess(0.75, alpha=0.6))

    assert baseline.graph is None
    assert baseline.previews[0].parity is None
    assert baseline.previews[0].difference is None
    assert result.graph.logits.max_abs == result.graph.logits.mean_abs == pytest.approx(0.25)
    assert result.graph.mask.p99_abs == pytest.approx(sigmoid(0.75) - sigmoid(0.5), rel=1e-5)
    (shown,) = result.previews
    assert shown.parity.mae == pytest.approx(0.1, abs=1e-6)
    assert shown.parity.max_levels == pytest.approx(25.5, abs=1e-4)
    assert Image.open(tmp_path / "run" / shown.difference).getpixel((0, 0)) == 26
    assert Image.open(tmp_path / "run" / shown.mask).getpixel((0, 0)) == 153


@pytest.mark.parametrize("precision", FLOAT32_TOLERANCES)
def test_each_precision_has_the_tolerance_of_verify(precision):
    tolerance = graph_tolerance(replace(GRAPH, precision=precision), output=None)

    assert tolerance == FLOAT32_TOLERANCES[precision]


@pytest.mark.parametrize(("off", "passes"), [(9e-4, True), (1.1e-3, False)])
def test_in_fp32_logits_may_be_off_by_a_thousandth(check, off, passes):
    check(StubProcess(0.0), BASELINE)

    assert (check(StubProcess(off)).graph.problem is None) == passes
    assert check(StubProcess(off), replace(GRAPH, precision="fp16")).graph.problem is None


@pytest.mark.parametrize("precision", MASK_TOLERANCES)
def test_a_mask_far_off_is_beyond_the_tolerance_of_each_precision(check, precision):
    check(StubProcess(0.0, alpha=1.0), BASELINE)

    same = check(StubProcess(0.0, alpha=1.0), replace(GRAPH, precision=precision))
    far = check(StubProcess(0.0, alpha=0.3), replace(GRAPH, precision=precision))

    assert same.previews[0].parity.problem is None
    assert far.previews[0].parity.problem is not None


def test_a_graph_that_gives_a_mask_is_judged_by_it_alone(check):
    check(StubProcess(20.0), BASELINE)

    assert check(StubProcess(40.0), output="mask").graph.problem is None
    assert check(StubProcess(40.0), output="logits").graph.problem is not None
    assert check(StubProcess(-40.0), output="mask").graph.problem is not None


@pytest.mark.parametrize("process", [StubProcess(np.nan), StubProcess(0.0, shape=(1, 1, 32, 63))])
def test_what_can_not_be_compared_is_an_error(check, process):
    check(StubProcess(0.0), BASELINE)

    with pytest.raises(MeasurementError, match="can't be compared"):
        check(process)


def test_without_a_baseline_there_is_nothing_to_compare(check):
    result = check(StubProcess(0.0))

    assert result.graph is None
    assert [shown.parity for shown in result.previews] == [None]


def test_folders_of_configurations_are_plain_and_apart():
    other = replace(GRAPH, backend="mine/../:Class", variant="a b")

    assert folder_name(GRAPH) == "nano-32x64-2t-onnxruntime-rows-fp32-cpu"
    assert folder_name(other) == "nano-32x64-2t-mine_.._Class-a_b-fp32-cpu"
