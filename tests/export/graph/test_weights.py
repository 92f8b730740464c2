"""Weights that leave memory while a graph is built, and the files that are put together of them."""

import json

import numpy as np
import onnx
import pytest
from birefnet_export.errors import GraphError
from birefnet_export.graph import save
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.save import (
    append_properties,
    data_path,
    opened_view,
    write_model,
)
from birefnet_export.graph.weights import (
    INLINE_BYTES,
    PAGE,
    WeightsBeside,
    WeightsInGraph,
    digest_of,
    place_of,
)
from birefnet_models.base.onnx_file import read_onnx
from onnx import numpy_helper

RNG = np.random.default_rng(0)
LARGE = RNG.standard_normal((30, 50)).astype(np.float32)
SQUARE = RNG.standard_normal((50, 50)).astype(np.float32)


def product(weights) -> onnx.ModelProto:
    """x @ LARGE @ SQUARE + 1, as a graph."""
    g = Graph(20, weights)
    x = g.input("x", ["rows", 30])
    g.output("y", ["rows", 50], x @ LARGE.astype(np.float64) @ SQUARE + 1.0)
    return g.model()


@pytest.fixture
def weights(tmp_path):
    with WeightsBeside(tmp_path / "weights") as kept:
        yield kept


def values(model: onnx.ModelProto) -> dict[str, list]:
    return {t.name: numpy_helper.to_array(t).tolist() for t in model.graph.initializer}


def test_large_constants_leave_the_graph_and_small_ones_stay(weights):
    model = product(weights)

    places = [place_of(tensor) for tensor in model.graph.initializer]
    assert [place is None for place in places] == [False, False, True]
    assert all(place.start % PAGE == 0 for place in places if place)
    assert model.ByteSize() < INLINE_BYTES
    assert [weights.array(t).tolist() for t in model.graph.initializer] == [
        LARGE.tolist(),
        SQUARE.tolist(),
        1.0,
    ]


def test_equal_values_are_written_once(weights):
    first = weights.tensor("a", LARGE)
    second = weights.tensor("b", LARGE.copy(), digest_of(LARGE))

    assert place_of(first) == place_of(second)
    assert place_of(weights.tensor("c", LARGE + 1)) != place_of(first)
    assert weights.path.stat().st_size <= 2 * PAGE * (1 + LARGE.nbytes // PAGE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64])
def test_values_come_back_in_their_type_and_shape(weights, dtype):
    given = (10 * RNG.standard_normal((3, 5, 700))).astype(dtype)

    found = weights.array(weights.tensor("a", given))

    assert found.dtype == dtype
    assert np.array_equal(found, given)


def test_one_file_is_the_model_that_onnx_would_have_written(weights, tmp_path):
    write_model(product(weights), tmp_path / "model.onnx", weights, external_data=False)

    written, plain = onnx.load(tmp_path / "model.onnx"), product(WeightsInGraph())
    onnx.checker.check_model(written, full_check=True)
    assert values(written) == values(plain)
    assert written.SerializeToString(deterministic=True) == plain.SerializeToString(
        deterministic=True
    )
    assert [w.name for w in read_onnx(tmp_path / "model.onnx").weights] == list(values(plain))


def test_weights_beside_are_those_that_the_graph_uses(weights, tmp_path):
    weights.tensor("unused", np.ones(100_000))
    write_model(product(weights), tmp_path / "model.onnx", weights, external_data=True)

    written = onnx.load(tmp_path / "model.onnx")
    assert values(written) == values(product(WeightsInGraph()))
    assert data_path(tmp_path / "model.onnx").stat().st_size < 5 * PAGE


@pytest.mark.parametrize("external_data", [False, True])
def test_a_view_maps_the_bytes_of_the_finished_file(weights, tmp_path, external_data):
    file = tmp_path / "out" / "model.onnx"
    file.parent.mkdir()

    view = write_model(product(weights), file, weights, external_data=external_data)

    with opened_view(view, file) as openable:
        assert values(onnx.load(openable)) == values(product(WeightsInGraph()))
        assert openable.stat().st_size < INLINE_BYTES
    assert [path.name for path in file.parent.iterdir() if "view" in path.name] == []


def test_facts_are_added_behind_the_model(weights, tmp_path):
    file = tmp_path / "model.onnx"
    write_model(product(weights), file, weights, external_data=False)
    before = file.read_bytes()

    append_properties(file, {"a": "1"})
    append_properties(file, {"b": json.dumps({"c": "ü"})})

    assert file.read_bytes().startswith(before)
    found = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert found == {"a": "1", "b": '{"c": "\\u00fc"}'}
    assert read_onnx(file).properties == found


def test_what_no_file_holds_is_refused(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(save, "LARGEST_FILE", 1000)

    with pytest.raises(GraphError, match=r"one file can hold.*--external-data"):
        write_model(product(weights), tmp_path / "model.onnx", weights, external_data=False)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 20, (1 << 31) - 1])
def test_lengths_are_protobufs(number):
    message = onnx.TensorProto(dims=[number])

    assert save._varint(number) in message.SerializeToString()
