"""The fact that tells the runtime how much memory a graph needs."""

from dataclasses import replace

import pytest
from birefnet_export.graph.activation_memory import activation_bytes_per_pixel, attention_bytes
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.dino_v3 import DINO_V3
from birefnet_export.network.backbone.pvt_v2 import PVT_V2
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


def test_attention_among_all_tokens_is_a_fact_of_its_own():
    small, base = (
        Architecture(DINO_V3[name], pyramid=(384, 768, 1536, 3072))
        for name in ("dino_v3_s", "dino_v3_b")
    )
    assert attention_bytes(Architecture(SWIN_V1["swin_v1_l"]), 23) is None

    linear, square = attention_bytes(small, 23) or (0, 0)

    # 14 maps of 384 channels at a 256th of the pixels, three channels at all of them.
    assert linear == 4 * (14 * 384 / 256 + 3)
    # An eighth of six heads' scores at 1024 x 1024, which are 4096 tokens: 50 MB.
    assert square * 1024**4 == 6 / 8 * 4096**2 * 4
    assert attention_bytes(small, 20) == (linear, 2 * square)  # and their Softmax
    # Twelve heads come in twice as many parts.
    assert (attention_bytes(base, 23) or (0, 0))[1] == square
    # At the trained size the decoder takes most, as with every backbone.
    assert activation_bytes_per_pixel(small, "rows") > linear + square * 1024**2


@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "pvt_v2_b2"])
def test_small_backbones_take_less_than_the_decoder(backbone):
    """As measured: the backbone of b0 alone takes a quarter of what the network takes at 1024."""
    arch = Architecture(PVT_V2[backbone])

    assert activation_bytes_per_pixel(arch, "rows") == 338.75
    without = replace(arch, attention="none", aspp_kernels=(), aspp_width=0)
    assert 32 < activation_bytes_per_pixel(without, "rows") < 300


def test_scores_of_attention_count_at_the_largest_trained_size():
    arch = replace(Architecture(PVT_V2["pvt_v2_b0"]), attention="none", aspp_width=0)

    # 2304 / 32 squared keys for an eighth of the queries, 6 maps of 32 channels, at a 16th of the
    # pixels; four channels at all of them: float32.
    assert activation_bytes_per_pixel(arch, "rows") == 4 * ((72**2 / 8 + 6 * 32) / 16 + 4)
