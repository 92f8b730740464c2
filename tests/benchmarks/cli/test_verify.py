"""`birefnet verify`: an export against its checkpoint, in NumPy, without PyTorch."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_apps.cli.main import main
from birefnet_benchmarks.cli.verify import _lines
from birefnet_export.export import export_onnx
from birefnet_export.verify.compare_models import GraphComparison, ModelComparison, compare_models
from birefnet_export.verify.logits import LogitsTolerance, Parity
from birefnet_models.pins import FetchOptions
from click.testing import CliRunner
from onnx import numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from ...export.conftest import NAN_OFFSETS, TINY, network, saved, weights_of


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An export of the tiny network, not verified by the export itself."""
    folder = tmp_path_factory.mktemp("against")
    saved(network(TINY), folder / "model.safetensors")
    return export_onnx(
        folder, folder / "out", verify=False, lowering="native", trained_size=(96, 160)
    ).directory


def test_an_export_equals_its_checkpoint(exported):
    checkpoint = exported.parent / "model.safetensors"

    result = CliRunner().invoke(main, ["verify", str(exported), "--against", str(checkpoint)])

    assert result.exit_code == 0, result.output
    assert "equal: within logits" in result.stdout
    assert "at 1x32x32, 2x96x160, 1x352x96" in result.stdout


def test_each_step_is_told_to_whom_waits(exported):
    told = []
    checkpoint = exported.parent / "model.safetensors"

    compare_models(exported, str(checkpoint), fetching=FetchOptions(step=told.append))

    assert [line for line in told if "96x160" in line and "float64" in line]
    assert told[-1].startswith("the graph")


def test_another_checkpoint_is_not_equal(exported, tmp_path):
    other = {name: value * 1.5 if "conv_out1" in name else value
             for name, value in weights_of(network(TINY)).items()}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")

    result = CliRunner().invoke(
        main, ["verify", str(exported), "--against", str(tmp_path / "other.safetensors"), "--json"]
    )

    assert result.exit_code == 1
    assert json.loads(result.stdout)["passed"] is False


@pytest.mark.parametrize("tolerance", ["nan", "inf"])
def test_a_tolerance_that_everything_passes_is_refused(exported, tolerance):
    checkpoint = exported.parent / "model.safetensors"

    result = verified(exported, checkpoint, "--tolerance", tolerance)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"birefnet: tolerance {tolerance}: give a finite number")


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).resize((120, 90)).save(file)
    return file


def verified(exported, checkpoint, *more):
    return CliRunner().invoke(
        main, ["verify", str(exported), "--against", str(checkpoint), *map(str, more)]
    )


def test_there_are_two_figures_each_with_its_verdict(exported, photo):
    checkpoint = exported.parent / "model.safetensors"

    result = verified(exported, checkpoint, "--image", photo, "--image", photo, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    graph, pictures = found["graph"], found["pictures"]
    assert graph["passed"] is found["passed"] is True
    assert graph["parity"]["logits_mean_abs"] < graph["parity"]["logits_p99_abs"] < 1e-4
    assert len(pictures) == 2
    assert pictures[0] == pictures[1]
    assert pictures[0]["parity"]["size"] == [90, 120]
    assert pictures[0]["network_size"] == [96, 160]
    assert 0 < pictures[0]["parity"]["max_levels"] < 0.05
    assert 0 < pictures[0]["card_levels"] <= 2
    assert pictures[0]["parity"]["boundary_iou"] > 0.999
    assert found["layers"] is None


@pytest.mark.parametrize(
    ("precision", "said"),
    [("fp32", "equal: within mask"), ("int8", "within int8's tolerance: mask mean")],
)
def test_only_float32_is_called_equal(precision, said):
    off = dict.fromkeys(("max", "p99", "mean"), 1e-6)
    figures = {f"{what}_{how}_abs": by for what in ("logits", "mask") for how, by in off.items()}
    parity = Parity(**figures, cases=((1, 32, 32),), reference="numpy", runtime="onnxruntime")
    tolerance = LogitsTolerance(mask_mean_abs=5e-2)
    graph = GraphComparison(parity, tolerance)
    beyond = replace(graph, tolerance=LogitsTolerance(0.0))

    last, bad = (
        list(_lines(ModelComparison(Path("m.onnx"), "lite", each, (), None, precision)))[-1]
        for each in (graph, beyond)
    )

    assert said in last
    assert ("NOT equal" in bad) == (precision == "fp32")
    assert "NOT" in bad


@pytest.mark.slow
def test_pictures_alone_can_fail(exported, photo, tmp_path):
    """Another normalization: the graph is the same, the pipeline is not."""
    model = onnx.load(exported / "onnx" / "model.onnx")
    (mean,) = [entry for entry in model.metadata_props if entry.key == "birefnet.mean"]
    mean.value = "[0.5, 0.5, 0.5]"
    onnx.save(model, tmp_path / "changed.onnx")

    result = verified(
        tmp_path / "changed.onnx", exported.parent / "model.safetensors", "--image", photo
    )

    assert result.exit_code == 1
    graph, picture = result.stdout.split("pipeline, ")
    assert "  equal: within logits" in graph
    assert picture.startswith(f"{photo} at 96x160:")
    assert "  NOT equal: a mean difference of" in picture


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "problem"), [(2.0, None), (3.0, "3 levels to the model card")])
def test_the_model_cards_mask_counts_too(exported, photo, monkeypatch, levels, problem):
    """Its own 8 bits are allowed for, and no more."""
    comparison = compare_models(
        str(exported), str(exported.parent / "model.safetensors"), images=[photo]
    )
    (image,) = comparison.images

    changed = dataclasses.replace(image, card_levels=levels)

    assert changed.problem == problem or problem in changed.problem
    assert dataclasses.replace(comparison, images=(changed,)).passed is (problem is None)


def test_what_the_runtime_does_beyond_upstream_is_told(exported, photo, tmp_path):
    Image.open(photo).convert("LA").save(tmp_path / "gray.png")

    result = verified(
        exported, exported.parent / "model.safetensors", "--image", tmp_path / "gray.png"
    )

    assert "(upstream ignores its transparency):" in result.stdout


@pytest.mark.slow
def test_layers_are_named(exported, tmp_path):
    other = {name: value + 0.3 if name == "decoder.decoder_block3.conv_out.bias" else value
             for name, value in weights_of(network(TINY)).items()}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")

    result = verified(exported, tmp_path / "other.safetensors", "--layers")
    assert result.exit_code == 1
    assert result.stdout.rstrip().endswith("first that differs: decoder.block3 (3e-05 allowed)")

    result = verified(exported, exported.parent / "model.safetensors", "--layers", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["layers"]["first"] is None


@pytest.mark.slow
def test_an_equal_graph_with_a_layer_that_differs_does_not_pass(exported, tmp_path):
    """The tensor that is called `squeeze` is not what the rest of the graph goes on with."""
    model = onnx.load(exported / "onnx" / "model.onnx")
    for node in model.graph.node:
        node.input[:] = ["squeezed" if name == "squeeze" else name for name in node.input]
        node.output[:] = ["squeezed" if name == "squeeze" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Add", ["squeezed", "squeezed"], ["squeeze"]))
    onnx.save(model, tmp_path / "changed.onnx")
    checkpoint = exported.parent / "model.safetensors"

    assert verified(tmp_path / "changed.onnx", checkpoint).exit_code == 0
    result = verified(tmp_path / "changed.onnx", checkpoint, "--layers", "--json")

    comparison = json.loads(result.stdout)
    assert comparison["graph"]["passed"] is True
    assert comparison["layers"]["first"] == "squeeze"
    assert (comparison["passed"], result.exit_code) == (False, 1)


@NAN_OFFSETS
def test_nan_is_one_line_and_layers_say_where_from(exported, tmp_path):
    model = onnx.load(exported / "onnx" / "model.onnx")
    weight = next(
        tensor
        for tensor in model.graph.initializer
        if tensor.name.startswith("decoder/block2/") and len(tensor.dims) == 4
    )
    weight.CopyFrom(
        numpy_helper.from_array(np.full(tuple(weight.dims), np.nan, np.float32), weight.name)
    )
    onnx.save(model, tmp_path / "nan.onnx")
    checkpoint = exported.parent / "model.safetensors"

    for more, said in (((), "NaN or infinity\n"), (("--layers",), "differs: decoder.block2\n")):
        result = verified(tmp_path / "nan.onnx", checkpoint, *more)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert result.stderr.endswith(said)


def test_layers_of_a_file_without_names_are_refused_in_one_line(exported):
    result = verified("nano", exported.parent / "model.safetensors", "--layers")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "export the checkpoint again" in result.stderr
