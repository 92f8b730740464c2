"""Each way of writing a deformable convolution against the plain one, far offsets included."""

from itertools import pairwise

import pytest
import torch
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.network.deform_conv import deform_conv2d
from birefnet_export.options import LOWERINGS as OFFERED

from ..conftest import ancestors, evaluated, in_order, optimized

SIZES = [(1, 1), (1, 6), (7, 2), (9, 5)]
"""Maps smaller than a kernel among them: the deepest map of a 32 x 32 image is one pixel."""


def kernels(side: int, channels: int = 3, out: int = 4) -> tuple[Kernel, Kernel]:
    """Random `predict` and `kernel`; offsets reach several pixels beyond the border."""
    rng = torch.Generator().manual_seed(side)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    taps = side * side
    predict = Kernel(drawn(3 * taps, channels, side, side) / side, 2 * drawn(3 * taps))
    return predict, Kernel(drawn(out, channels, side, side), drawn(out))


def plain(x: torch.Tensor, predict: Kernel, kernel: Kernel) -> torch.Tensor:
    padding = kernel.weight.shape[-1] // 2
    both = torch.nn.functional.conv2d(x, predict.weight, predict.bias, padding=padding)
    offset, logits = both.split([both.shape[1] * 2 // 3, both.shape[1] // 3], 1)
    found = deform_conv2d(x, kernel.weight, offset, logits.sigmoid(), padding=padding)
    return found + kernel.bias[:, None, None]


def test_the_offered_ones_are_the_ones_there_are():
    assert list(OFFERED) == list(LOWERINGS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [1, 3, 5, 7])
@pytest.mark.parametrize("name", LOWERINGS)
def test_it_is_the_plain_deformable_convolution(name, side, size):
    predict, kernel = kernels(side)
    x = torch.randn(2, 3, *size, dtype=torch.float64)

    found = evaluated(
        lambda g, v: LOWERINGS[name](g, v, predict, kernel), x.float(), opset=OFFERED[name].first
    )

    expected = plain(x, predict, kernel)
    assert found.shape == tuple(expected.shape)
    assert abs(found - expected.numpy()).max() < 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize(("name", "kind"), [("rows", "DeformConv"), ("gridsample", "GridSample")])
def test_a_row_waits_for_the_sum_of_those_before_it(name, kind):
    predict, kernel = kernels(7)

    nodes = optimized(
        lambda g, x: LOWERINGS[name](g, x, predict, kernel), ["batch", 3, "height", "width"]
    )

    rows = [node for node in nodes if node.op_type == kind]
    assert len(rows) == 7
    for earlier, later in pairwise(in_order(nodes, rows)):
        assert earlier.output[0] in ancestors(nodes, later)
