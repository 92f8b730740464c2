import hashlib
import shutil
import subprocess

import pytest
from birefnet_models.base.hashes import (
    CHECKSUMS,
    changed_file,
    checksums_of,
    read_checksums,
    record_checksums,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def files(tmp_path):
    for name, content in (("model.onnx", b"graph"), ("model.onnx_data", b"weights")):
        (tmp_path / name).write_bytes(content)
    return [tmp_path / "model.onnx", tmp_path / "model.onnx_data"]


def test_a_record_names_each_file_as_sha256sum_does(tmp_path, files):
    record_checksums(tmp_path, checksums_of(files))

    assert (tmp_path / CHECKSUMS).read_text() == (
        f"{hashlib.sha256(b'graph').hexdigest()}  model.onnx\n"
        f"{hashlib.sha256(b'weights').hexdigest()}  model.onnx_data\n"
    )
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0


def test_what_is_recorded_of_other_files_stays(tmp_path, files):
    record_checksums(tmp_path, {"model_fp16.onnx": "0" * 64, "model.onnx_data": "1" * 64})

    record_checksums(tmp_path, checksums_of(files[:1]), forget=["model.onnx_data"])

    assert read_checksums(tmp_path) == {
        "model_fp16.onnx": "0" * 64,
        "model.onnx": hashlib.sha256(b"graph").hexdigest(),
    }


def test_without_a_record(tmp_path):
    assert read_checksums(tmp_path) == {}
    record_checksums(tmp_path, {}, forget=["model.onnx"])
    assert list(tmp_path.iterdir()) == []


def test_what_changed_is_named(tmp_path, files):
    checksums = checksums_of(files)
    assert changed_file(tmp_path, checksums) is None

    files[1].write_bytes(b"Weights")
    assert changed_file(tmp_path, checksums) == files[1]
    files[1].unlink()
    assert changed_file(tmp_path, checksums) == files[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_any_bytes_are_a_record_of_names_in_this_folder(tmp_path, content):
    (tmp_path / CHECKSUMS).write_bytes(content)

    for name, sha256 in read_checksums(tmp_path).items():
        assert "/" not in name
        assert len(sha256) == 64


def test_a_name_never_leads_out_of_the_folder(tmp_path):
    (tmp_path / CHECKSUMS).write_text(f"{'a' * 64}  ../model.onnx\n{'b' * 64} *model.onnx\n")

    assert read_checksums(tmp_path) == {"model.onnx": "b" * 64}
