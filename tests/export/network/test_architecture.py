"""The architecture, read off names and shapes."""

from dataclasses import replace

import numpy as np
import pytest
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.swin_v1 import SWIN_V1
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.reference.birefnet import logits

from ..conftest import SETTINGS, TINY, key_list, network


@pytest.mark.parametrize(("backbone", "record"), SWIN_V1.items())
def test_upstreams_variants_are_recognized(backbone, record):
    found = Architecture.from_shapes(key_list(backbone))

    assert found == Architecture(record)
    assert found.backbone.name == backbone


def test_a_small_model_is_read_with_all_its_widths(tiny):
    shapes = tiny.shapes()

    found = Architecture.from_shapes(shapes)

    assert found == TINY
    assert found.backbone.name == "swin"


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_read_off_the_tensors(name):
    arch = Architecture.from_shapes(key_list(f"swin_v1_t_{name}"))
    arch = arch.with_multi_scale(SETTINGS[name].get("multi_scale"))

    assert arch == replace(Architecture(SWIN_V1["swin_v1_t"]), **SETTINGS[name])
    assert arch.backbone.name == "swin_v1_t"


@pytest.mark.parametrize(
    "settings",
    [
        {"squeeze": (), "context": 0},
        {"squeeze": ("ASPP",), "context": 2},
        {"squeeze": ("ASPPDeformable",) * 3, "context": 0},
        {"squeeze": ("ResBlk",) * 4, "context": 0},
        {"squeeze": ("ASPP",), "attention": "none", "aspp_kernels": ()},
        {"squeeze": ("ASPPDeformable",), "attention": "none", "context": 1},
        {"squeeze": ("ASPPDeformable",), "attention": "ASPP"},
        {"squeeze": ("ASPP",), "attention": "ASPPDeformable"},
        {"patch_width": 0},
        {"multi_scale": "add", "whole_image": True, "batch_norm": False, "gradient_width": 0},
    ],
)
def test_settings_come_back_as_they_were(settings):
    """With blocks of which the official implementation's numbers are not at hand."""
    arch = replace(TINY, **settings)
    shapes = BiRefNet(arch).shapes()

    found = Architecture.from_shapes(shapes)

    assert (found if arch.multi_scale == "cat" else found.with_multi_scale("add")) == arch


def test_what_tensors_cannot_tell_is_asked_for():
    shapes = key_list("swin_v1_t_mul_scl_add")
    assert shapes == key_list("swin_v1_t_mul_scl_none")
    arch = Architecture.from_shapes(shapes)

    assert arch.multi_scale is None
    for stated in (None, "cat", "both"):
        with pytest.raises(ArchitectureError, match=r"'none'.*'add'.*--multi-scale none or --mul"):
            arch.with_multi_scale(stated)
    with pytest.raises(ArchitectureError, match="can't tell apart"):
        logits(np.zeros((1, 3, 32, 32)), network(arch))


def test_a_statement_that_the_tensors_contradict_is_refused():
    arch = Architecture.from_shapes(key_list("swin_v1_t"))

    assert arch.with_multi_scale(None) == arch
    with pytest.raises(ArchitectureError, match="show mul_scl_ipt 'cat', not 'add'"):
        arch.with_multi_scale("add")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("batch1", {"batch_size": "1"}),
        ("cxt_none", {"cxt_num": "0"}),
        ("dec_att_aspp", {"dec_att": "ASPP"}),
        ("dec_att_none", {"dec_att": "none"}),
        ("dec_blk_res", {"dec_blk": "ResBlk"}),
        ("dec_ipt_whole", {"dec_ipt_split": "off"}),
        ("mul_scl_add", {"mul_scl_ipt": "none or add"}),
        ("no_gradient", {"out_ref": "off"}),
    ],
)
def test_settings_have_upstreams_names(name, settings):
    assert Architecture.from_shapes(key_list(f"swin_v1_t_{name}")).settings() == settings
    assert Architecture(SWIN_V1["swin_v1_l"]).settings() == {}
    assert Architecture(SWIN_V1["swin_v1_l"], patch_width=0).settings() == {"dec_ipt": "off"}


def replaced(old: str, new: str) -> dict[str, tuple[int, ...]]:
    return {name.replace(old, new): shape for name, shape in key_list("swin_v1_t").items()}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"conv1.weight": (64, 3, 7, 7)}, "no backbone of upstream's"),
        (replaced("bb.patch_embed.", "bb.patch_embed1."), "bb.patch_embed2.proj.weight is missing"),
        (
            replaced("squeeze_module.0.conv_in", "squeeze_module.0.other"),
            "none of upstream's blocks",
        ),
        (replaced("aspp1", "aspp9"), "dec_att is none of upstream's blocks"),
        (replaced("squeeze_module.0.", "squeeze_module.1."), "squeeze_module or its dec_att"),
        (
            key_list("swin_v1_t") | {"decoder.decoder_block4.dec_att.conv_in.weight": (8, 8, 3, 3)},
            "squeeze_module or its dec_att is none of upstream's",
        ),
        (
            key_list("swin_v1_t")
            | {"bb.layers.0.blocks.0.attn.relative_position_bias_table": (169, 0)},
            "expected 2 dimensions of 1 or more",
        ),
        (
            key_list("swin_v1_t")
            | {"bb.layers.1.blocks.0.attn.relative_position_bias_table": (169, 7)},
            "7 attention heads can't share 192 channels",
        ),
        (
            key_list("swin_v1_t") | {"squeeze_module.0.conv_in.weight": (64, 1537, 3, 3)},
            "reads 1537 channels, no context",
        ),
        (replaced("bb.layers.3.", "bb.layers.4."), "bb.layers.3"),
    ],
)
def test_another_architecture_is_named(shapes, said):
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_shapes(shapes)


def test_a_bias_table_of_impossible_size_is_refused():
    shapes = key_list("swin_v1_t")
    shapes["bb.layers.0.blocks.0.attn.relative_position_bias_table"] = (170, 3)

    with pytest.raises(ArchitectureError, match="170 rows"):
        Architecture.from_shapes(shapes)
