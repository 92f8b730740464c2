"""The module in PyTorch against the reference in NumPy: the same names, the same numbers."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-pytorch runs what needs PyTorch")

from birefnet_benchmarks.pytorch.birefnet import BiRefNet, load, module_of  # noqa: E402
from birefnet_export.checkpoint.read import read_checkpoint  # noqa: E402
from birefnet_export.network import birefnet as description  # noqa: E402
from birefnet_export.network.architecture import Architecture  # noqa: E402
from birefnet_export.network.backbone.dino_v3 import DinoV3  # noqa: E402
from birefnet_export.reference.birefnet import logits  # noqa: E402

from ...export.conftest import (  # noqa: E402
    GOLDEN,
    SETTINGS,
    TINY,
    TINY_DINO,
    TINY_PVT,
    drawn,
    fill,
    golden,
    golden_cases,
    key_list,
    network,
    saved,
)

pytestmark = pytest.mark.pytorch

CHECKPOINTS = sorted({file.name.removesuffix(".keys.json") for file in GOLDEN.glob("*.keys.json")})
SIZES = [(1, 96, 160), (2, 64, 32)]
TINIES = {
    "swin": TINY,
    "pvt": TINY_PVT,
    "dino": TINY_DINO,
    "squeezed twice": replace(TINY, squeeze=("ASPP", "ResBlk"), context=2),
    "without image": replace(TINY, patch_width=0),
    "without squeeze": replace(TINY, squeeze=(), context=0),
}


def architecture(name):
    arch = Architecture.from_shapes(key_list(name))
    stated = SETTINGS.get(name.removeprefix("swin_v1_t_"), {}).get("multi_scale")
    return arch.with_multi_scale(stated)


def modules(arch):
    """The two forms of a network, with the same weights."""
    return network(arch), module_of(arch, drawn(description.BiRefNet(arch).shapes()).__getitem__)


def in_float64(module, image):
    with torch.inference_mode():
        return module.double()(torch.from_numpy(image).double()).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_of_every_golden_checkpoint_are_the_references(name):
    net, module = modules(architecture(name))

    for size in SIZES:
        image = fill.image(*size)
        assert abs(in_float64(module, image) - logits(image, net)).max() < 1e-9


@pytest.mark.parametrize("name", TINIES)
def test_logits_of_small_networks_are_the_references(name):
    net, module = modules(TINIES[name])

    for size in [(2, 32, 32), (1, 224, 96)]:
        image = fill.image(*size)
        assert abs(in_float64(module, image) - logits(image, net)).max() < 1e-9


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_names_and_shapes_are_the_descriptions(name):
    with torch.device("meta"):
        module = BiRefNet(architecture(name))

    ours = {
        key: tuple(value.shape)
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert ours == description.BiRefNet(architecture(name)).shapes()


def test_in_float32_it_gives_the_official_logits_too():
    _, module = modules(architecture("swin_v1_t"))
    image, expected = golden("swin_v1_t", (1, 96, 160))

    with torch.inference_mode():
        found = module(torch.from_numpy(image)).numpy()

    assert abs(found - expected["logits"]).max() <= 5e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_v1_t", "swin_v1_l", "pvt_v2_b0", "pvt_v2_b2", "dino_v3_s"])
def test_in_float32_the_backbones_maps_are_the_official_ones_at_both_scales(name):
    _, module = modules(architecture(name))
    case = golden_cases(name)[-1]
    image, expected = golden(name, case)
    full = torch.from_numpy(image)
    size = (case[1] // 2, case[2] // 2)
    half = torch.nn.functional.interpolate(full, size, mode="bilinear", align_corners=True)
    with torch.inference_mode():
        for scale, x in (("full", full), ("half", half)):
            for i, features in enumerate(module.bb(x)):
                means = features.mean((2, 3)).numpy()
                assert abs(means - expected[f"{scale}_{i}_mean"]).max() <= 1e-5, (scale, i)


def test_a_checkpoint_is_loaded_for_inference(tiny_file):
    module = load(read_checkpoint(tiny_file))

    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.fixture
def tiny_file(tmp_path):
    return saved(network(TINY), tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "arch",
    [TINY, replace(TINY_DINO, backbone=DinoV3(16, 24, True, 8, (0, 1, 2, 3)))],
    ids=["swin", "dino"],
)
def test_training_reaches_every_parameter(arch):
    net = BiRefNet(arch).train()
    if arch == TINY:
        net.load_state_dict(as_tensors(drawn({k: v.shape for k, v in net.state_dict().items()})))

    net(torch.randn(2, 3, 64, 64)).square().mean().backward()

    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def as_tensors(values):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in values.items()}
