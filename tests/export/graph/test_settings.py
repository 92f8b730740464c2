"""Networks with upstream's other settings, fused, against their plain form."""

from dataclasses import replace

import onnx
import pytest
from birefnet_export.export import export_onnx
from birefnet_export.graph.fused.model import append_birefnet
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.graph.signature import check_graph
from birefnet_export.options import graph_form
from birefnet_export.pipeline import build_model
from PIL import Image

from ..conftest import SETTINGS, TINY, evaluated, expected_logits, fill, network, saved

TINY_SETTINGS = {
    **SETTINGS,
    "no_image": {"patch_width": 0},
    "no_squeeze": {"squeeze": (), "context": 0},
    "squeeze_aspp": {"squeeze": ("ASPP",), "context": 2},
    "squeeze_deformable_x3": {"squeeze": ("ASPPDeformable",) * 3, "context": 0},
    "squeeze_res_x2": {"squeeze": ("ResBlk",) * 2, "context": 0},
    "all": {
        "multi_scale": "add",
        "context": 1,
        "squeeze": ("ASPP",),
        "decoder_block": "ResBlk",
        "attention": "none",
        "whole_image": True,
        "gradient_width": 0,
        "batch_norm": False,
        "aspp_kernels": (),
    },
}


@pytest.fixture(scope="module", params=TINY_SETTINGS)
def net(request):
    return network(replace(TINY, **TINY_SETTINGS[request.param]))


@pytest.mark.parametrize(
    ("lowering", "size"),
    [
        ("rows", (224, 32)),
        pytest.param("native", (96, 160), marks=pytest.mark.slow),
        pytest.param("gridsample", (32, 32), marks=pytest.mark.slow),
    ],
)
def test_the_fused_form_is_the_plain_network(net, size, lowering):
    x = fill.image(2, *size)
    opset = 17 if lowering == "gridsample" else 23

    logits = evaluated(lambda g, v: append_birefnet(g, v, net, LOWERINGS[lowering]), x, opset=opset)

    assert abs(logits - expected_logits(net, x)).max() < 5e-5


def test_the_graph_is_valid_and_dynamic(net):
    check_graph(build_model(net, graph_form("rows", 19, "fp32")))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("dec_att_none", {"DeformConv": 0, "GlobalAveragePool": 0}),
        ("dec_att_aspp", {"DeformConv": 0, "GlobalAveragePool": 5}),
        ("no_squeeze", {"DeformConv": 4 * 4, "GlobalAveragePool": 4}),
        ("squeeze_deformable_x3", {"DeformConv": 4 * (4 + 3), "GlobalAveragePool": 4 + 3}),
        ("mul_scl_none", {"ScatterElements": 2 * 4}),  # windows of four sizes of map, not five
        ("no_gradient", {"Sigmoid": 4 * 5}),  # those of the modulations alone
    ],
)
def test_what_a_setting_leaves_out_is_not_in_the_graph(name, kinds):
    net = network(replace(TINY, **TINY_SETTINGS[name]))

    nodes = [node.op_type for node in build_model(net, graph_form("native", 20, "fp32")).graph.node]

    assert {kind: nodes.count(kind) for kind in kinds} == kinds


@pytest.mark.slow
def test_int8_of_convolutions_that_follow_each_other_loads(tmp_path):
    """Without an ASPP between them ONNX Runtime fuses their sums, which takes scalar scales."""
    net = network(replace(TINY, **TINY_SETTINGS["dec_att_none"]))
    saved(net, tmp_path / "model.safetensors")
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "photos" / f"{i}.png")

    report = export_onnx(
        tmp_path,
        tmp_path / "out",
        precision="int8",
        calibrate=tmp_path / "photos",
        min_iou=0.5,
        trained_size=(64, 64),
    )

    operators = {node.op_type for node in onnx.load(report.file).graph.node}
    assert "QuantizeLinear" in operators
    assert report.quality is not None
