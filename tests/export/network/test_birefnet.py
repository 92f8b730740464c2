"""The description of the layers against the official implementation's names and shapes."""

import re

import pytest
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.birefnet import BiRefNet

from ..conftest import SETTINGS, key_list

FOR_TRAINING = re.compile(r".*(conv_ms_spvn_|gdt_convs_pred_).*")


def upstream(name):
    """Names and shapes of the tensors that inference needs, and how many there are beside."""
    stored = {
        key: shape
        for key, shape in key_list(name).items()
        if not key.endswith(("relative_position_index", "num_batches_tracked"))
    }
    needed = {key: shape for key, shape in stored.items() if not FOR_TRAINING.fullmatch(key)}
    return needed, len(stored) - len(needed)


SWINS = ["swin_v1_t", "swin_v1_s", "swin_v1_b", "swin_v1_l"]
OTHERS = ["pvt_v2_b0", "pvt_v2_b2", "dino_v3_s", "dino_v3_s_plus", "dino_v3_b"]


@pytest.mark.parametrize("backbone", [*SWINS, *OTHERS])
def test_names_and_shapes_are_upstreams(backbone):
    needed, for_training = upstream(backbone)

    assert BiRefNet(Architecture.from_shapes(key_list(backbone))).shapes() == needed
    assert for_training == 12


@pytest.mark.parametrize("name", SETTINGS)
def test_names_and_shapes_of_other_settings_are_upstreams(name):
    needed, _ = upstream(f"swin_v1_t_{name}")

    assert BiRefNet(Architecture.from_shapes(key_list(f"swin_v1_t_{name}"))).shapes() == needed
