"""The fact that tells the runtime how much memory a graph needs."""

from dataclasses import replace

import pytest
from birefnet_export.graph.activation_memory import activation_bytes_per_pixel
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.swin_v1 import SWIN_V1


def test_these_are_the_figures_that_the_limits_of_the_runtime_were_fitted_with():
    """`tests/runtime/test_memory.py` compares estimates from them with measured peaks."""
    assert activation_bytes_per_pixel(Architecture(SWIN_V1["swin_v1_t"]), "rows") == 353.5
    assert activation_bytes_per_pixel(Architecture(SWIN_V1["swin_v1_l"]), "rows") == 976


@pytest.mark.parametrize(
    "arch", [Architecture(SWIN_V1["swin_v1_t"]), Architecture(SWIN_V1["swin_v1_l"])]
)
def test_rows_take_less_than_whole_kernels(arch):
    needs = {name: activation_bytes_per_pixel(arch, name) for name in ("native", "rows")}

    # 7 x 7 taps of 64 channels at a quarter of the side: 784 bytes a pixel, beside the rest.
    assert needs["native"] > 784
    assert needs["native"] >= needs["rows"]
    assert activation_bytes_per_pixel(arch, "gridsample") == needs["rows"]


@pytest.mark.parametrize("attention", ["ASPP", "none"])
def test_without_deformable_convolutions_attention_is_what_counts(attention):
    arch = replace(Architecture(SWIN_V1["swin_v1_t"]), attention=attention, aspp_kernels=())

    needs = {activation_bytes_per_pixel(arch, lowering) for lowering in ("native", "rows")}

    # 11 maps of 96 channels and two of scores, 3 heads of 49 tokens, at a 16th of the pixels; four
    # channels at all of them: float32.
    assert needs == {4 * ((11 * 96 + 2 * 3 * 49) / 16 + 4)}
