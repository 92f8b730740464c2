"""DINOv3 against the official implementation's numbers, and the parts that no tensor shows."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.dino_v3 import (
    DINO_V3,
    REGISTERS,
    DinoV3,
    periods,
    rotated,
    rotation,
)
from birefnet_export.network.birefnet import BiRefNet

from ...conftest import TINY_DINO, golden, golden_cases, key_list, network

PYRAMID = (384, 768, 1536, 3072)
"""Swin L's channels at both scales, whatever the backbone."""


def shapes_of(arch: Architecture) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        net = BiRefNet(arch)
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.fixture(scope="module", params=["dino_v3_s", "dino_v3_s_plus", "dino_v3_b"])
def reference(request):
    return request.param, network(Architecture.from_shapes(key_list(request.param)))


def logits_of(backbone: str, net: BiRefNet, case: tuple[int, int, int]) -> float:
    """The largest difference to the official logits."""
    image, expected = golden(backbone, case)
    with torch.inference_mode():
        return float(abs(net(torch.from_numpy(image)).numpy() - expected["logits"]).max())


def test_logits_are_the_official_ones(reference):
    backbone, net = reference

    assert logits_of(backbone, net, (1, 96, 160)) <= 5e-5


@pytest.mark.slow
def test_logits_are_the_official_ones_at_every_size(reference):
    backbone, net = reference

    for case in golden_cases(backbone)[1:]:
        assert logits_of(backbone, net, case) <= 5e-5, case


def test_backbone_maps_are_the_official_ones_at_both_scales(reference):
    backbone, net = reference
    image, expected = golden(backbone, (1, 96, 160))
    full = torch.from_numpy(image)
    half = F.interpolate(full, (48, 80), mode="bilinear", align_corners=True)
    with torch.inference_mode():
        for scale, x in (("full", full), ("half", half)):
            for i, features in enumerate(net.bb(x)):
                means = features.mean((2, 3)).numpy()
                assert abs(means - expected[f"{scale}_{i}_mean"]).max() <= 1e-5, (scale, i)


@pytest.mark.parametrize("backbone", ["dino_v3_s", "dino_v3_s_plus", "dino_v3_b"])
def test_names_and_shapes_are_upstreams(backbone):
    upstream = key_list(backbone)
    for_training = {name for name in upstream if "conv_ms_spvn_" in name or "convs_pred_" in name}
    arch = Architecture.from_shapes(upstream)

    assert arch == Architecture(DINO_V3[backbone], pyramid=PYRAMID)
    assert arch.backbone.name == backbone
    assert shapes_of(arch) == {n: upstream[n] for n in upstream if n not in for_training}


@pytest.mark.parametrize(
    ("backbone", "millions"), [("dino_v3_l", 300), ("dino_v3_h_plus", 840), ("dino_v3_7b", 6716)]
)
def test_large_ones_have_the_papers_size_and_come_back(backbone, millions):
    """Table 2 of arXiv 2508.10104; no official numbers of these are at hand."""
    arch = Architecture(DINO_V3[backbone], pyramid=PYRAMID)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in arch.backbone.module().parameters())

    assert parameters / 1e6 == pytest.approx(millions, rel=0.015)
    assert Architecture.from_shapes(shapes_of(arch)) == arch
    assert len(set(arch.backbone.taken)) == 4


def test_one_scale_is_told_by_what_the_necks_read():
    arch = Architecture(DINO_V3["dino_v3_s"], multi_scale="add", pyramid=(192, 384, 768, 1536))

    found = Architecture.from_shapes(shapes_of(arch))

    assert found.multi_scale is None
    assert found.with_multi_scale("add") == arch


@pytest.mark.parametrize("change", [("width", 400), ("mlp_hidden", 1024), ("taken", (0, 1, 2, 3))])
def test_an_unknown_size_is_refused_by_name(change):
    record = replace(DINO_V3["dino_v3_s_plus"], head_width=8, **dict([change]))
    shapes = shapes_of(Architecture(record, pyramid=PYRAMID))

    said = re.escape(
        f"a DINOv3 of {record.depth} blocks of {record.width} channels with a gated MLP of "
        f"{record.mlp_hidden}, which is none of upstream's (dino_v3_s, "
    )
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_shapes(shapes)
    assert record.name == "dino_v3"


def test_a_missing_neck_is_named():
    shapes = shapes_of(Architecture(DINO_V3["dino_v3_s"], pyramid=PYRAMID))
    del shapes["decoder.pyramid_neck_x3.conv.weight"]

    with pytest.raises(ArchitectureError, match=r"decoder\.pyramid_neck_x3\.conv\.weight is miss"):
        Architecture.from_shapes(shapes)


def test_a_score_depends_on_where_patches_are_to_each_other():
    height, width = 6, 10
    by = rotation(height, width, 16, like=torch.zeros((), dtype=torch.float64))
    q, k = torch.randn(2, 16, generator=torch.manual_seed(0), dtype=torch.float64)

    def everywhere(x):
        return rotated(x.expand(1, 1, height * width, -1), by)[0, 0].view(height, width, -1)

    queries, keys = everywhere(q), everywhere(k)
    scores = torch.einsum("yxc,yxc->yx", queries[2:, 3:], keys[:-2, :-3])
    assert torch.allclose(scores, scores[0, 0].expand_as(scores))
    assert abs(scores[0, 0] - queries[0, 0] @ keys[0, 0]) > 0.1
    # Rows turn the first quarter of the channels, and its partners; columns the second.
    assert torch.equal(queries[0, 0, 4:8], queries[5, 0, 4:8])
    assert not torch.equal(queries[0, 0, :4], queries[5, 0, :4])


def test_coordinates_run_from_edge_to_edge_at_any_size():
    small = rotation(2, 2, 8, like=torch.zeros((), dtype=torch.float64))
    large = rotation(6, 6, 8, like=torch.zeros((), dtype=torch.float64))

    # The center of the first of two is the center of the second of six.
    assert torch.allclose(small.cos[0], large.cos[7])
    assert torch.allclose(small.sin[0], large.sin[7])
    assert periods(8).tolist() == [1, 10]


def test_class_token_and_registers_do_not_turn():
    by = rotation(2, 3, 8, like=torch.zeros(()))
    x = torch.randn(2, 3, 1 + REGISTERS + 6, 8)

    turned = rotated(x, by)

    assert torch.equal(turned[:, :, :5], x[:, :, :5])
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned[:, :, 5:] != x[:, :, 5:]).any(-1).all()


def test_training_reaches_every_parameter():
    net = BiRefNet(replace(TINY_DINO, backbone=DinoV3(16, 24, True, 8, (0, 1, 2, 3)))).train()

    net(torch.randn(2, 3, 64, 64)).square().mean().backward()

    assert [name for name, p in net.named_parameters() if p.grad is None] == []
