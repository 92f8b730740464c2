"""`--end-to-end`: a further file from pixels to alpha, in every precision and lowering."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export import pipeline
from birefnet_export.errors import ParityError
from birefnet_export.export import export_onnx
from birefnet_export.verify.logits import sample_pixels
from birefnet_models.base.hashes import changed_file, read_checksums
from birefnet_runtime import Segmenter


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "model_end_to_end.onnx"),
        ({"lowering": "native", "precision": "fp16"}, "model_end_to_end_fp16.onnx"),
        ({"lowering": "gridsample", "external_data": True}, "model_end_to_end.onnx"),
        ({"precision": "int8"}, "model_end_to_end_quantized.onnx"),
        ({"verify": False}, "model_end_to_end.onnx"),
    ],
)
def test_masks_are_the_runtimes(tiny_file, tmp_path, options, name):
    report = export_onnx(
        tiny_file, tmp_path / "out", trained_size=(64, 96), end_to_end=True, **options
    )
    images = sample_pixels((2, 50, 70))

    whole = report.end_to_end
    session = onnxruntime.InferenceSession(whole.file, providers=["CPUExecutionProvider"])
    (alphas,) = session.run(None, {"image": images})

    expected = np.stack([Segmenter(report.file)(each) for each in images]) * 255
    assert whole.file == report.file.with_name(name)
    assert (whole.parity is None) == (options.get("verify") is False)
    assert np.abs(alphas - expected).max() <= 1
    assert set(read_checksums(whole.file.parent)) == {p.name for p in whole.file.parent.glob("m*")}
    assert changed_file(whole.file.parent, read_checksums(whole.file.parent)) is None


def test_the_file_says_what_it_is(tiny_file, tmp_path):
    report = export_onnx(tiny_file, tmp_path / "out", trained_size=(32, 64), end_to_end=True)

    facts = {e.key: e.value for e in onnx.load(report.end_to_end.file).metadata_props}
    assert facts["birefnet.output"] == "alpha"
    assert facts["birefnet.trained_size"] == "32x64"
    assert facts["birefnet.lowering"] == "rows"
    stated = json.loads(facts["birefnet.end_to_end_parity"])
    assert stated["max_levels"] == report.end_to_end.parity.max_levels <= 2
    assert json.loads(json.dumps(report.to_dict()))["end_to_end"]["size"] == [32, 64]


@pytest.mark.slow
def test_other_masks_leave_no_such_file(tiny_file, tmp_path, monkeypatch):
    def inverted(network, size):
        enclose(network, size)
        last = network.graph.node[-1]
        flipped = onnx.helper.make_node("BitwiseNot", [last.input[0]], ["flipped"])
        last.input[0] = "flipped"
        network.graph.node.insert(len(network.graph.node) - 1, flipped)

    enclose = pipeline.enclose
    monkeypatch.setattr(pipeline, "enclose", inverted)

    with pytest.raises(ParityError, match="differ from the runtime's"):
        export_onnx(tiny_file, tmp_path / "out", trained_size=(32, 32), end_to_end=True)

    assert [p.name for p in (tmp_path / "out" / "onnx").glob("*.onnx")] == ["model.onnx"]
