"""fp16 and int8 of the tiny network: what they compute, how large they are, what is refused."""

import json
from functools import wraps

import numpy as np
import onnx
import pytest
from birefnet_export import pipeline
from birefnet_export.answer import TOLERANCES
from birefnet_export.errors import ExportError, ParityError, PrecisionError
from birefnet_export.export import export_onnx, export_precisions
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision import sensitivity
from birefnet_export.precision.calibration import calibration_images
from birefnet_export.reference import birefnet
from birefnet_export.verify.logits import INPUT_SHAPES, LOGITS_TOLERANCES, mask_of_logits
from birefnet_models.base.onnx_file import read_onnx
from birefnet_runtime import ImageError, Segmenter
from birefnet_runtime.model.known_answer import read_known_answer
from onnx import TensorProto
from PIL import Image

from ..conftest import expected_logits, fill, saved
from ..test_export import run, spoiled

UNTRACED = [(1, 32, 32), (3, 32, 96), (1, 416, 224), (2, 160, 544)]
FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of generated images, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(3):
        small = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((120, 90)).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny):
    return saved(tiny, tmp_path_factory.mktemp("tiny") / "model.safetensors")


@pytest.fixture(scope="module")
def exported(checkpoint, photos, tmp_path_factory):
    """Every precision of the tiny network in one directory, made in one run: the reports."""
    out = tmp_path_factory.mktemp("out")
    options = {"lowering": "rows", "trained_size": (96, 160), "calibrate": photos, "min_iou": 0.9}
    counts = {}
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((pipeline, "read_fetched"), (pipeline, "build_model")):
            patch.setattr(module, name, counted(getattr(module, name), counts))
        patch.setattr(birefnet, "logits", counted(birefnet.logits, counts))
        reports = export_precisions(checkpoint, out, tuple(FILES), **options)
    assert counts == {"read_fetched": 1, "build_model": 1, "logits": len(INPUT_SHAPES) + 1}
    return {report.precision: report for report in reports}


def counted(function, counts):
    """The function, which counts its calls by its name."""

    @wraps(function)
    def call(*arguments, **options):
        counts[function.__name__] = counts.get(function.__name__, 0) + 1
        return function(*arguments, **options)

    return call


def constants(file) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(file).graph.initializer}


def facts(file) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}


@pytest.mark.parametrize("case", UNTRACED)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_masks_are_the_references_at_untraced_sizes(exported, tiny, precision, case):
    image = fill.image(*case)
    found = mask_of_logits(run(exported[precision].file, image))
    expected = mask_of_logits(expected_logits(tiny, image))

    assert found.shape == (case[0], 1, *case[1:])
    assert abs(found - expected).mean() < LOGITS_TOLERANCES[precision].mask_mean_abs
    assert abs(found - expected).max() < {"fp16": 0.02, "int8": 0.25}[precision]


def test_each_precision_has_the_hubs_name_and_says_what_it_is(exported):
    for precision, report in exported.items():
        assert report.file.name == FILES[precision]
        assert report.precision == facts(report.file)["birefnet.precision"] == precision


def test_the_runtime_takes_fp32_of_several_and_any_that_is_named(exported):
    directory = exported["fp32"].directory
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)

    by_default = Segmenter(directory)(image)
    assert np.array_equal(by_default, Segmenter(exported["fp32"].file)(image))
    for precision in ("fp16", "int8"):
        alpha = Segmenter(exported[precision].file)(image)
        assert 0 < abs(alpha - by_default).mean() < LOGITS_TOLERANCES[precision].mask_mean_abs


def test_every_precision_has_as_many_parameters(exported):
    counts = {name: read_onnx(report.file).parameters for name, report in exported.items()}

    assert counts["fp16"] == counts["fp32"]
    assert counts["fp32"] <= counts["int8"] < 1.1 * counts["fp32"]  # scales are more


def test_fp16_stores_no_large_float32(exported):
    tensors = constants(exported["fp16"].file).values()

    assert all(t.data_type != TensorProto.FLOAT or np.prod(t.dims) <= 4096 for t in tensors)


def test_int8_stores_every_weight_as_int8_or_float16(exported):
    large = [t for t in constants(exported["int8"].file).values() if np.prod(t.dims) > 1024]
    model = onnx.load(exported["int8"].file)

    kinds = {t.data_type for t in large}
    assert {TensorProto.INT8, TensorProto.FLOAT16} <= kinds
    assert kinds <= {TensorProto.INT8, TensorProto.FLOAT16, TensorProto.FLOAT}
    weights = {n.input[1] for n in model.graph.node if n.op_type in ("Conv", "DeformConv")}
    floats = [t for t in large if t.data_type == TensorProto.FLOAT]
    assert not weights.intersection(t.name for t in floats if np.prod(t.dims) > 1024)


def test_fp16_leaves_integers_as_they_are(exported):
    """Indices of windows, shapes and their arithmetic: the same nodes with the same operands."""

    def integer_nodes(file):
        model = onnx.shape_inference.infer_shapes(onnx.load(file))
        floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
        integers = {
            info.name
            for info in model.graph.value_info
            if info.type.tensor_type.elem_type not in floats
        }
        nodes = [n for n in model.graph.node if integers.issuperset(n.output)]
        return [(n.op_type, *n.input, *n.output) for n in nodes if n.op_type != "Shape"]

    found = integer_nodes(exported["fp16"].file)
    assert len(found) > 100
    assert found == integer_nodes(exported["fp32"].file)


def test_an_int8_file_says_that_its_sums_fit(exported):
    key = "birefnet.int8_pair_limit"

    assert facts(exported["int8"].file)[key] == "128"
    assert key not in facts(exported["fp32"].file)


def test_fp16_casts_only_where_decisions_meet(exported):
    model = onnx.load(exported["fp16"].file)

    casts = sum(node.op_type == "Cast" for node in model.graph.node)
    assert casts < 20
    assert len(model.graph.node) == exported["fp32"].nodes + casts


def test_coordinates_of_a_map_stay_float32(checkpoint, tmp_path):
    report = export_onnx(
        checkpoint, tmp_path, precision="fp16", lowering="gridsample", verify=False
    )

    inferred = onnx.shape_inference.infer_shapes(onnx.load(report.file))
    types = {i.name: i.type.tensor_type.elem_type for i in inferred.graph.value_info}
    grids = [n.input[1] for n in inferred.graph.node if n.op_type == "GridSample"]
    assert grids
    assert {types[name] for name in grids} == {TensorProto.FLOAT}
    convolved = [n.output[0] for n in inferred.graph.node if n.op_type == "Conv"]
    assert {types[name] for name in convolved} == {TensorProto.FLOAT16}


@pytest.mark.parametrize(
    ("precision", "lowering"), [("fp32", "rows"), ("fp16", "native"), ("int8", "rows")]
)
def test_fp16_is_native_by_default_and_the_others_are_rows(
    checkpoint, tmp_path, monkeypatch, precision, lowering
):
    def run(fetched, targets, step):
        raise LookupError(targets[0].request.form.lowering.name)

    monkeypatch.setattr(pipeline, "run_export", run)
    with pytest.raises(LookupError, match=lowering):
        export_onnx(checkpoint, tmp_path, precision=precision)


@pytest.mark.slow
def test_a_file_of_several_is_the_one_made_alone(checkpoint, exported, photos, tmp_path):
    how = {"lowering": "rows", "trained_size": (96, 160), "calibrate": photos}
    alone = export_onnx(checkpoint, tmp_path, precision="fp16", **how)

    assert alone.file.read_bytes() == exported["fp16"].file.read_bytes()
    assert set(exported["fp16"].files) == {exported["fp16"].file}


def test_no_precision_is_refused(checkpoint, tmp_path):
    with pytest.raises(PrecisionError, match=r"name one"):
        export_precisions(checkpoint, tmp_path, ())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_graph_that_computes_something_else_gets_no_file(
    checkpoint, tmp_path, monkeypatch, precision
):
    monkeypatch.setattr(pipeline, "build_model", spoiled(lambda w: w + 500))

    with pytest.raises(ParityError, match="differ from the reference's"):
        export_onnx(checkpoint, tmp_path / "out", precision=precision)

    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_int8_reports_what_it_does_to_the_masks(exported, photos):
    quality = exported["int8"].quality

    assert quality.images == 3
    assert quality.size == (96, 160)
    assert 0.9 <= quality.iou_min <= quality.iou_mean <= 1
    assert 0 < quality.mae_mean <= quality.mae_max < 0.02
    assert json.loads(facts(exported["int8"].file)["birefnet.quality"])["images"] == 3
    assert exported["fp16"].quality.mae_mean < quality.mae_mean
    assert exported["fp32"].quality is None


def test_int8_without_images_quantizes_no_convolution(checkpoint, tmp_path, exported):
    report = export_onnx(checkpoint, tmp_path, precision="int8", verify=False)
    types = {node.op_type for node in onnx.load(report.file).graph.node}
    calibrated = {node.op_type for node in onnx.load(exported["int8"].file).graph.node}

    assert report.quality is None
    assert "MatMulInteger" in types
    assert "QuantizeLinear" not in types
    assert {"MatMulInteger", "QuantizeLinear"} <= calibrated
    known = read_known_answer(facts(report.file))
    assert known is not None
    assert known.tolerance["alpha"].largest > TOLERANCES["int8"]["alpha"].largest, "its own error"


@pytest.mark.slow
def test_masks_that_lose_too_much_are_refused(checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity._Search, "ranked", lambda self: [])

    with pytest.raises(PrecisionError, match=r"IoU of 0\.\d+ .* less than"):
        export_onnx(checkpoint, tmp_path / "out", precision="int8", calibrate=photos, min_iou=1.0)

    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* calibrated on:UserWarning")
def test_groups_are_the_parts_of_the_network_and_the_worst_comes_first(exported, photos):
    search = sensitivity._Search(
        onnx.load(exported["fp32"].file),
        WeightsInGraph(),
        calibration_images(photos, (64, 64)),
    )
    names = [group.name for group in search.groups]
    search.groups = [g for g in search.groups if g.name in ("stage3 products", "block1 offsets")]
    alone = {g: search.tried([g]).quality.mae_mean for g in search.groups}

    assert {"stage0 products", "squeeze convolutions", "block4 offsets"} < set(names)
    assert len(names) == len(set(names)) == 14
    # Of two groups, leaving out the worse leaves the better one's error.
    worst, other = search.ranked()
    assert alone[worst] <= alone[other]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "fp8"}, "precision 'fp8' is unknown; choose from fp32, fp16, int8"),
        ({"precision": "fp32", "calibrate": "."}, "calibration images are for int8"),
        ({"precision": "int8", "min_iou": 99}, "between 0 and 1, not 99"),
        ({"precision": "int8", "min_iou": 0.9}, "there are none"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path, options, said):
    with pytest.raises(ExportError, match=said):
        export_onnx(tmp_path / "none.safetensors", tmp_path / "out", **options)


@pytest.mark.parametrize("content", [None, {}, {"notes.txt": b"text"}, {"a.png": b"no image"}])
def test_a_folder_that_is_no_use_is_named(checkpoint, tmp_path, content):
    folder = tmp_path / "photos"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)

    with pytest.raises((PrecisionError, ImageError), match="photos"):
        export_onnx(checkpoint, tmp_path / "out", precision="int8", calibrate=folder)

    assert not (tmp_path / "out").exists()
