"""The architecture, read off names and shapes."""

import pytest
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import SWIN_V1, Architecture

from ..conftest import TINY, key_list


@pytest.mark.parametrize(("backbone", "arch"), SWIN_V1.items())
def test_upstreams_variants_are_recognized(backbone, arch):
    found = Architecture.from_shapes(key_list(backbone))

    assert found == arch
    assert found.backbone == backbone


def test_a_small_model_is_read_with_all_its_widths(tiny):
    shapes = {name: tuple(value.shape) for name, value in tiny.state_dict().items()}

    found = Architecture.from_shapes(shapes)

    assert found == TINY
    assert found.backbone == "swin"


def replaced(old: str, new: str) -> dict[str, tuple[int, ...]]:
    return {name.replace(old, new): shape for name, shape in key_list("swin_v1_t").items()}


ASPP = "squeeze_module.0.dec_att.aspp1.atrous_conv"


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"conv1.weight": (64, 3, 7, 7)}, "no Swin v1 backbone"),
        (replaced("bb.patch_embed.", "bb.patch_embed1."), "PVT v2"),
        (replaced("squeeze_module", "squeezed"), "no squeeze block"),
        (replaced(f"{ASPP}.regular_conv", ASPP), "plain ASPP"),
        (replaced("dec_att", "attention"), "no deformable ASPP"),
        (replaced("ipt_blk5", "other"), "no image patches"),
        (replaced("gdt_convs_4", "other"), "no gradient attention"),
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
