"""int8 weights by error feedback, and sums of convolutions that are joined for int8."""

from functools import partial

import numpy as np
import onnx
import pytest
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import conv, relu
from birefnet_export.graph.signature import INPUT
from birefnet_export.precision.calibration import observe
from birefnet_export.precision.feedback import (
    LARGEST_MOMENTS,
    round_by_feedback,
    rounded_weights,
    spans,
)
from birefnet_export.precision.int8 import (
    PAIR_LIMIT,
    ActivationRange,
    Int8Plan,
    LayerWeight,
    neighbors,
    quantized,
    round_for_sums,
)
from birefnet_export.precision.join_sums import join_sums

RNG = np.random.default_rng(0)
IMAGES = [RNG.standard_normal((1, 3, 24, 40)).astype(np.float32) for _ in range(3)]


def kernel(outputs: int, inputs: int, side: int = 3) -> Kernel:
    weight = RNG.standard_normal((outputs, inputs, side, side)) / side / inputs**0.5
    return Kernel(weight, RNG.standard_normal(outputs) / 4)


def summed() -> onnx.ModelProto:
    """A Relu of a sum of two convolutions, of maps of which one reaches 20 times as far."""
    near, far, first, second, head = (
        kernel(16, 3), kernel(32, 3), kernel(64, 16), kernel(64, 32), kernel(1, 64, 1)
    )  # fmt: skip
    g = Graph(20)
    x = g.input(INPUT.name, list(INPUT.axes))
    one, other = conv(g, x, near), conv(g, x, far) * 20.0
    total = relu(g, conv(g, one, first) + conv(g, other, second))
    g.output("y", ["batch", 1, "height", "width"], conv(g, total, head))
    return onnx.shape_inference.infer_shapes(g.model())


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((96, 40), 1), ((24, 7, 3, 3), 0), ((8, 2 * LARGEST_MOMENTS // 9 + 1, 3, 3), 0)],
)
def test_outputs_are_nearer_than_by_nearest_steps_and_sums_keep_within_the_limit(shape, axis):
    values = RNG.standard_normal(shape).astype(np.float32)
    weight = LayerWeight("w", 1, axis, shape, lambda: values)
    common = RNG.standard_normal((2000, 4)) @ RNG.standard_normal((4, weight.inputs))
    x = common + 0.3 * RNG.standard_normal((2000, weight.inputs))  # inputs that hang together

    def rows(rounded):
        scale = rounded.scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return np.moveaxis(rounded.values * scale, axis, 0).reshape(shape[axis], -1)

    found = round_by_feedback(weight, [x[:, span].T @ x[:, span] for span in spans(weight)])
    exact = np.moveaxis(values, axis, 0).reshape(shape[axis], -1)
    off, nearest = (
        np.abs(x @ (rows(each) - exact).T).mean() for each in (found, round_for_sums(weight))
    )

    assert off < 0.7 * nearest
    whole = np.moveaxis(found.values, axis, 0).reshape(shape[axis], -1).astype(int)
    for other in neighbors(weight):
        paired = np.flatnonzero(other >= 0)
        for sign in (1, -1):
            sums = np.maximum(sign * whole[:, paired], 0) + np.maximum(
                sign * whole[:, other[paired]], 0
            )
            assert sums.max() <= PAIR_LIMIT


def test_a_sum_is_one_convolution_of_its_parts():
    model = summed()
    convolutions = frozenset(node.name for node in model.graph.node if node.op_type == "Conv")

    exact, parts = join_sums(model, convolutions)

    onnx.checker.check_model(exact, full_check=True)
    (values,) = parts.values()
    assert len(values) == 2
    kinds = [node.op_type for node in exact.graph.node]
    assert (kinds.count("Conv"), kinds.count("Add"), kinds.count("Concat")) == (4, 0, 1)
    expected = observe(model, IMAGES).logits
    np.testing.assert_allclose(observe(exact, IMAGES).logits, expected, atol=1e-5)


def test_what_somebody_else_reads_is_not_joined():
    model = summed()
    convolutions = frozenset(node.name for node in model.graph.node if node.op_type == "Conv")
    (add,) = [node for node in model.graph.node if node.op_type == "Add"]
    extra = onnx.helper.make_node("Neg", [add.input[0]], ["other"], name="other")
    model.graph.node.append(extra)

    exact, parts = join_sums(model, convolutions)

    assert parts == {}
    assert exact.graph.node == model.graph.node


def test_parts_keep_steps_of_their_own():
    """With one scale for both parts the nearer one would have a twentieth of the levels."""
    model = summed()
    (add,) = [node for node in model.graph.node if node.op_type == "Add"]
    makers = {node.output[0]: node for node in model.graph.node}
    both = frozenset(makers[name].name for name in add.input)
    exact, parts = join_sums(model, both)
    (values,) = parts.values()
    (name,) = both & {node.name for node in exact.graph.node}
    output = next(n.output[0] for n in exact.graph.node if n.op_type == "Relu")
    seen = observe(model, IMAGES, [*values, output])
    plan = Int8Plan(convolutions=frozenset([name]), ranges=seen.ranges, parts=parts)
    equal = {part: within(seen.ranges[part], 20.0) for part in values[:1]}
    run = partial(off, model, exact)

    nearest = run(plan)
    by_feedback = run(
        Int8Plan(
            convolutions=plan.convolutions, ranges=plan.ranges, parts=parts,
            rounded=rounded_weights(exact, IMAGES, plan),
        )
    )  # fmt: skip
    one_scale = run(
        Int8Plan(convolutions=plan.convolutions, ranges={**plan.ranges, **equal}, parts=parts)
    )

    assert by_feedback < nearest < one_scale


def within(found: ActivationRange, times: float) -> ActivationRange:
    return ActivationRange(found.low * times, found.high * times)


def off(model: onnx.ModelProto, exact: onnx.ModelProto, plan: Int8Plan) -> float:
    """The mean difference of the outputs."""
    expected = observe(model, IMAGES).logits
    found = observe(quantized(exact, plan), IMAGES).logits
    return float(np.abs(np.concatenate(found) - np.concatenate(expected)).mean())
