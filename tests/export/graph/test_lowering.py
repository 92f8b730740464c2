"""Each way of writing a deformable convolution against the plain one, far offsets included."""

from itertools import pairwise

import numpy as np
import pytest
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.network import nn
from birefnet_export.options import DEFAULT_LOWERING, OPSETS
from birefnet_export.reference.deform_conv import deform_conv
from birefnet_export.reference.layers import conv, sigmoid

from ..conftest import (
    ancestors,
    channels_first,
    channels_last,
    evaluated,
    in_order,
    optimized,
)

SIZES = [(1, 1), (1, 6), (7, 2), (9, 5)]
"""Maps smaller than a kernel among them: the deepest map of a 32 x 32 image is one pixel."""


def kernels(side: int, channels: int = 3, out: int = 4) -> tuple[Kernel, Kernel]:
    """Random `predict` and `kernel`; offsets reach several pixels beyond the border."""
    drawn = np.random.default_rng(side).standard_normal
    taps = side * side
    predict = Kernel(drawn((3 * taps, channels, side, side)) / side, 2 * drawn(3 * taps))
    return predict, Kernel(drawn((out, channels, side, side)), drawn(out))


def plain(x: np.ndarray, predict: Kernel, kernel: Kernel) -> np.ndarray:
    """Of a map with its channels last."""
    side = kernel.weight.shape[-1]
    layer = nn.Conv2d(x.shape[-1], len(predict.bias), side, padding=side // 2)
    both = conv(x, layer.bind(predict._asdict().__getitem__))
    offset, logits = np.split(both, [2 * side * side], -1)
    return deform_conv(x, kernel.weight, offset, sigmoid(logits)) + kernel.bias


def test_each_is_known_by_its_name_and_has_an_opset_by_default():
    assert DEFAULT_LOWERING in LOWERINGS
    for name, lowering in LOWERINGS.items():
        assert lowering.name == name
        assert lowering.first_opset <= lowering.default_opset
        assert {lowering.first_opset, lowering.default_opset} <= set(OPSETS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [1, 3, 5, 7])
@pytest.mark.parametrize("name", LOWERINGS)
def test_it_is_the_plain_deformable_convolution(name, side, size):
    predict, kernel = kernels(side)
    lowering = LOWERINGS[name]
    x = np.random.default_rng(size).standard_normal((2, 3, *size)).astype(np.float32)

    found = evaluated(
        lambda g, v: lowering.deform_conv(g, v, predict, kernel), x, opset=lowering.first_opset
    )

    expected = channels_first(plain(channels_last(x), predict, kernel))
    assert found.shape == expected.shape
    assert abs(found - expected).max() < 2e-5 * abs(expected).max()


@pytest.mark.parametrize(("name", "kind"), [("rows", "DeformConv"), ("gridsample", "GridSample")])
def test_a_row_waits_for_the_sum_of_those_before_it(name, kind):
    predict, kernel = kernels(7)

    nodes = optimized(
        lambda g, x: LOWERINGS[name].deform_conv(g, x, predict, kernel),
        ["batch", 3, "height", "width"],
    )

    rows = [node for node in nodes if node.op_type == kind]
    assert len(rows) == 7
    for earlier, later in pairwise(in_order(nodes, rows)):
        assert earlier.output[0] in ancestors(nodes, later)
