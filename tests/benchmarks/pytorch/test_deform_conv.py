"""The deformable convolution in PyTorch against the reference, and its gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-pytorch runs what needs PyTorch")

from birefnet_benchmarks.pytorch.deform_conv import deform_conv2d  # noqa: E402
from birefnet_export.reference.deform_conv import deform_conv  # noqa: E402

pytestmark = pytest.mark.pytorch


@pytest.mark.parametrize(
    ("batch", "side", "height", "width"), [(1, 1, 1, 1), (2, 3, 5, 4), (1, 7, 4, 6), (1, 7, 1, 1)]
)
def test_it_is_the_references(batch, side, height, width):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 2, height, width))
    weight = rng.standard_normal((3, 2, side, side))
    offset = 2.5 * rng.standard_normal((batch, 2 * side**2, height, width))
    mask = rng.uniform(0, 2, (batch, side**2, height, width))
    bias = rng.standard_normal(3)

    tensors = [torch.from_numpy(values) for values in (x, weight, offset, mask, bias)]
    found = deform_conv2d(*tensors, padding=side // 2).numpy()

    last = [values.transpose(0, 2, 3, 1) for values in (x, offset, mask)]
    expected = deform_conv(last[0], weight, *last[1:]) + bias
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), atol=1e-12)


def test_without_offsets_and_with_a_full_mask_it_is_a_convolution():
    x, weight = torch.randn(2, 3, 6, 7), torch.randn(4, 3, 3, 3)
    offset, mask = torch.zeros(2, 18, 6, 7), torch.ones(2, 9, 6, 7)

    found = deform_conv2d(x, weight, offset, mask, padding=1)

    torch.testing.assert_close(
        found, torch.nn.functional.conv2d(x, weight, padding=1), atol=2e-5, rtol=1e-4
    )


def test_gradients_reach_every_input():
    torch.manual_seed(0)
    shapes = [(1, 2, 4, 3), (2, 2, 3, 3), (1, 18, 4, 3), (1, 9, 4, 3), (2,)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, padding=1), inputs)
