"""The int8 pass on single layers."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export.graph import layers
from birefnet_export.graph.builder import Graph, Value
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import conv, relu
from birefnet_export.precision.int8 import (
    LEAST_SHARE,
    ActivationRange,
    Int8Plan,
    LayerWeight,
    faster_in_int8,
    folded_relus,
    offset_predictors,
    quantized,
    round_for_sums,
)
from onnx import helper, numpy_helper

from ..conftest import computed, model_of

RNG = np.random.default_rng(0)
LINEAR = RNG.standard_normal((64, 48)).astype(np.float32)
LARGE = RNG.standard_normal((128, 128)).astype(np.float32)
KERNEL = Kernel(RNG.standard_normal((16, 8, 3, 3)), RNG.random(16))


def layer_weight(values: np.ndarray, axis: int) -> LayerWeight:
    return LayerWeight("w", 1, axis, values.shape, lambda: values)


def within(low: float, high: float, channels: int = 1) -> ActivationRange:
    """The same range for each channel."""
    return ActivationRange(*(np.full(channels, end, np.float32) for end in (low, high)))


def run_by_onnxruntime(model: onnx.ModelProto, folder) -> set[str]:
    """The operators that are left when ONNX Runtime has fused what it knows."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node}


@pytest.fixture(scope="module")
def linear() -> onnx.ModelProto:
    bias = np.ones(48, np.float32)
    return model_of(lambda g, x: x @ g.constant(LINEAR) + bias, "batch", "rows", 64)


@pytest.fixture(scope="module")
def convolution() -> onnx.ModelProto:
    return model_of(lambda g, x: relu(g, conv(g, x, KERNEL)), "batch", 8, "h", "w")


def test_a_weight_is_rounded_to_the_nearest_step_of_its_channel():
    values, scale = round_for_sums(layer_weight(LINEAR, 1))

    neighbors = values.T.reshape(48, -1, 2).astype(int)
    sums = [np.maximum(sign * neighbors, 0).sum(2).max(1) for sign in (1, -1)]
    assert set(np.maximum(*sums)) <= {126, 127, 128}
    assert (np.abs(values * scale - LINEAR) <= scale / 2 + 1e-7).all()


def test_the_largest_weight_keeps_its_sign():
    weights = np.zeros((8, 1), np.float32)
    weights[:2, 0] = 1, -0.5

    values, _ = round_for_sums(layer_weight(weights, 1))

    assert values[0, 0] == 127
    assert (np.sign(values) == np.sign(weights)).all()


def test_a_convolution_that_others_read_predicts_no_offsets():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
        helper.make_node("Split", ["y"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("Relu", ["y"], ["z"]),
    ]

    def predictors(nodes: list[onnx.NodeProto]) -> frozenset[str]:
        return offset_predictors(helper.make_model(helper.make_graph(nodes, "g", [], [])))

    assert predictors(nodes[:2]) == {"conv"}
    assert predictors(nodes) == frozenset()


def test_a_channel_of_zeros_stays_zero():
    values, scale = round_for_sums(layer_weight(np.zeros((4, 512), np.float32), 0))

    assert not values.any()
    assert np.isfinite(scale).all()


def in_sixteen_bits(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w as AVX2's vpmaddubsw adds it: products of two neighbors in a saturating int16."""
    pairs = x.astype(np.int32)[:, :, None] * w.astype(np.int32)
    pairs = pairs[:, ::2] + np.pad(pairs[:, 1::2], ((0, 0), (0, len(w) % 2), (0, 0)))
    return pairs.clip(-(2**15), 2**15 - 1).sum(1)


@pytest.mark.parametrize("rows", [64, 63])
def test_sums_of_a_product_do_not_saturate_without_vnni(rows):
    signs = np.sign(LINEAR[:rows])
    for weights in (LINEAR[:rows], np.abs(LINEAR[:rows]), signs, np.ones((rows, 48), np.float32)):
        values, scale = round_for_sums(layer_weight(weights, 1))
        for x in (np.full((1, rows), 255), RNG.integers(0, 256, (9, rows))):
            assert (in_sixteen_bits(x, values) == x @ values.astype(int)).all()
        assert (np.abs(values * scale - weights) <= scale / 2 + 1e-6).all()

    values = np.full((rows, 48), 127)
    full = np.full((1, rows), 255)
    assert (in_sixteen_bits(full, values) != full @ values.astype(int)).all()  # 127 + 127 does


def test_sums_of_a_convolution_do_not_saturate_in_either_order():
    weights = RNG.standard_normal((5, 7, 3, 3)).astype(np.float32)
    values, _ = round_for_sums(layer_weight(weights, 0))

    full = np.full((1, 63), 255)
    for order in (values, np.moveaxis(values, 1, -1)):
        columns = order.reshape(5, -1).T
        for pushed in (np.maximum(columns, 0), np.minimum(columns, 0)):
            assert (in_sixteen_bits(full, pushed) == full @ pushed.astype(int)).all()


def test_large_sums_are_right_on_this_processor():
    """ONNX Runtime's own kernels: 64 products of 255 and weights that are all the largest."""
    model = model_of(lambda g, x: x @ g.constant(np.ones((64, 48), np.float32)), "rows", 64)
    small = quantized(model, Int8Plan(products=frozenset(n.name for n in model.graph.node)))

    x = np.ones((3, 64), np.float32)
    x[:, 1] = 0  # the range is 0 to 1
    assert computed(small, x) == pytest.approx(np.full((3, 48), 63), rel=0.01)


def test_a_dynamic_product_is_near_and_fused_with_its_bias(linear, tmp_path):
    name = next(n.name for n in linear.graph.node if n.op_type == "MatMul")
    small = quantized(linear, Int8Plan(products=frozenset([name])))
    x = RNG.standard_normal((2, 5, 64)).astype(np.float32)

    exact = computed(linear, x)
    assert 0 < abs(computed(small, x) - exact).mean() < 0.02 * abs(exact).mean()
    assert run_by_onnxruntime(small, tmp_path) == {"DynamicQuantizeMatMul"}


def test_a_static_convolution_is_near_fused_and_rectified(convolution, tmp_path):
    name = next(n.name for n in convolution.graph.node if n.op_type == "Conv")
    x = RNG.uniform(-1, 1, (2, 8, 6, 7)).astype(np.float32)
    exact = computed(convolution, x)
    (result,) = [n.output[0] for n in convolution.graph.node if n.op_type == "Relu"]
    ranges = {"x": within(-1, 1), result: within(0, float(exact.max()), 16)}
    small = quantized(convolution, Int8Plan(convolutions=frozenset([name]), ranges=ranges))

    found = computed(small, x)
    assert 0 < abs(found - exact).mean() < 0.02 * exact.mean()
    assert not found[exact == 0].mean() > 0.01
    operators = run_by_onnxruntime(small, tmp_path)
    assert "QLinearConv" in operators
    assert not operators & {"Conv", "FusedConv", "Relu"}


def test_a_range_is_what_the_images_showed_and_what_lies_beyond_is_clipped(convolution):
    name = next(n.name for n in convolution.graph.node if n.op_type == "Conv")
    (result,) = [n.output[0] for n in convolution.graph.node if n.op_type == "Relu"]
    ranges = {"x": within(-1, 1), result: within(0, 0.5, 16)}
    small = quantized(convolution, Int8Plan(convolutions=frozenset([name]), ranges=ranges))

    found = computed(small, RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32))
    assert found.max() == pytest.approx(0.5)
    assert found.min() == 0


def test_a_weight_that_is_only_stored_is_float16_and_folded_when_it_is_loaded(
    convolution, tmp_path
):
    small = quantized(convolution, Int8Plan())
    x = RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32)

    assert 0 < abs(computed(small, x) - computed(convolution, x)).max() < 0.01
    assert small.ByteSize() < 0.7 * convolution.ByteSize()
    assert not run_by_onnxruntime(small, tmp_path) & {"Cast", "Mul", "DequantizeLinear"}


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [(-1, 2, 3 / 255, 85), (0.5, 2.55, 0.01, 0), (-5.1, -1, 0.02, 255), (0, 0, 1, 0)],
)
def test_zero_is_exact_in_every_range(low, high, scale, zero):
    found, position = within(low, high, 3).affine()
    assert (found, position) == (pytest.approx(scale), zero)


def test_each_channel_has_its_own_steps_but_none_that_only_dust_would_need():
    by_channel = ActivationRange(
        np.array([-51, 0, 0, -1], np.float32), np.array([0, 25.5, 0, 1], np.float32)
    )

    levels = by_channel.by_channel()
    assert levels.step * 254 == pytest.approx([51, 25.5, 51 / LEAST_SHARE, 51 / LEAST_SHARE])
    assert levels.middle.tolist() == [-25.5, 12.75, 0, 0]
    assert within(3, 3, 2).by_channel().step.tolist() == [1, 1]


def unlike(channels: int) -> Kernel:
    """Channels of which each is ten times the one before it, with a bias."""
    weight = RNG.standard_normal((channels, 8, 3, 3))
    sizes = 10.0 ** (np.arange(channels) % 2)
    return Kernel(weight * sizes[:, None, None, None], sizes)


def test_offsets_that_reach_differently_far_keep_their_accuracy(tmp_path):
    """What predicts offsets is what is split."""

    def build(g, x):
        return layers.concat(g, g.ops("Split", 2, conv(g, x, unlike(16)), [8, 8], axis=1), 1)

    model = model_of(build, "batch", 8, "h", "w")
    (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
    assert offset_predictors(model) == {node.name}
    x = RNG.uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32)
    exact = computed(model, x)
    ends = ActivationRange(exact.min((0, 2, 3)), exact.max((0, 2, 3)))

    def errors(output: ActivationRange) -> np.ndarray:
        ranges = {"x": within(-1, 1), node.output[0]: output}
        plan = Int8Plan(convolutions=frozenset([node.name]), ranges=ranges)
        small = quantized(model, plan)
        assert "QLinearConv" in run_by_onnxruntime(small, tmp_path)
        return abs(computed(small, x) - exact).mean((0, 2, 3))[::2]  # of the small channels

    alike = ActivationRange(np.full(16, ends.low.min()), np.full(16, ends.high.max()))
    assert errors(ends).mean() < errors(alike).mean() / 3


def test_offsets_to_one_side_have_steps_of_their_span_not_of_their_reach():
    """A bias of ten times what the rest gives costs nothing."""
    errors = []
    for bias in (0.0, 20.0):
        kernel = Kernel(
            np.random.default_rng(1).standard_normal((16, 8, 3, 3)) / 4, np.full(16, bias)
        )
        model = model_of(
            lambda g, x, k=kernel: layers.concat(
                g, g.ops("Split", 2, conv(g, x, k), [8, 8], axis=1), 1
            ),
            *("batch", 8, "h", "w"),
        )
        (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
        x = np.random.default_rng(0).uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32)
        exact = computed(model, x)
        ends = ActivationRange(exact.min((0, 2, 3)), exact.max((0, 2, 3)))
        ranges = {"x": within(-1, 1), node.output[0]: ends}
        small = quantized(model, Int8Plan(convolutions=frozenset([node.name]), ranges=ranges))
        errors.append(abs(computed(small, x) - exact).mean())

    assert errors[1] < 1.1 * errors[0]


def convolution_of(bias: float, after: Callable[[Graph, Value], Value]) -> onnx.ModelProto:
    kernel = Kernel(np.full((16, 8, 3, 3), 0.25), np.array([bias, -bias] * 8))
    return model_of(lambda g, x: after(g, conv(g, x, kernel)), "batch", 8, "h", "w")


def test_a_bias_beyond_int32_is_clipped():
    model = convolution_of(1e6, lambda g, y: y)
    (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
    ranges = {"x": within(-1e-3, 1e-3), node.output[0]: within(-1e6, 1e6, 16)}
    small = quantized(model, Int8Plan(convolutions=frozenset([node.name]), ranges=ranges))

    (bias,) = [t for t in small.graph.initializer if t.name == f"{node.name}:bias:int32"]
    assert numpy_helper.to_array(bias).tolist() == [2**31 - 1, -(2**31)] * 8


def test_a_relu_of_a_value_that_others_read_too_is_kept():
    model = convolution_of(-0.5, lambda g, y: y + relu(g, y))
    (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
    ranges = {"x": within(-1, 1), node.output[0]: within(-19, 19, 16)}
    small = quantized(model, Int8Plan(convolutions=frozenset([node.name]), ranges=ranges))

    x = RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32)
    assert folded_relus(model) == {}
    assert "Relu" in {n.op_type for n in small.graph.node}
    assert computed(model, x).min() < -1  # what a folded Relu would have clipped
    assert abs(computed(small, x) - computed(model, x)).max() < 0.4


def test_a_product_whose_left_operand_is_the_constant_stays_in_float32():
    model = model_of(lambda g, x: g.constant(LARGE) @ x, "batch", 128, "columns")
    other = model_of(lambda g, x: x @ g.constant(LARGE), "batch", "rows", 128)

    assert faster_in_int8(model, "MatMul") == frozenset()
    assert len(faster_in_int8(other, "MatMul")) == 1


@pytest.mark.parametrize(("channels", "faster"), [(80, True), (78, False)])
def test_only_products_that_do_much_with_each_value_are_quantized(channels, faster):
    """A product of n by n channels multiplies n / 2 times for each value; 40 is enough."""
    weight = RNG.standard_normal((channels, channels)).astype(np.float32)
    model = model_of(lambda g, x: x @ g.constant(weight), "batch", "rows", channels)

    assert bool(faster_in_int8(model, "MatMul")) == faster


def test_a_small_weight_stays_float32():
    weight = RNG.standard_normal((32, 32)).astype(np.float32)  # 1024 values
    model = model_of(lambda g, x: x @ g.constant(weight), "batch", "rows", 32)

    small = quantized(model, Int8Plan())
    assert "Cast" not in {n.op_type for n in small.graph.node}
    (kept,) = small.graph.initializer
    assert (numpy_helper.to_array(kept) == weight).all()


def test_equal_weights_are_no_larger_than_two_neighbors_may_be():
    """64 + 64 is what they may add up to."""
    product = model_of(lambda g, x: x @ g.constant(np.ones_like(LARGE)), "batch", "rows", 128)
    convolution = convolution_of(0, lambda g, y: y)
    for model, op_type in ((product, "MatMul"), (convolution, "Conv")):
        names = frozenset(n.name for n in model.graph.node if n.op_type == op_type)
        values = [model.graph.input[0].name, *(o for n in model.graph.node for o in n.output)]
        ranges = {value: within(-1, 1, 16) for value in values}
        plan = Int8Plan(products=names, convolutions=names, ranges=ranges)
        stored = [
            numpy_helper.to_array(t)
            for t in quantized(model, plan).graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
        ]
        assert [(t.min(), t.max()) for t in stored] == [(64, 64)]
