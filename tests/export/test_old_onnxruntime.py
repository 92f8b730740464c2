"""ONNX Runtime before 1.25: `make test-lowest` runs this with 1.20."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from birefnet_apps.doctor import diagnose
from birefnet_export import export_onnx
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.session.ort_errors import has_deform_conv

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    has_deform_conv(onnxruntime.__version__), reason="this ONNX Runtime has DeformConv"
)


def test_nano_says_what_it_needs():
    with pytest.raises(ModelError, match=r"DeformConv needs ONNX Runtime 1\.25"):
        Segmenter("nano")


def test_the_gridsample_lowering_runs(tmp_path):
    checkpoint = ROOT / "models/nano/model.safetensors"
    report = export_onnx(
        checkpoint, tmp_path, lowering="gridsample", trained_size=(192, 192), verify=False
    )

    alpha = Segmenter(report.file)(ROOT / "examples/photos/flower.jpg")

    assert alpha[200, 310] > 0.9  # the flower
    assert alpha[200, 60] < 0.1  # a leaf
    assert np.isfinite(alpha).all()


def test_the_doctor_is_content_and_says_what_runs():
    found = diagnose()

    assert found.healthy
    assert "has no DeformConv" in found.advice
