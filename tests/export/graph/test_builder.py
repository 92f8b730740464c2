"""The graph under construction: nothing twice, everything named."""

import numpy as np
import onnx
from birefnet_export.graph.builder import Graph

from ..conftest import evaluated


def test_a_node_that_is_asked_for_twice_is_there_once():
    g = Graph(20)
    x = g.input("x", ["n"])

    assert (x + 1).name == (x + 1).name
    assert (x + 1).name != (x + 2).name
    assert g.op("Softmax", x, axis=0).name != g.op("Softmax", x, axis=-1).name
    assert len(g.model().graph.node) == 4


def test_equal_constants_are_stored_once_and_others_are_not():
    g = Graph(20)
    weights = np.random.default_rng(0).standard_normal((100, 3))

    assert g.constant(weights).name == g.constant(weights.copy()).name
    assert g.constant(weights).name != g.constant(weights.reshape(3, 100)).name
    assert g.constant(1).name != g.constant(1.0).name
    assert g.constant(1).name != g.constant([1]).name
    assert len(g.model().graph.initializer) == 5


def test_names_tell_the_place():
    g = Graph(20)
    x = g.input("x", ["n"])
    with g.scope("stage0"), g.scope("block1"):
        first = g.op("Relu", x)
        second = g.op("Relu", first)

    assert (first.name, second.name) == ("stage0/block1/Relu", "stage0/block1/Relu_1")


def test_doubles_become_float32_and_integers_int64():
    g = Graph(20)
    g.constant(np.ones(2))
    g.constant([1, 2])
    types = [t.data_type for t in g.model().graph.initializer]

    assert types == [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64]


def test_arithmetic_is_the_operators():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)

    found = evaluated(lambda g, v: ((v + 1.0) * v - v @ v).reshape([-1]), x)

    np.testing.assert_allclose(found, ((x + 1) * x - x @ x).ravel())


def test_what_two_ask_for_is_made_once():
    g, made = Graph(20), []
    layer = object()

    def make():
        made.append(1)
        return [np.zeros((2, 3)), [1, 2]]

    first, second = g.constants(layer, make), g.constants(layer, make)

    assert [value.name for value in first] == [value.name for value in second]
    assert made == [1]
    assert len(g.model().graph.initializer) == 2
