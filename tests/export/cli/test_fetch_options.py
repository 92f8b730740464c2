"""The hub as its user meets it: the environment's variables, separate processes, an empty cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ..conftest import saved

REPO = "someone/tiny"
WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "transformers"}:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Block())
from birefnet_apps.cli.main import main
main()
"""
WITH_EVERYTHING = "from birefnet_apps.cli.main import main; main()"


@pytest.fixture
def birefnet(tmp_path):
    """The command in a process of its own, on caches of its own."""

    def run(*arguments: str, program: str = WITH_EVERYTHING, **environment: str):
        caches = {
            "BIREFNET_CACHE": str(tmp_path / "cache"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            cwd=tmp_path,
            env={**os.environ, **caches, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_from_nothing_to_a_cutout_in_one_line(hub, birefnet, tiny, tmp_path):
    saved(tiny, tmp_path / "tiny.safetensors")
    Image.new("RGB", (80, 60), "white").save(tmp_path / "photo.png")
    weights = (tmp_path / "tiny.safetensors").read_bytes()
    processor = b'{"size": {"height": 64, "width": 64}}'
    commit = hub.repo(REPO).commit(
        {"model.safetensors": weights, "preprocessor_config.json": processor}
    )
    cutout = ("cutout", "photo.png", "-o", "a.png", "-m", REPO)
    without = birefnet(*cutout, program=WITHOUT_TORCH)
    first = birefnet(*cutout)
    hub.reset()

    assert without.returncode == 1
    assert without.stderr.count("\n") == 1
    assert "pip install 'birefnet-ort[export]'" in without.stderr
    assert first.returncode == 0, first.stderr
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGBA"
    lines = first.stderr.splitlines()
    assert f"{commit}/model.safetensors (" in lines[0]
    assert f"birefnet: pinned {REPO}@main at commit {commit}" in lines[1]
    assert f"{REPO} is made in fp32 from it" in lines[2]
    lock = json.loads((tmp_path / "birefnet.lock").read_text())
    assert lock["pins"][f"{REPO}@main"]["commit"] == commit

    # Nothing is on the hub now, and nothing is asked of it.
    again = birefnet(*cutout, program=WITHOUT_TORCH)
    assert (again.returncode, "made in" in again.stderr) == (0, False)
    int8 = birefnet(*cutout[:-1], f"{REPO}:int8", HF_HUB_OFFLINE="1")
    assert int8.returncode == 0, int8.stderr
    locked = birefnet("export", REPO, "--no-verify", "--locked", HF_HUB_OFFLINE="1")
    assert locked.returncode == 0, locked.stderr
    assert f"use it as: birefnet cutout --model {REPO}" in locked.stdout
    assert hub.requests == []

    (blob,) = [p for p in (tmp_path / "hf").rglob("blobs/*") if p.stat().st_size == len(weights)]
    blob.write_bytes(weights[:-1] + b"!")
    refused = birefnet("export", REPO, "--no-verify", HF_HUB_OFFLINE="1")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert lock["pins"][f"{REPO}@main"]["sha256"] in refused.stderr


def test_the_facts_of_the_source_travel_in_the_file(tiny, tmp_path, monkeypatch):
    """A checkpoint of the zoo brings its size, license and name, and lies under that name."""
    from birefnet_export import FetchOptions
    from birefnet_export.checkpoint import fetch as checkpoints
    from birefnet_export.export import export_onnx
    from birefnet_models.base.hashes import sha256_of
    from birefnet_models.base.onnx_file import read_onnx
    from birefnet_models.pins import Pin

    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    saved(tiny, file)
    pin = Pin("c" * 40, file.name, file.stat().st_size, sha256_of(file))
    monkeypatch.setattr(checkpoints, "_of_hub", lambda *_: (file, pin))

    report = export_onnx(
        "dynamic",
        verify=False,
        lowering="native",
        fetching=FetchOptions(lock=tmp_path / "birefnet.lock"),
    )

    facts = read_onnx(report.file).properties
    assert report.name == "dynamic"
    assert report.directory == tmp_path / "cache" / "models" / "dynamic" / "fp32-native"
    assert facts["birefnet.source"] == f"ZhengPeng7/BiRefNet_dynamic@{'c' * 40}"
    assert facts["birefnet.model"] == "dynamic"
    assert facts["birefnet.license"] == "MIT"
    assert facts["birefnet.trained_range"] == "256x256-2304x2304"
    from birefnet_runtime import Segmenter

    assert Segmenter("dynamic").metadata.trained_range == ((256, 256), (2304, 2304))


def test_a_local_checkpoint_needs_a_directory_or_a_name(tiny_file, tmp_path, monkeypatch):
    from birefnet_export.errors import ExportError
    from birefnet_export.export import export_onnx

    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ExportError, match=r"directory for its export \(--output\) or a name"):
        export_onnx(tiny_file)
    with pytest.raises(ExportError, match="lite is the name of another model"):
        export_onnx(tiny_file, name="lite")

    report = export_onnx(tiny_file, name="shoes", verify=False, lowering="native")

    assert report.name == "shoes"
    assert report.file.relative_to(tmp_path / "cache") == Path(
        "models/shoes/fp32-native/onnx/model.onnx"
    )
