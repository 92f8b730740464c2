"""The known answer that an export writes, and the steps around the network in float64."""

import json

import numpy as np
import pytest
from birefnet_export import export_onnx
from birefnet_export.answer import TOLERANCES, answer_alpha, answer_tensor, end_to_end_answer_facts
from birefnet_export.checkpoint.read import read_checkpoint
from birefnet_export.graph.signature import MEAN, STD
from birefnet_export.reference.birefnet import RememberedLogits
from birefnet_models import embedded_path, find
from birefnet_runtime import Segmenter
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.model import graph_io
from birefnet_runtime.model.known_answer import KEY, PICTURES, SIZE, draw, read_known_answer
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.judge import Asked
from birefnet_runtime.session.open import open_session


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("size", [SIZE, (192, 192), (1024, 1024), (1440, 2560)])
def test_pictures_are_resized_to_the_level_as_pillow_does(picture, size):
    pixels = draw(*picture)

    theirs = graph_io.to_tensor(Picture(pixels), size, MEAN, STD)[0]

    np.testing.assert_allclose(answer_tensor(pixels, size), theirs, atol=1e-6)


@pytest.mark.parametrize("size", [*PICTURES, (64, 96), (300, 20)])
def test_masks_are_brought_back_as_the_runtime_does(size):
    logits = 5 * np.random.default_rng(0).standard_normal(SIZE)

    theirs = graph_io.to_alpha(logits.astype(np.float32), size)

    np.testing.assert_allclose(answer_alpha(logits, size), theirs, atol=1e-6)


def test_an_end_to_end_answer_is_the_references_where_there_is_memory(monkeypatch, tmp_path):
    reference = RememberedLogits(read_checkpoint("models/nano/model.safetensors").network())
    nano = embedded_path(find("nano"))

    def answer(network):
        facts = end_to_end_answer_facts(reference, "fp32", SIZE, network, nano)
        return read_known_answer(facts)

    by_reference = answer(tmp_path / "never opened.onnx")
    monkeypatch.setattr("birefnet_export.answer.available_memory_bytes", lambda: 1e6)
    with pytest.warns(UserWarning, match=r"at 64x96, .* 1 MB"):
        by_graph = answer(nano)

    assert by_reference.answer.logits is None
    assert by_graph.answer.off(by_reference.answer)["alpha"].largest < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_export_answers_what_its_file_says(tmp_path, precision):
    checkpoint = "models/nano/model.safetensors"
    export_onnx(checkpoint, tmp_path, trained_size=(64, 64), precision=precision, end_to_end=True)

    for file in (tmp_path / "onnx").glob("*.onnx"):
        model = ModelFile(file)
        known = read_known_answer(model.graph.properties)
        found = Asked.of(open_session(model, accepted=False), model)
        off = known.off(found.answer(known.size, known.pictures))
        assert all(off[name].within(allowed) for name, allowed in known.tolerance.items())
        assert len(model.graph.properties[KEY]) < 8000
        Segmenter(file, providers="cpu")
        if precision == "fp32" and "end_to_end" not in file.name:
            assert off["alpha"].largest < 2e-4
            stated = json.loads(ModelFile(embedded_path(find("nano"))).graph.properties[KEY])
            assert json.loads(model.graph.properties[KEY]) == stated, "nano's own, anew"
    assert set(TOLERANCES) == {"fp32", "fp16", "int8"}
