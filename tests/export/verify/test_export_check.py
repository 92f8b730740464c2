"""The check that an export passes before its file gets its name, at the edge of what it allows."""

import numpy as np
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.export import export_onnx
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.reference.birefnet import RememberedLogits
from birefnet_export.verify.export_check import check_export, logits_parity
from birefnet_export.verify.logits import INPUT_SHAPES

from ..conftest import saved, weights_of


@pytest.fixture(scope="module")
def file(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("check")
    saved(tiny, folder / "model.safetensors")
    return export_onnx(folder, folder / "out", verify=False, lowering="native").file


def shifted(net: BiRefNet, by: float) -> BiRefNet:
    """The network with all logits larger by a known amount: resizing keeps a constant."""
    values = weights_of(net)
    values["decoder.conv_out1.0.bias"] = values["decoder.conv_out1.0.bias"] + np.float64(by)
    return BiRefNet(net.arch).bind(values.__getitem__)


@pytest.mark.parametrize("by", [2e-4, -2e-4])
def test_a_graph_off_by_2e_4_is_refused(file, tiny, by):
    with pytest.raises(
        ParityError, match=r"logits differ .* (1\.9|2\.[01])e-04 \(max\).* 1e-04 allowed"
    ):
        check_export(file, RememberedLogits(shifted(tiny, by)))


def test_half_of_what_is_allowed_passes_and_is_reported(file, tiny):
    parity = check_export(file, RememberedLogits(shifted(tiny, 5e-5)))

    assert parity.logits_max_abs == pytest.approx(5e-5, abs=1e-5)
    assert parity.logits_mean_abs == pytest.approx(5e-5, abs=1e-5)
    assert parity.cases == INPUT_SHAPES
    assert parity.reference == f"numpy {np.__version__} in float64"


def test_a_reference_of_another_rank_is_refused():
    flat = [np.zeros(1)]

    with pytest.raises(ParityError, match=r"the reference gives \(1,\) for \(1, 3, 32, 32\)"):
        logits_parity(lambda image: np.zeros((1, 1, 32, 32)), flat, [(1, 32, 32)])
