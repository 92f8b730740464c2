"""DINOv3 as a record: upstream's sizes, and what no tensor shows."""

import re
from dataclasses import replace
from math import prod

import pytest
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.dino_v3 import DINO_V3
from birefnet_export.network.birefnet import BiRefNet

from ...conftest import key_list

PYRAMID = (384, 768, 1536, 3072)
"""Swin L's channels at both scales, whatever the backbone."""


@pytest.mark.parametrize("backbone", ["dino_v3_s", "dino_v3_s_plus", "dino_v3_b"])
def test_upstreams_checkpoints_are_recognized(backbone):
    arch = Architecture.from_shapes(key_list(backbone))

    assert arch == Architecture(DINO_V3[backbone], pyramid=PYRAMID)
    assert arch.backbone.name == backbone


@pytest.mark.parametrize(
    ("backbone", "millions"), [("dino_v3_l", 300), ("dino_v3_h_plus", 840), ("dino_v3_7b", 6716)]
)
def test_large_ones_have_the_papers_size_and_come_back(backbone, millions):
    """Table 2 of arXiv 2508.10104; no official numbers of these are at hand."""
    arch = Architecture(DINO_V3[backbone], pyramid=PYRAMID)
    parameters = sum(prod(shape) for shape in arch.backbone.module().shapes().values())

    assert parameters / 1e6 == pytest.approx(millions, rel=0.015)
    assert Architecture.from_shapes(BiRefNet(arch).shapes()) == arch
    assert len(set(arch.backbone.taken)) == 4


def test_one_scale_is_told_by_what_the_necks_read():
    arch = Architecture(DINO_V3["dino_v3_s"], multi_scale="add", pyramid=(192, 384, 768, 1536))

    found = Architecture.from_shapes(BiRefNet(arch).shapes())

    assert found.multi_scale is None
    assert found.with_multi_scale("add") == arch


@pytest.mark.parametrize("change", [("width", 400), ("mlp_hidden", 1024), ("taken", (0, 1, 2, 3))])
def test_an_unknown_size_is_refused_by_name(change):
    record = replace(DINO_V3["dino_v3_s_plus"], head_width=8, **dict([change]))
    shapes = BiRefNet(Architecture(record, pyramid=PYRAMID)).shapes()

    said = re.escape(
        f"a DINOv3 of {record.depth} blocks of {record.width} channels with a gated MLP of "
        f"{record.mlp_hidden}, which is none of upstream's (dino_v3_s, "
    )
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_shapes(shapes)
    assert record.name == "dino_v3"


def test_a_missing_neck_is_named():
    shapes = BiRefNet(Architecture(DINO_V3["dino_v3_s"], pyramid=PYRAMID)).shapes()
    del shapes["decoder.pyramid_neck_x3.conv.weight"]

    with pytest.raises(ArchitectureError, match=r"decoder\.pyramid_neck_x3\.conv\.weight is miss"):
        Architecture.from_shapes(shapes)
