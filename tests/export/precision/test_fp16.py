"""The fp16 pass on single layers."""

import numpy as np
import onnx
import pytest
from birefnet_export.errors import GraphError
from birefnet_export.precision.fp16 import to_half
from onnx import TensorProto, numpy_helper

from ..conftest import computed, model_of

RNG = np.random.default_rng(0)
LINEAR = RNG.standard_normal((64, 48)).astype(np.float32)


def test_a_kept_node_computes_in_float32_from_halved_weights():
    linear = model_of(
        lambda g, x: x @ g.constant(LINEAR) + np.ones(48, np.float32), "n", "rows", 64
    )
    everything = to_half(linear, frozenset())
    kept = to_half(linear, {n.name for n in linear.graph.node if n.op_type == "MatMul"})

    def cast_to(model):
        return [a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute]

    assert cast_to(everything) == [10, 1]  # in and out
    assert cast_to(kept) == [10, 1]  # the product, for its bias, and out
    x = RNG.standard_normal((1, 5, 64)).astype(np.float32)
    assert 0 < abs(computed(everything, x) - computed(linear, x)).max() < 0.1
    assert abs(computed(kept, x) - computed(linear, x)).max() < 0.02


def test_a_constant_beyond_float16_is_named():
    model = model_of(lambda g, x: x * np.full(3, 1e6, np.float32), "n", 3)

    with pytest.raises(GraphError, match="beyond float16's range"):
        to_half(model, frozenset())


def test_what_only_moves_values_takes_them_as_they_come():
    """From a float32 input to a float32 node, nothing is rounded on the way."""
    model = model_of(lambda g, x: g.op("Exp", g.op("Transpose", x, perm=[1, 0])), "n", "m")
    x = RNG.standard_normal((3, 5)).astype(np.float32)

    kept = to_half(model, {n.name for n in model.graph.node if n.op_type == "Exp"})
    assert (computed(kept, x) == computed(model, x)).all()
    assert "Cast" not in {n.op_type for n in kept.graph.node}

    inferred = onnx.shape_inference.infer_shapes(to_half(model, frozenset())).graph
    types = {info.name: info.type.tensor_type.elem_type for info in inferred.value_info}
    (moved,) = [n for n in inferred.node if n.op_type == "Transpose"]
    assert types[moved.output[0]] == TensorProto.FLOAT  # the input is float32 by contract


def test_values_in_half_are_moved_in_half():
    model = model_of(
        lambda g, x: g.op("Exp", g.op("Transpose", g.op("Neg", x), perm=[1, 0])), "n", "m"
    )
    inferred = onnx.shape_inference.infer_shapes(to_half(model, frozenset())).graph

    types = {info.name: info.type.tensor_type.elem_type for info in inferred.value_info}
    (moved,) = [n for n in inferred.node if n.op_type == "Transpose"]
    assert types[moved.output[0]] == TensorProto.FLOAT16


@pytest.mark.parametrize(("elements", "stored"), [(4096, np.float32), (4097, np.float16)])
def test_small_constants_of_a_float32_node_stay_float32(elements, stored):
    constant = np.full(elements, 1 / 3, np.float32)
    model = model_of(lambda g, x: x * constant, "n", elements)

    kept = to_half(model, {n.name for n in model.graph.node})
    assert [numpy_helper.to_array(t).dtype for t in kept.graph.initializer] == [stored]


def test_the_largest_float16_is_stored_and_the_next_is_refused():
    fits = model_of(lambda g, x: x * np.full(3, -65504, np.float32), "n", 3)
    beyond = model_of(lambda g, x: x * np.full(3, -65536, np.float32), "n", 3)

    x = np.ones((1, 3), np.float32)
    assert computed(to_half(fits, frozenset()), x).tolist() == [[-65504] * 3]
    with pytest.raises(GraphError, match="beyond float16's range"):
        to_half(beyond, frozenset())
