"""A file from pixels to alpha is verified, inspected and found as others are."""

import json

import numpy as np
import pytest
from birefnet_export.errors import ExportError
from birefnet_export.export import export_onnx
from birefnet_export.inspection import inspect_file
from birefnet_export.verify.compare_models import compare_models
from birefnet_runtime import Segmenter
from birefnet_runtime.model.locate import find_model
from PIL import Image

from ..conftest import saved


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("whole")
    saved(tiny, folder / "model.safetensors")
    image = np.random.default_rng(3).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(image).resize((160, 240)).save(folder / "photo.png")
    return folder, export_onnx(
        folder, folder / "out", trained_size=(64, 64), end_to_end=True, verify=False
    )


def test_it_is_compared_on_images(exported):
    folder, report = exported

    result = compare_models(report.end_to_end.file, str(folder), images=[folder / "photo.png"])

    assert result.passed
    assert result.graph is None
    assert result.images[0].parity.max_levels <= 1
    assert json.loads(json.dumps(result.to_dict()))["graph"] is None


@pytest.mark.parametrize("options", [{}, {"layers": True, "images": ["photo.png"]}])
def test_nothing_else_can_be_compared(exported, options):
    folder, report = exported
    options["images"] = [folder / name for name in options.get("images", [])]

    with pytest.raises(ExportError, match="takes pixels"):
        compare_models(report.end_to_end.file, str(folder), **options)


def test_inspection_says_what_it_is(exported):
    facts = inspect_file(exported[1].end_to_end.file)

    assert facts.output == "alpha"
    assert facts.inputs[0].dtype == "uint8"
    assert facts.dynamic == ("batch", "height", "width")
    assert inspect_file(exported[1].directory).file.name == "model.onnx"


def test_the_directorys_model_is_the_other_one(exported, tmp_path):
    whole = exported[1].end_to_end.file
    (tmp_path / "model_fp16.onnx").write_bytes(exported[1].file.read_bytes())
    (tmp_path / "model_end_to_end_fp16.onnx").write_bytes(whole.read_bytes())

    assert find_model(tmp_path).path.name == "model_fp16.onnx"
    (tmp_path / "model_fp16.onnx").unlink()
    assert find_model(tmp_path).path.name == "model_end_to_end_fp16.onnx"


def test_the_runtime_gives_the_same_masks(exported):
    folder, report = exported

    alphas = [Segmenter(file)(folder / "photo.png") for file in (report.file, whole_file(report))]

    assert np.abs(alphas[0] - alphas[1]).max() * 255 <= 1


def whole_file(report):
    return report.end_to_end.file
