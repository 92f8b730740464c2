"""fp16's head-room, on checkpoints whose activations are scaled up by powers of two, exactly."""

import json

import numpy as np
import onnx
import pytest
from birefnet_export import export_onnx, room
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.options import graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.precision.fp16 import needs_float32, to_half
from birefnet_export.precision.headroom import halved, in_rows, largest_values
from birefnet_export.verify.headroom import FACTOR, HALF_END
from birefnet_export.verify.logits import LOGITS_TOLERANCES, mask_of_logits, sample_image
from birefnet_models.base.onnx_file import read_onnx
from onnx import TensorProto

from ..conftest import expected_logits, weights_of
from ..test_export import run

IMAGE = sample_image((1, 96, 160))
IMAGES = [[IMAGE], [sample_image((1, 64, 32))]]
# What is multiplied by 2^k, and what is divided by it behind: nothing between them but sums,
# products with constants and attention, which is linear in its values.
PAIRS = (("norm2", "mlp.fc1"), ("ipt_blk1.conv1", "ipt_blk1.conv_out"), ("qkv", "attn.proj"))


def scaled(net: BiRefNet, k: int) -> BiRefNet:
    """The network, equal in every bit of float32, whose activations are larger by 2^k."""
    values = dict(weights_of(net))
    for name, value in values.items():
        parent, kind = name.rsplit(".", 1)
        if parent.endswith(tuple(first for first, _ in PAIRS)) and parent != "bb.norm2":
            factor = np.full(len(value), 2.0**k, np.float32)
            if parent.endswith("qkv"):
                factor[: len(value) // 3 * 2] = 1  # the values alone, behind queries and keys
            values[name] = value * factor.reshape(-1, *[1] * (value.ndim - 1))
        elif kind == "weight" and parent.endswith(tuple(second for _, second in PAIRS)):
            values[name] = value * np.float32(2.0**-k)
    return BiRefNet(net.arch).bind(values.__getitem__)


@pytest.mark.parametrize(
    "k",
    [0, pytest.param(4, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow), 12],
)
def test_masks_keep_within_the_tolerance_however_large_activations_are(tiny, tmp_path, k):
    model = build_model(scaled(tiny, k), graph_form("native", 20, "fp16"))

    found = halved(model, WeightsInGraph(), IMAGES)

    onnx.save(found.model, tmp_path / "half.onnx")
    off = mask_of_logits(run(tmp_path / "half.onnx", IMAGE)) - mask_of_logits(
        expected_logits(tiny, IMAGE)
    )
    allowed = LOGITS_TOLERANCES["fp16"]
    assert abs(off).max() < allowed.mask_max_abs
    assert abs(off).mean() < allowed.mask_mean_abs
    assert found.quality.mae_mean < allowed.mask_mean_abs
    nodes = len(model.graph.node)
    if k < 12:
        assert found.headroom.float32 == ()
    else:
        assert 0 < len(found.headroom.float32) < nodes / 4
        assert found.headroom.worst[0].factor < FACTOR
    _, largest = largest_values(model, IMAGES, WeightsInGraph())
    inferred = onnx.shape_inference.infer_shapes(found.model)
    half = {
        info.name
        for info in inferred.graph.value_info
        if info.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    assert max(largest.get(name.removesuffix(":fp16"), 0) for name in half) <= HALF_END / FACTOR


def test_without_it_a_scaled_checkpoint_loses_its_masks(tiny, tmp_path):
    model = build_model(scaled(tiny, 14), graph_form("native", 20, "fp16"))

    onnx.save(to_half(model, needs_float32(model)), tmp_path / "half.onnx")
    found = mask_of_logits(run(tmp_path / "half.onnx", IMAGE))

    off = abs(found - mask_of_logits(expected_logits(tiny, IMAGE)))
    assert not off.mean() < LOGITS_TOLERANCES["fp16"].mask_mean_abs  # NaN counts


def test_rows_compute_the_same_and_values_keep_their_names(tiny, tmp_path):
    model = build_model(tiny, graph_form("native", 20, "fp16"))

    rows, parts = in_rows(model, WeightsInGraph())

    onnx.checker.check_model(rows, full_check=True)
    for name, each in (("whole", model), ("rows", rows)):
        onnx.save(each, tmp_path / f"{name}.onnx")
    whole, cut = (run(tmp_path / f"{name}.onnx", IMAGE) for name in ("whole", "rows"))
    np.testing.assert_allclose(whole, cut, atol=2e-5)
    given = {name for node in rows.graph.node for name in node.output}
    assert given >= {name for node in model.graph.node for name in node.output}
    assert len(set(parts.values())) == 5, "a 7 x 7 one in each of five blocks"


@pytest.mark.slow
def test_the_table_is_in_the_file_or_a_word_says_why_not(tiny_file, tmp_path, monkeypatch):
    export = {"precision": "fp16", "trained_size": (64, 96)}

    report = export_onnx(tiny_file, tmp_path / "out", **export)
    stored = json.loads(read_onnx(report.file).properties["birefnet.headroom"])
    monkeypatch.setattr("birefnet_export.pipeline.headroom_bytes", lambda *_: 1e15)
    without = export_onnx(tiny_file, tmp_path / "without", **export)

    assert stored == json.loads(json.dumps(report.headroom.to_dict()))
    assert (64, 96) in report.headroom.sizes
    assert (64, 32) in report.headroom.sizes
    assert report.quality.images == 2, "the photographs of the package"
    assert without.headroom is None
    assert "not measured" in without.warnings[0]
    memory = iter([2e15, 2e15, 1e9])
    monkeypatch.setattr("birefnet_export.pipeline.headroom_bytes", lambda *_: next(memory))
    half = export_onnx(tiny_file, tmp_path / "half", **export)
    assert half.headroom.sizes[0] == half.quality.size == (32, 32)
    assert "32x32" in half.warnings[0]


def test_it_takes_more_memory_than_the_check(swin_t_file):
    from birefnet_export.checkpoint.read import read_checkpoint
    from birefnet_export.options import ExportRequest
    from birefnet_export.precision.request import Precision

    checkpoint = read_checkpoint(swin_t_file)
    request = ExportRequest(form=graph_form(None, None, "fp16"), precision=Precision("fp16"))
    size = (1024, 1024)
    assert (
        room.estimated(checkpoint, request, size).memory
        < room.headroom_bytes(checkpoint, request, size)
        < 1.2e9
    )
