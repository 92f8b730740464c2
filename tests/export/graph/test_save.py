"""Models with their weights in the file or beside it."""

import json

import numpy as np
import onnx
import pytest
from birefnet_export import pipeline
from birefnet_export.errors import ParityError
from birefnet_export.export import export_onnx
from birefnet_export.graph.save import replacing_model
from birefnet_runtime import Segmenter


def contents(directory):
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_weights_lie_beside_the_graph_and_compute_the_same(tiny_file, tmp_path):
    within = export_onnx(tiny_file, tmp_path / "within")
    beside = export_onnx(tiny_file, tmp_path / "beside", external_data=True)

    image = np.random.default_rng(0).random((1, 3, 64, 96)).astype(np.float32)
    expected = Segmenter(within.directory, size=(64, 96)).logits(image)
    assert np.array_equal(Segmenter(beside.directory, size=(64, 96)).logits(image), expected)
    assert beside.file.stat().st_size < 0.5 * within.file.stat().st_size
    assert beside.file_bytes > 0.9 * within.file_bytes
    assert contents(beside.directory) == contents(within.directory) | {"onnx/model.onnx_data"}


def test_other_tools_are_told_where_the_weights_are(tiny_file, tmp_path):
    directory = export_onnx(tiny_file, tmp_path / "out", external_data=True).directory
    locations = {
        entry.value
        for tensor in onnx.load(
            directory / "onnx/model.onnx", load_external_data=False
        ).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }

    config = json.loads((directory / "config.json").read_text())
    assert locations == {"model.onnx_data"}
    assert config["transformers.js_config"] == {"use_external_data_format": True}


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_an_export_over_another_leaves_none_of_it(tiny_file, tmp_path, first, second):
    export_onnx(tiny_file, tmp_path / "out", external_data=first, verify=False)
    export_onnx(tiny_file, tmp_path / "out", external_data=second, verify=False)

    assert ("onnx/model.onnx_data" in contents(tmp_path / "out")) == second
    Segmenter(tmp_path / "out", size=32).logits(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.parametrize("error", [ParityError, KeyboardInterrupt])
def test_an_export_that_ends_early_keeps_graph_and_weights(tiny_file, tmp_path, monkeypatch, error):
    directory = export_onnx(tiny_file, tmp_path / "out", external_data=True).directory
    before = {name: (directory / name).read_bytes() for name in contents(directory)}

    def refuse(path, net, tolerance):
        raise error

    monkeypatch.setattr(pipeline, "check_export", refuse)
    with pytest.raises(error):
        export_onnx(tiny_file, directory, external_data=True)

    assert contents(directory) == set(before)
    assert {name: (directory / name).read_bytes() for name in contents(directory)} == before


def test_a_block_that_raises_leaves_no_folder(tmp_path):
    def fail():
        with replacing_model(tmp_path / "model.onnx") as unnamed:
            unnamed.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert list(tmp_path.iterdir()) == []
