"""From what is asked for to configurations."""

from dataclasses import replace
from pathlib import Path

import birefnet_models
import pytest
from birefnet_benchmarks.bench.accuracy import computed_precision, graph_tolerance
from birefnet_benchmarks.bench.configuration import Configuration
from birefnet_benchmarks.bench.inputs import Export, exports_of
from birefnet_benchmarks.bench.workloads import (
    BenchModel,
    Grid,
    Setup,
    graph_setup,
    pytorch_setup,
    workloads_of,
)
from birefnet_benchmarks.errors import BenchmarkError

NANO = birefnet_models.embedded_path(birefnet_models.all_cards()[0])
EAGER = pytorch_setup("eager", Path("a.safetensors"))
GRAPH = Setup("onnxruntime", "rows", "fp32", ("cpu", "cuda:1"), "a.onnx", "a")


def test_every_setup_runs_at_every_point_of_the_grid_and_the_first_is_the_baseline():
    grid = Grid(sizes=((64, 96), (32, 32)), batches=(1, 2), threads=(1,))

    workloads = workloads_of(BenchModel("a", (EAGER, GRAPH), None), grid)

    assert [next(iter(workload)).workload for workload in workloads] == [
        ("a", size, batch, 1) for size in grid.sizes for batch in grid.batches
    ]
    assert tuple(workloads[0]) == (
        Configuration(
            "a", "pytorch", "eager", "fp32", "cpu", (64, 96), 1, 1, "a.safetensors", baseline=True
        ),
        Configuration("a", "onnxruntime", "rows", "fp32", "cpu", (64, 96), 1, 1, "a.onnx"),
        Configuration("a", "onnxruntime", "rows", "fp32", "cuda:1", (64, 96), 1, 1, "a.onnx"),
    )


def test_a_setup_with_a_problem_is_a_configuration_with_it():
    broken = replace(GRAPH, providers=("cpu",), problem="can't be exported")

    (workload,) = workloads_of(
        BenchModel("a", (EAGER, broken), None), Grid(((32, 32),), (1,), (1,))
    )

    assert list(workload.values()) == [None, "can't be exported"]


def test_two_files_that_are_alike_are_told_apart_by_their_names():
    bench_model = BenchModel("a", (GRAPH, replace(GRAPH, source="b.onnx", name="b")), None)

    (workload,) = workloads_of(bench_model, Grid(((32, 32),), (1,), (1,)))

    assert [configuration.variant for configuration in workload] == [
        "a, rows",
        "a, rows",
        "b, rows",
        "b, rows",
    ]


def test_the_same_twice_is_refused():
    with pytest.raises(BenchmarkError, match="asked twice for pytorch"):
        workloads_of(BenchModel("a", (EAGER, EAGER), None), Grid(((32, 32),), (1,), (1,)))


def test_the_modes_of_pytorch():
    setups = [pytorch_setup(word, Path("a.pth")) for word in ("compile", "bf16", "eager:cuda:1")]

    assert [(setup.variant, setup.precision, setup.providers) for setup in setups] == [
        ("compile", "fp32", ("cpu",)),
        ("eager", "bf16", ("cpu",)),
        ("eager", "fp32", ("cuda:1",)),
    ]


@pytest.mark.parametrize("word", ["fast", "eager:tpu", ""])
def test_another_mode_of_pytorch_is_refused(word):
    with pytest.raises(BenchmarkError, match="eager, compile or bf16"):
        pytorch_setup(word, Path("a.pth"))


def test_a_graph_says_itself_what_it_is():
    setup = graph_setup(NANO, ("cpu",))

    assert (setup.variant, setup.precision, setup.name) == ("native", "fp32", "nano")


def test_exports_are_a_configuration_and_a_column_not_a_table():
    assert exports_of(("rows", "native"), ("fp32", "int8")) == (
        Export("rows", "fp32"),
        Export("native", "fp32"),
        Export("rows", "int8"),
    )


@pytest.mark.parametrize(
    ("precision", "provider", "found"),
    [
        ("fp32", "cpu", "fp32"),
        ("int8", "cpu", "int8"),
        ("fp32", "openvino:bf16", "bf16"),
        ("fp32", "tensorrt:fp16", "fp16"),
        ("fp32", "cuda:1:tf32", "fp16"),
        ("fp16", "cuda", "fp16"),
        ("fp32", "webgpu:preferredLayout=NHWC", "fp16"),
        ("int8", "CoreML", "int8"),
    ],
)
def test_a_provider_may_compute_in_another_precision(precision, provider, found):
    configuration = Configuration(
        "a", "onnxruntime", "rows", precision, provider, (32, 32), 1, 1, ""
    )

    assert computed_precision(configuration) == found


def test_a_graph_that_gives_a_mask_is_judged_by_the_mask():
    configuration = Configuration("a", "onnxruntime", "rows", "fp32", "cpu", (32, 32), 1, 1, "")

    assert graph_tolerance(configuration, output="logits").logits_max_abs < 1
    assert graph_tolerance(configuration, output="mask").logits_max_abs == float("inf")
    assert graph_tolerance(configuration, output="mask").mask_max_abs < 1
