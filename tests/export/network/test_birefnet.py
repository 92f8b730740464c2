"""The plain network against the official implementation's numbers."""

import pytest
import torch
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.birefnet import BiRefNet

from ..conftest import SETTINGS, drawn, golden, golden_cases, key_list, network

TOLERANCE = 5e-5


@pytest.fixture(
    scope="module",
    params=[
        "swin_v1_t",
        pytest.param("swin_v1_l", marks=pytest.mark.slow),
        "pvt_v2_b0",
        pytest.param("pvt_v2_b2", marks=pytest.mark.slow),
    ],
)
def reference(request):
    backbone = request.param
    return backbone, network(Architecture.from_shapes(key_list(backbone)))


def test_logits_are_the_official_ones(reference):
    backbone, net = reference
    cases = golden_cases(backbone)
    assert cases
    for case in cases:
        image, expected = golden(backbone, case)
        with torch.inference_mode():
            logits = net(torch.from_numpy(image)).numpy()

        assert logits.shape == expected["logits"].shape
        assert abs(logits - expected["logits"]).max() <= TOLERANCE, case


def test_backbone_maps_are_the_official_ones_at_both_scales(reference):
    backbone, net = reference
    case = golden_cases(backbone)[-1]
    image, expected = golden(backbone, case)
    full = torch.from_numpy(image)
    size = (case[1] // 2, case[2] // 2)
    half = torch.nn.functional.interpolate(full, size, mode="bilinear", align_corners=True)
    with torch.inference_mode():
        for scale, x in (("full", full), ("half", half)):
            for i, features in enumerate(net.bb(x)):
                means = features.mean((2, 3)).numpy()
                assert abs(means - expected[f"{scale}_{i}_mean"]).max() <= 1e-5, (scale, i)


@pytest.mark.parametrize(
    "backbone", ["swin_v1_t", "swin_v1_s", "swin_v1_b", "swin_v1_l", "pvt_v2_b0", "pvt_v2_b2"]
)
def test_names_and_shapes_are_upstreams(backbone):
    upstream = {
        name: shape
        for name, shape in key_list(backbone).items()
        if not name.endswith("relative_position_index")
    }
    with torch.device("meta"):
        net = BiRefNet(Architecture.from_shapes(key_list(backbone)))
    ours = {name: tuple(value.shape) for name, value in net.state_dict().items()}

    for_training = {name for name in upstream if "conv_ms_spvn_" in name or "convs_pred_" in name}
    assert len(for_training) == 12
    assert ours == {name: upstream[name] for name in upstream if name not in for_training}


def read_setting(name):
    """The architecture of a golden network with another setting."""
    arch = Architecture.from_shapes(key_list(f"swin_v1_t_{name}"))
    return arch.with_multi_scale(SETTINGS[name].get("multi_scale"))


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_give_the_official_logits(name):
    (case,) = golden_cases(f"swin_v1_t_{name}")
    image, expected = golden(f"swin_v1_t_{name}", case)
    net = network(read_setting(name))

    with torch.inference_mode():
        logits = net(torch.from_numpy(image)).numpy()

    assert logits.shape == expected["logits"].shape
    assert abs(logits - expected["logits"]).max() <= TOLERANCE


@pytest.mark.parametrize("name", SETTINGS)
def test_names_and_shapes_of_other_settings_are_upstreams(name):
    upstream = {
        key: shape
        for key, shape in key_list(f"swin_v1_t_{name}").items()
        if not key.endswith("relative_position_index")
    }
    with torch.device("meta"):
        net = BiRefNet(read_setting(name))
    ours = {key: tuple(value.shape) for key, value in net.state_dict().items()}

    left_over = {key for key in upstream if key not in ours}
    assert all("conv_ms_spvn_" in key or "convs_pred_" in key for key in left_over)
    assert ours == {key: upstream[key] for key in upstream if key not in left_over}


def test_training_reaches_every_parameter(tiny):
    net = BiRefNet(tiny.arch).train()
    net.load_state_dict(drawn({k: tuple(v.shape) for k, v in net.state_dict().items()}))

    net(torch.randn(2, 3, 64, 64)).square().mean().backward()

    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert without == []
