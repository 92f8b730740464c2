"""PyTorch as a reference: the logits and maps that the NumPy reference gives, and no others."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-pytorch runs what needs PyTorch")

from birefnet_benchmarks.pytorch.birefnet import module_of  # noqa: E402
from birefnet_benchmarks.pytorch.reference import PyTorchReference, open_pytorch_reference  # noqa: E402
from birefnet_benchmarks.pytorch.remote_code import RemoteModel  # noqa: E402
from birefnet_export.errors import ParityError  # noqa: E402
from birefnet_export.verify.reference import NumpyReference  # noqa: E402
from birefnet_models.pins import DEFAULT_OPTIONS  # noqa: E402

from ...export.conftest import SETTINGS, TINY, drawn, fill, network, saved  # noqa: E402

pytestmark = pytest.mark.pytorch


@pytest.fixture(scope="module")
def numpy_reference():
    return NumpyReference(network(TINY), "tiny")


@pytest.fixture
def module():
    return module_of(TINY, drawn(network(TINY).shapes()).__getitem__)


@pytest.mark.parametrize("remote", [False, True])
def test_maps_are_those_of_the_numpy_reference(numpy_reference, module, remote):
    """Remote code is watched by upstream's names."""
    net = RemoteModel(module, "somewhere") if remote else module
    image = fill.image(2, 96, 64).astype(np.float64)

    found = PyTorchReference(net, "tiny").maps(image)

    expected = numpy_reference.maps(image)
    assert set(found) == set(expected)
    for point, x in expected.items():
        np.testing.assert_allclose(found[point], x, atol=1e-9)
    assert PyTorchReference(net, "tiny").computed_by == f"pytorch {torch.__version__} in float64"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_are_computed_in_the_type_of_the_image(module, dtype):
    reference = PyTorchReference(module, "tiny")

    assert reference.logits(fill.image(1, 32, 32).astype(dtype)).dtype == dtype


def test_a_module_of_other_parts_cannot_be_watched():
    reference = PyTorchReference(torch.nn.Conv2d(3, 1, 1), "another")

    with pytest.raises(ParityError, match=r"can't be watched: .*bb"):
        reference.maps(fill.image(1, 32, 32))


def test_what_tensors_cannot_tell_is_stated(tmp_path):
    from dataclasses import replace

    arch = replace(TINY, **SETTINGS["mul_scl_add"])
    file = saved(network(arch), tmp_path / "model.safetensors")

    reference = open_pytorch_reference(str(file), "add", DEFAULT_OPTIONS)

    assert reference.name == str(file)
    assert reference.net.arch == arch
