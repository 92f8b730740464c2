"""`birefnet export` as it is typed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.cli.main import main
from birefnet_apps.cli.terminal import FetchBar
from birefnet_models.base.onnx_file import read_onnx
from birefnet_runtime import Segmenter
from click.testing import CliRunner
from PIL import Image

from ..conftest import TINY, expected_logits, fill, network, saved


def invoke(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_it_reports_what_was_compared(tiny_file, tmp_path):
    result = invoke(tiny_file, "--output", tmp_path / "out", "--trained-size", "96x160")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "onnx" / "model.onnx").is_file()
    assert f"against numpy {np.__version__} in float64 at 1x32x32, 2x96x160" in result.stdout
    assert "0 warnings" in result.stdout


def test_json_is_the_report(tiny_file, tmp_path):
    result = invoke(tiny_file, "-o", tmp_path / "out", "--json", "--no-verify", "--opset", 19)
    report = json.loads(result.stdout)

    assert report["parity"] is None
    assert report["opset"] == 19
    assert report["backbone"] == "swin"
    assert report["file_bytes"] == (tmp_path / "out" / "onnx" / "model.onnx").stat().st_size
    assert result.stdout.count("\n") == 1


def test_several_precisions_are_one_line_that_lists_all_files(tiny_file, tmp_path):
    folder = tmp_path / "out" / "onnx"

    result = invoke(
        tiny_file, "-o", tmp_path / "out", "--precision", "fp32, fp16,fp32", "--json",
        "--no-verify", "--trained-size", 64, "--external-data",
    )  # fmt: skip
    report = json.loads(result.stdout)

    assert result.stdout.count("\n") == 1
    assert [each["precision"] for each in report["reports"]] == ["fp32", "fp16"]
    names = ("model.onnx", "model.onnx_data", "model_fp16.onnx", "model_fp16.onnx_data")
    assert report["files"] == [str(folder / name) for name in names]
    assert all(Path(file).is_file() for file in report["files"])


def test_a_precision_that_is_none_is_refused(tiny_file, tmp_path):
    result = invoke(tiny_file, "-o", tmp_path / "out", "--precision", "fp32,fp8")

    assert result.exit_code == 2
    assert "'fp8'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_each_step_is_shown_below_the_bytes():
    bar = FetchBar()
    bar.step("building fp32")
    bar.step("proving fp32")

    assert [task.description for task in bar.steps.tasks] == ["proving fp32"]


def test_a_file_that_is_no_checkpoint_is_one_line_and_a_failure(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"<html>")

    result = invoke(tmp_path / "model.pth", "--output", tmp_path / "out")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "model.pth" in result.stderr
    assert "HTML page" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ("big", 2),
        ("64x", 2),
        ("x64", 2),
        ("0", 1),
        ("100", 1),
        ("96x-32", 1),
        ("32x1000000000", 1),
        ("16416", 1),
        ("9" * 5000, 2),
    ],
)
def test_a_size_that_cannot_be_is_refused(tiny_file, tmp_path, size, code):
    result = invoke(tiny_file, "--output", tmp_path / "out", "--trained-size", size)

    assert result.exit_code == code
    assert size in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_int8_says_what_it_does_to_the_masks(tiny_file, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "photos" / name)

    result = invoke(
        tiny_file, "-o", tmp_path / "out", "--precision", "int8", "--trained-size", "64",
        "--calibrate", tmp_path / "photos", "--min-iou", 0,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "onnx" / "model_quantized.onnx").is_file()
    assert "masks against fp32's on 2 images at 64x64: IoU " in result.stdout
    assert "in float64 at 1x32x32" in result.stdout


def test_a_folder_that_is_not_there_is_one_line(tiny_file, tmp_path):
    result = invoke(
        tiny_file, "-o", tmp_path / "out", "--precision", "int8", "--calibrate", tmp_path / "none"
    )

    assert result.exit_code == 1
    assert result.stderr.startswith(f"birefnet: {tmp_path}/none: no such folder; --calibrate ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_setting_that_tensors_cannot_tell_is_asked_for_and_kept(tmp_path):
    added = network(replace(TINY, multi_scale="add"))
    saved(added, tmp_path / "model.safetensors")
    out = tmp_path / "out"

    refused = invoke(tmp_path, "-o", out)
    stated = ("--multi-scale", "add", "--trained-size", "96x160")
    exported = invoke(tmp_path, "-o", out, *stated, "--lowering", "native")

    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "(mul_scl_ipt 'none')" in (refused.stderr)
    assert refused.stderr.endswith("with --multi-scale none or --multi-scale add\n")
    assert exported.exit_code == 0, exported.output
    metadata = read_onnx(out / "onnx" / "model.onnx").properties
    assert json.loads(metadata["birefnet.architecture"])["multi_scale"] == "add"
    image = fill.image(1, 96, 160)
    logits = Segmenter(out, size=(96, 160)).logits(image)
    assert abs(logits - expected_logits(added, image)).max() < 1e-4

    verify = ["verify", str(out), "--against", str(tmp_path)]
    as_stated = CliRunner().invoke(main, verify)  # by the model's own metadata
    otherwise = CliRunner().invoke(main, [*verify, "--multi-scale", "none"])
    assert as_stated.exit_code == 0, as_stated.output
    assert (otherwise.exit_code, "NOT equal" in otherwise.stdout) == (1, True)


def test_a_setting_that_tensors_tell_otherwise_is_refused(tiny_file, tmp_path):
    result = invoke(tiny_file, "-o", tmp_path / "out", "--multi-scale", "none")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "mul_scl_ipt 'cat', not 'none'" in result.stderr
