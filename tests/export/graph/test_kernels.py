"""Algebra on weights, each identity against running the layers one after the other."""

import numpy as np
import pytest
from birefnet_export.graph.kernels import (
    Kernel,
    kernel_in,
    kernel_of,
    pointwise_after,
    split_inputs,
    stacked,
    with_norm,
)
from birefnet_export.network.nn import BatchNorm2d, Conv2d, Identity, ReLU, Sequential
from birefnet_export.reference import layers as plain

from ..conftest import with_values


def run(kernel: Kernel, x: np.ndarray) -> np.ndarray:
    """The convolution with a kernel, channels last."""
    out, channels, side, _ = kernel.weight.shape
    layer = Conv2d(channels, out, side, padding=side // 2)
    return plain.conv(x, layer.bind(kernel._asdict().__getitem__))


def image(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).standard_normal((2, 5, 6, channels))


def conv(channels: int, out: int, kernel: int, bias: bool = True) -> Conv2d:
    return with_values(Conv2d(channels, out, kernel, padding=kernel // 2, bias=bias))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution_before_it(bias):
    x = image(3)
    both = with_values(Sequential([Conv2d(3, 4, 3, padding=1, bias=bias), BatchNorm2d(4), ReLU()]))
    expected = plain.batch_norm(plain.conv(x, both[0]), both[1])

    close(run(with_norm(kernel_of(both[0]), both[1]), x), expected)
    close(run(kernel_in(both), x), expected)


def test_a_network_without_batch_norms_has_nothing_to_fold():
    kernel = kernel_of(conv(3, 4, 3))

    assert with_norm(kernel, Identity()) is kernel
    with pytest.raises(TypeError, match="ReLU"):
        with_norm(kernel, ReLU())


def test_a_pointwise_convolution_joins_the_one_before_it():
    inner, outer, x = conv(3, 5, 3), conv(5, 2, 1), image(3)

    composed = pointwise_after(kernel_of(outer), kernel_of(inner))

    close(run(composed, x), plain.conv(plain.conv(x, inner), outer))


def test_a_convolution_of_a_concatenation_is_a_sum():
    layer, parts = conv(7, 4, 3), [image(3), image(4)]

    kernels = split_inputs(kernel_of(layer), [3, 4])

    total = sum(run(kernel, part) for kernel, part in zip(kernels, parts, strict=True))
    close(total, plain.conv(np.concatenate(parts, -1), layer))


def test_two_convolutions_of_one_input_stack():
    first, second, x = conv(3, 4, 3), conv(3, 2, 3, bias=False), image(3)

    found = run(stacked(kernel_of(first), kernel_of(second)), x)

    close(found, np.concatenate((plain.conv(x, first), plain.conv(x, second)), -1))
