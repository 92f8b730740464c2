"""The int8 pass on single layers, and the search for what bears it."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from birefnet_export.errors import GraphError, PrecisionError
from birefnet_export.graph.builder import Graph, Value
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import conv, relu
from birefnet_export.precision import sensitivity
from birefnet_export.precision.fp16 import to_half
from birefnet_export.precision.int8 import (
    ActivationRange,
    Int8Plan,
    LayerWeight,
    quantized,
    round_for_sums,
    round_weight,
)
from birefnet_export.precision.mask_quality import Quality, quality
from studies.fp16_rounding import rounded as through_half

RNG = np.random.default_rng(0)
LINEAR = RNG.standard_normal((64, 48)).astype(np.float32)
KERNEL = Kernel(
    torch.from_numpy(RNG.standard_normal((16, 8, 3, 3))), torch.from_numpy(RNG.random(16))
)


def model_of(build: Callable[[Graph, Value], Value], *axes: int | str) -> onnx.ModelProto:
    g = Graph(20)
    g.output("y", [f"y{axis}" for axis in range(len(axes))], build(g, g.input("x", list(axes))))
    return g.model()


def computed(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


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
    values, scale = round_weight(LayerWeight("w", 1, 1, LINEAR))

    assert np.abs(values).max(0).tolist() == [127] * 48
    assert (np.abs(values * scale - LINEAR) <= scale / 2 + 1e-7).all()


def test_a_channel_of_zeros_stays_zero():
    values, scale = round_weight(LayerWeight("w", 1, 0, np.zeros((4, 512), np.float32)))

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
        values, scale = round_for_sums(LayerWeight("w", 1, 1, weights))
        for x in (np.full((1, rows), 255), RNG.integers(0, 256, (9, rows))):
            assert (in_sixteen_bits(x, values) == x @ values.astype(int)).all()
        assert (np.abs(values * scale - weights) <= scale / 2 + 1e-6).all()

    values, _ = round_weight(LayerWeight("w", 1, 1, np.ones((rows, 48), np.float32)))
    full = np.full((1, rows), 255)
    assert (in_sixteen_bits(full, values) != full @ values.astype(int)).all()  # 127 + 127 does


def test_sums_of_a_convolution_do_not_saturate_in_either_order():
    weights = RNG.standard_normal((5, 7, 3, 3)).astype(np.float32)
    values, _ = round_for_sums(LayerWeight("w", 1, 0, weights))

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
    ranges = {"x": ActivationRange(-1, 1), result: ActivationRange(0, float(exact.max()))}
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
    ranges = {"x": ActivationRange(-1, 1), result: ActivationRange(0, 0.5)}
    small = quantized(convolution, Int8Plan(convolutions=frozenset([name]), ranges=ranges))

    found = computed(small, RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32))
    assert found.max() == pytest.approx(0.5)
    assert found.min() == 0


def test_a_weight_that_is_only_stored_small_is_folded_when_it_is_loaded(convolution, tmp_path):
    small = quantized(convolution, Int8Plan())
    x = RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32)

    exact = computed(convolution, x)
    assert 0 < abs(computed(small, x) - exact).mean() < 0.01 * exact.mean()
    assert small.ByteSize() < 0.5 * convolution.ByteSize()
    assert not run_by_onnxruntime(small, tmp_path) & {"Cast", "Mul", "DequantizeLinear"}


def test_an_excluded_weight_keeps_half_precision(convolution):
    name = next(n.name for n in convolution.graph.node if n.op_type == "Conv")
    x = RNG.uniform(-1, 1, (1, 8, 6, 7)).astype(np.float32)

    found = computed(quantized(convolution, Int8Plan(exact=frozenset([name]))), x)
    assert abs(found - computed(convolution, x)).max() < 0.01


def test_a_kept_node_computes_in_float32_from_halved_weights(linear):
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

    with pytest.raises(GraphError, match="constant holds values beyond float16's range"):
        to_half(model, frozenset())


def test_rounding_to_half_survives_onnxruntimes_optimization():
    model = model_of(lambda g, x: g.op("Sigmoid", x) + 0.0, "n")
    x = np.linspace(-3, 3, 7, dtype=np.float32)

    changed = through_half(model, {model.graph.node[0].name}, weights=False)
    expected = (1 / (1 + np.exp(-x))).astype(np.float16).astype(np.float32)
    assert np.allclose(computed(changed, x), expected, atol=1e-7, rtol=0)


def test_nothing_compared_and_nan_are_errors():
    logits = np.zeros((1, 1, 2, 2), np.float32)

    with pytest.raises(PrecisionError, match="no images"):
        quality([], [])
    with pytest.raises(PrecisionError, match="NaN"):
        quality([logits * np.nan], [logits])


COSTS = {"a": 0.02, "b": 0.0, "c": 0.03, "d": 0.001}


class Search:
    """A search over four groups, of which some are sensitive: IoU falls by what each costs."""

    def __init__(self, *_: object) -> None:
        self.trials: list[tuple[str, ...]] = []

    def tried(self, excluded):
        names = tuple(group.name for group in excluded)
        self.trials.append(names)
        iou = 1 - sum(cost for name, cost in COSTS.items() if name not in names)
        found = Quality(iou, iou, 1 - iou, 1 - iou, 1, (32, 32), names)
        return sensitivity.Quantized(onnx.ModelProto(), found)

    def ranked(self):
        order = sorted(COSTS, key=lambda name: -COSTS[name])
        return [sensitivity.LayerGroup(name, frozenset([name])) for name in order]


@pytest.mark.parametrize(
    ("min_iou", "excluded"), [(0.9, ()), (0.96, ("c",)), (0.99, ("c", "a")), (1, ("c", "a", "d"))]
)
def test_only_as_many_groups_are_left_out_as_it_takes(monkeypatch, min_iou, excluded):
    monkeypatch.setattr(sensitivity, "_Search", Search)

    found = sensitivity.quantized_within(onnx.ModelProto(), [], min_iou)

    assert found.quality.excluded == excluded


def test_if_nothing_suffices_the_numbers_are_said(monkeypatch):
    monkeypatch.setattr(sensitivity, "_Search", Search)
    monkeypatch.setattr(Search, "ranked", lambda self: [])

    with pytest.raises(PrecisionError, match=r"IoU of 0\.9490 .* less than the 0\.99 asked for"):
        sensitivity.quantized_within(onnx.ModelProto(), [], 0.99)
