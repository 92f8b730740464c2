"""Layer by layer: the points keep their names, and a fault is found at the right one."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.export import export_onnx
from birefnet_export.options import PRECISIONS, graph_form
from birefnet_export.pipeline import build_model
from birefnet_export.verify.layer_diff import BOUNDS, POINTS, compare_layers
from birefnet_export.verify.logits import FLOAT32_TOLERANCES, LOGITS_TOLERANCES
from birefnet_export.verify.masks import MASK_TOLERANCES
from birefnet_export.verify.reference import NumpyReference
from birefnet_models import embedded_path, find
from onnx import numpy_helper
from PIL import Image

from ..conftest import NAN_OFFSETS, TINY, network, saved


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny):
    """Every precision of the tiny network: the files. fp32 has its weights beside it."""
    folder = tmp_path_factory.mktemp("departure")
    saved(tiny, folder / "model.safetensors")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(2):
        small = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
        small.resize((120, 90)).save(folder / "photos" / f"{i}.png")
    options = {
        "fp32": {"external_data": True},
        "fp16": {},
        "int8": {"calibrate": folder / "photos", "min_iou": 0.5, "trained_size": (96, 160)},
    }
    return {
        precision: export_onnx(
            folder, folder / precision, precision=precision, verify=False, **more
        ).file
        for precision, more in options.items()
    }


@pytest.fixture(scope="module")
def net(tiny):
    """The tiny network as a reference."""
    return NumpyReference(tiny, "tiny")


def changed(file, folder, prefix, change, weights=None):
    """A copy of the file with the first `weights` weights (all) below `prefix` changed."""
    model = onnx.load(file)
    below = [t for t in model.graph.initializer if t.name.startswith(prefix) and len(t.dims) > 1]
    assert below
    for tensor in below[:weights]:
        values = numpy_helper.to_array(tensor).copy()
        change(values)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def nudge(values):
    """Change one number."""
    values.flat[0] += 0.5


def test_every_precision_of_a_file_has_all_its_tolerances():
    assert set(BOUNDS) == set(PRECISIONS)
    assert (
        set(LOGITS_TOLERANCES) == set(FLOAT32_TOLERANCES) == set(MASK_TOLERANCES) > set(PRECISIONS)
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_export_as_it_is_differs_nowhere(exported, net, precision):
    found = compare_layers(exported[precision], net, precision)

    assert found.first is None
    assert [layer.point for layer in found.layers] == list(POINTS)
    assert found.layers[0].shape == (2, 16, 56, 40)
    assert found.layers[7].shape == (2, 128, 4, 3)
    assert found.lines()[-1] == f"none differs ({BOUNDS[precision]:.0e} allowed)"


@pytest.mark.parametrize(
    ("lowering", "opset"), [("native", 20), ("rows", 19), ("rows", 23), ("gridsample", 17)]
)
def test_every_graph_names_the_points_and_has_no_node_for_it(tiny, lowering, opset):
    model = build_model(tiny, graph_form(lowering, opset, "fp32"))

    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert [makers.get(point) for point in POINTS[:8]] == ["Reshape"] * 8
    assert [makers.get(point) for point in POINTS[8:16]] == ["Conv"] * 8
    assert list(makers.values()).count("Identity") == 1  # the output's own name


FAULTS = [
    ("full/stage0/block0/", "backbone.full.stage0"),
    ("squeeze/", "squeeze"),
    ("decoder/block3/constant", "decoder.block3"),
    ("decoder/full_resolution/", "output_image"),
]


@pytest.mark.parametrize(("prefix", "point"), FAULTS)
def test_one_wrong_weight_is_found_at_its_point(exported, net, tmp_path, prefix, point):
    file = changed(exported["fp32"], tmp_path, prefix, nudge, weights=1)

    found = compare_layers(file, net, "fp32")

    assert found.first == point
    assert found.lines()[-1] == f"first that differs: {point} (3e-05 allowed)"


@pytest.mark.parametrize(
    ("settings", "without"),
    [
        ({"multi_scale": "none"}, [f"backbone.half.stage{i}" for i in range(4)]),
        ({"squeeze": (), "context": 0}, ["squeeze"]),
        ({"squeeze": ("ASPP",) * 2, "context": 0, "decoder_block": "ResBlk"}, []),
    ],
)
def test_a_network_is_watched_at_the_points_that_it_has(tmp_path, settings, without):
    net = network(replace(TINY, **settings))
    onnx.save(build_model(net, graph_form("native", 20, "fp32")), tmp_path / "model.onnx")

    found = compare_layers(tmp_path / "model.onnx", NumpyReference(net, "here"), "fp32")

    assert found.first is None
    assert [x.point for x in found.layers] == [point for point in POINTS if point not in without]


def test_turned_weights_are_found_in_int8_too(exported, net, tmp_path):
    def turn(values):
        values *= -1

    file = changed(exported["int8"], tmp_path, "decoder/block3/", turn)

    assert compare_layers(file, net, "int8").first == "decoder.block3"


def test_a_fault_of_the_half_scale_alone_is_found_there(exported, net, tmp_path):
    model = onnx.load(exported["fp32"])
    (first, *_) = [node for node in model.graph.node if node.op_type == "Resize"]
    (mode,) = [a for a in first.attribute if a.name == "mode"]
    mode.s = b"nearest"
    onnx.save(model, tmp_path / "changed.onnx")

    found = compare_layers(tmp_path / "changed.onnx", net, "fp32")

    assert found.first == "backbone.half.stage0"


@NAN_OFFSETS
def test_nan_is_found_where_it_comes_up(exported, net, tmp_path):
    file = changed(exported["fp32"], tmp_path, "squeeze/", lambda v: v.fill(np.nan), weights=1)

    found = compare_layers(file, net, "fp32")

    assert found.first == "squeeze"
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["layers"][8]["max_abs"] is None
    assert values["layers"][7]["relative"] < 1e-5


def test_a_checkpoint_of_another_width_is_refused(exported):
    other = network(replace(TINY, backbone=replace(TINY.backbone, embed_dim=32)))

    with pytest.raises(ParityError, match=r"at backbone.full.stage0 the graph gives \(2, 16, 56"):
        compare_layers(exported["fp32"], NumpyReference(other, "other"), "fp32")


def test_a_file_without_the_names_is_refused_with_what_to_do(net):
    nano = embedded_path(find("nano"))

    with pytest.raises(ParityError, match=r"no tensor .* backbone.*export the check"):
        compare_layers(nano, net, "fp32")
