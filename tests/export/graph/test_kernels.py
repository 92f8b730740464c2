"""Algebra on weights, each identity against running the layers one after the other."""

import pytest
import torch
from birefnet_export.graph.kernels import (
    Kernel,
    kernel_in,
    kernel_of,
    pointwise_after,
    split_inputs,
    stacked,
    with_norm,
)
from torch import Tensor, nn
from torch.nn.functional import conv2d


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def run(kernel: Kernel, x: Tensor) -> Tensor:
    return conv2d(x, kernel.weight, kernel.bias, padding=kernel.weight.shape[-1] // 2)


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels).eval().double()
    for value in (layer.weight, layer.bias, layer.running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    return layer


def image(channels: int) -> Tensor:
    return torch.randn(2, channels, 5, 6, dtype=torch.float64)


def conv(channels: int, out: int, kernel: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=bias).double()


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution_before_it(bias):
    layer, after, x = conv(3, 4, 3, bias), norm(4), image(3)

    torch.testing.assert_close(run(with_norm(kernel_of(layer), after), x), after(layer(x)))
    torch.testing.assert_close(run(kernel_in(nn.Sequential(layer, after)), x), after(layer(x)))


def test_a_pointwise_convolution_joins_the_one_before_it():
    inner, outer, x = conv(3, 5, 3), conv(5, 2, 1), image(3)

    composed = pointwise_after(kernel_of(outer), kernel_of(inner))

    torch.testing.assert_close(run(composed, x), outer(inner(x)))


def test_a_convolution_of_a_concatenation_is_a_sum():
    layer, parts = conv(7, 4, 3), [image(3), image(4)]

    kernels = split_inputs(kernel_of(layer), [3, 4])

    total = sum(run(kernel, part) for kernel, part in zip(kernels, parts, strict=True))
    torch.testing.assert_close(total, layer(torch.cat(parts, 1)))


def test_two_convolutions_of_one_input_stack():
    first, second, x = conv(3, 4, 3), conv(3, 2, 3, bias=False), image(3)

    found = run(stacked(kernel_of(first), kernel_of(second)), x)

    torch.testing.assert_close(found, torch.cat((first(x), second(x)), 1))


def test_a_batch_norm_without_statistics_is_refused():
    with pytest.raises(TypeError, match="running statistics"):
        with_norm(kernel_of(conv(3, 4, 1)), nn.BatchNorm2d(4, track_running_stats=False))
