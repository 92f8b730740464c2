"""Models with their weights in the file or beside it."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
from birefnet_export import pipeline
from birefnet_export.errors import ParityError
from birefnet_export.export import export_onnx
from birefnet_export.graph.save import replacing_model
from birefnet_models.base.hashes import checksums_of, read_checksums
from birefnet_runtime import ModelError, Segmenter


def contents(directory):
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_weights_lie_beside_the_graph_and_compute_the_same(tiny_file, tmp_path):
    within = export_onnx(tiny_file, tmp_path / "within")
    beside = export_onnx(tiny_file, tmp_path / "beside", external_data=True)

    image = np.random.default_rng(0).random((1, 3, 64, 96)).astype(np.float32)
    expected = Segmenter(within.directory, size=(64, 96)).logits(image)
    assert np.array_equal(Segmenter(beside.directory, size=(64, 96)).logits(image), expected)
    assert beside.file.stat().st_size < 0.5 * within.file.stat().st_size
    assert beside.file_bytes > 0.9 * within.file_bytes
    assert contents(beside.directory) == contents(within.directory) | {"onnx/model.onnx_data"}


def test_the_files_are_recorded_and_checked(tiny_file, tmp_path):
    directory = export_onnx(tiny_file, tmp_path / "out", external_data=True).directory / "onnx"
    assert read_checksums(directory) == checksums_of(
        [directory / "model.onnx", directory / "model.onnx_data"]
    )

    with (directory / "model.onnx_data").open("r+b") as weights:
        weights.seek(1000)
        weights.write(b"\0\0\0\0")

    with pytest.raises(ModelError, match=r"model\.onnx_data .* SHA256SUMS"):
        Segmenter(tmp_path / "out")
    export_onnx(tiny_file, tmp_path / "out", verify=False)
    assert read_checksums(directory) == checksums_of([directory / "model.onnx"])


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


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_an_export_over_another_leaves_none_of_it(tiny_file, tmp_path, first, second):
    export_onnx(tiny_file, tmp_path / "out", external_data=first, verify=False)
    export_onnx(tiny_file, tmp_path / "out", external_data=second, verify=False)

    assert ("onnx/model.onnx_data" in contents(tmp_path / "out")) == second
    Segmenter(tmp_path / "out", size=32).logits(np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_an_export_that_is_terminated_leaves_no_model(tiny_file, tmp_path):
    """After the model was written beside its place, and before it got its name."""
    program = (
        "import sys, time\n"
        "from birefnet_export import pipeline\n"
        "from birefnet_apps.cli.main import main\n"
        "def wait(*arguments):\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
        "pipeline.check_export = wait\n"
        "main(sys.argv[1:])"
    )
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", program, "export", tiny_file, "--output", out, "--external-data"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        assert len(contents(out)) == 4
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode != 0
    assert "Traceback" not in stderr
    assert contents(out) == set()


def test_a_block_that_raises_leaves_no_folder(tmp_path):
    def fail():
        with replacing_model(tmp_path / "model.onnx") as unnamed:
            unnamed.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal
from pathlib import Path
from birefnet_export.graph.save import replacing_model
with replacing_model(Path("model.onnx")) as unnamed:
    unnamed.write_bytes(b"a whole model")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows shows no ended processes")
def test_a_killed_export_leaves_a_model_until_the_next_one_alone(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert done.returncode < 0
    assert not (tmp_path / "model.onnx").exists()
    assert len(list(tmp_path.rglob("model.onnx"))) == 1

    with replacing_model(tmp_path / "model.onnx") as unnamed:
        unnamed.write_bytes(b"new")

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["SHA256SUMS", "model.onnx"]
