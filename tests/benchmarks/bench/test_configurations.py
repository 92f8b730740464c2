"""From what is asked for to rows."""

from dataclasses import replace
from pathlib import Path

import birefnet_models
import pytest
from birefnet_benchmarks.bench.configuration import Row
from birefnet_benchmarks.bench.configurations import (
    Entrant,
    Grid,
    Way,
    cases_of,
    graph_way,
    pytorch_way,
)
from birefnet_benchmarks.bench.exports import Variant, variants
from birefnet_benchmarks.bench.tolerances import of_graph, precision_of
from birefnet_benchmarks.errors import BenchmarkError

NANO = birefnet_models.embedded_path(birefnet_models.all_cards()[0])
EAGER = pytorch_way("eager", Path("a.safetensors"))
GRAPH = Way("onnxruntime", "rows", "fp32", ("cpu", "cuda:1"), "a.onnx", "a")


def test_every_way_is_a_row_at_every_place_and_the_first_is_the_baseline():
    grid = Grid(sizes=((64, 96), (32, 32)), batches=(1, 2), threads=(1,))

    cases = cases_of(Entrant("a", (EAGER, GRAPH), None), grid)

    assert [case.rows[0].case for case in cases] == [
        ("a", size, batch, 1) for size in grid.sizes for batch in grid.batches
    ]
    assert cases[0].rows == (
        Row("a", "pytorch", "eager", "fp32", "cpu", (64, 96), 1, 1, "a.safetensors", baseline=True),
        Row("a", "onnxruntime", "rows", "fp32", "cpu", (64, 96), 1, 1, "a.onnx"),
        Row("a", "onnxruntime", "rows", "fp32", "cuda:1", (64, 96), 1, 1, "a.onnx"),
    )


def test_a_way_with_a_problem_is_a_row_with_it():
    broken = replace(GRAPH, providers=("cpu",), problem="can't be exported")

    (case,) = cases_of(Entrant("a", (EAGER, broken), None), Grid(((32, 32),), (1,), (1,)))

    assert case.problems == {case.rows[1]: "can't be exported"}


def test_two_files_that_are_alike_are_told_apart_by_their_names():
    entrant = Entrant("a", (GRAPH, replace(GRAPH, source="b.onnx", name="b")), None)

    (case,) = cases_of(entrant, Grid(((32, 32),), (1,), (1,)))

    assert [row.variant for row in case.rows] == ["a, rows", "a, rows", "b, rows", "b, rows"]


def test_the_same_twice_is_refused():
    with pytest.raises(BenchmarkError, match="asked twice for pytorch eager fp32 cpu"):
        cases_of(Entrant("a", (EAGER, EAGER), None), Grid(((32, 32),), (1,), (1,)))


def test_the_words_for_pytorch():
    ways = [pytorch_way(word, Path("a.pth")) for word in ("compile", "bf16", "eager:cuda:1")]

    assert [(way.variant, way.precision, way.providers) for way in ways] == [
        ("compile", "fp32", ("cpu",)),
        ("eager", "bf16", ("cpu",)),
        ("eager", "fp32", ("cuda:1",)),
    ]


@pytest.mark.parametrize("word", ["fast", "eager:tpu", ""])
def test_another_word_for_pytorch_is_refused(word):
    with pytest.raises(BenchmarkError, match="PyTorch runs as eager, compile or bf16"):
        pytorch_way(word, Path("a.pth"))


def test_a_graph_says_itself_what_it_is():
    way = graph_way(NANO, ("cpu",))

    assert (way.variant, way.precision, way.name) == ("native", "fp32", "nano")


def test_variants_are_a_row_and_a_column_not_a_table():
    assert variants(("rows", "native"), ("fp32", "int8")) == (
        Variant("rows", "fp32"),
        Variant("native", "fp32"),
        Variant("rows", "int8"),
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
    ],
)
def test_a_provider_may_compute_in_another_precision(precision, provider, found):
    row = Row("a", "onnxruntime", "rows", precision, provider, (32, 32), 1, 1, "")

    assert precision_of(row) == found


def test_a_graph_that_gives_a_mask_is_judged_by_the_mask():
    row = Row("a", "onnxruntime", "rows", "fp32", "cpu", (32, 32), 1, 1, "")

    assert of_graph(row, gives_mask=False).logits_max_abs < 1
    assert of_graph(row, gives_mask=True).logits_max_abs == float("inf")
    assert of_graph(row, gives_mask=True).mask_max_abs < 1
