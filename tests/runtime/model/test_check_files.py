"""A model's files are what was recorded of them, or are refused by name."""

import os
import shutil

import pytest
from birefnet_models import embedded_path, find
from birefnet_models.base.hashes import CHECKSUMS, checksums_beside, checksums_of, record_checksums
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.model import locate
from birefnet_runtime.model.locate import ModelFile


@pytest.fixture
def recorded(make_model):
    """A model with a record of it beside it."""
    path = make_model("model.onnx")
    record_checksums(path.parent, checksums_of([path]))
    return path


def flip(path, at=-40):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_recorded_model_opens(recorded):
    Segmenter(recorded)


def test_a_changed_one_is_refused_by_name(recorded):
    flip(recorded)

    with pytest.raises(ModelError, match=r"model\.onnx .* SHA256SUMS"):
        Segmenter(recorded)


def test_without_its_line_it_is_taken_as_it_is(recorded, picture):
    alpha = Segmenter(recorded)(picture)
    flip(recorded)
    (recorded.parent / CHECKSUMS).write_text("nothing of this file\n")

    assert Segmenter(recorded)(picture).shape == alpha.shape


def test_weights_beside_it_count(recorded):
    weights = recorded.with_name("model.onnx_data")
    weights.write_bytes(b"weights")
    record_checksums(recorded.parent, checksums_of([recorded, weights]))
    ModelFile(recorded).check()

    weights.write_bytes(b"Weights")
    with pytest.raises(ModelError, match=r"model\.onnx_data .* SHA256SUMS"):
        ModelFile(recorded).check()
    weights.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx_data .* SHA256SUMS"):
        ModelFile(recorded).check()


def test_the_embedded_model_is_the_zoos():
    ModelFile(embedded_path(find("nano"))).check()


@pytest.mark.parametrize("at", [100, 5_000_000, -1])
def test_a_changed_embedded_model_is_refused(tmp_path, monkeypatch, at):
    path = tmp_path / "nano.onnx"
    shutil.copy(embedded_path(find("nano")), path)
    flip(path, at)
    monkeypatch.setattr(locate, "embedded_path", lambda card: path)

    with pytest.raises(ModelError, match=r"nano\.onnx .* the zoo"):
        Segmenter(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_record_that_cannot_be_read_is_named(recorded):
    (recorded.parent / CHECKSUMS).chmod(0)

    with pytest.raises(ModelError, match="compared with its record"):
        Segmenter(recorded)


def test_weights_beside_a_graph_are_checked_with_it_whatever_they_are_called(tmp_path):
    for name in ("model.onnx", "model.onnx_data_1", "model_fp16.onnx", "model_fp16.onnx_data", "w"):
        (tmp_path / name).write_bytes(name.encode())
    record_checksums(tmp_path, checksums_of(sorted(tmp_path.iterdir())))

    assert set(checksums_beside(tmp_path / "model.onnx")) == {
        "model.onnx",
        "model.onnx_data_1",
        "w",
    }
    assert set(checksums_beside(tmp_path / "model_fp16.onnx")) == {
        *("model_fp16.onnx", "model_fp16.onnx_data", "w")
    }
    assert checksums_beside(tmp_path / "model_int8.onnx") == {}
