"""PVT v2 as a record."""

import pytest
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.pvt_v2 import PVT_V2, PvtV2

from ...conftest import TINY_PVT, key_list


def shapes_of(record: PvtV2) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the backbone's tensors, with their prefix."""
    return record.module().shapes("bb.")


@pytest.mark.parametrize(("name", "record"), PVT_V2.items())
def test_the_papers_variants_are_recognized(name, record):
    found = PvtV2.from_shapes(shapes_of(record))

    assert found == record
    assert found.name == name


@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2"])
def test_upstreams_checkpoints_are_recognized(name):
    arch = Architecture.from_shapes(key_list(name))

    assert arch == Architecture(PVT_V2[name])
    assert arch.settings() == {}


def test_another_width_is_read_as_it_is():
    found = PvtV2.from_shapes(shapes_of(TINY_PVT.backbone))

    assert found == TINY_PVT.backbone
    assert found.name == "pvt_v2"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bb.patch_embed2.proj.weight": (63, 32, 3, 3)}, "2 attention heads can't share 63"),
        ({"bb.block1.0.attn.sr.weight": (32, 32)}, "expected 4 dimensions"),
        ({"bb.block5.0.norm1.weight": (32,)}, r"stages \[1, 2, 3, 4, 5\] found"),
    ],
)
def test_tensors_that_contradict_each_other_are_named(changed, said):
    with pytest.raises(ArchitectureError, match=said):
        PvtV2.from_shapes(key_list("pvt_v2_b0") | changed)
