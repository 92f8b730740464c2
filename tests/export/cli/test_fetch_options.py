"""The hub as its user meets it: the environment's variables, separate processes, an empty cache."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from birefnet_models.base.onnx_file import read_onnx
from birefnet_runtime import Segmenter
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
        warn = "default" if "ray" in arguments else "error"  # Ray uses what it deprecates
        return subprocess.run(
            [sys.executable, "-W", warn, "-c", program, *arguments],
            cwd=tmp_path,
            env={**os.environ, **caches, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def published(hub, tiny, tmp_path) -> str:
    """The commit of a small checkpoint, and its trained size, on the hub as `REPO`."""
    saved(tiny, tmp_path / "tiny.safetensors")
    weights = (tmp_path / "tiny.safetensors").read_bytes()
    processor = b'{"size": {"height": 64, "width": 64}}'
    return hub.repo(REPO).commit(
        {"model.safetensors": weights, "preprocessor_config.json": processor}
    )


@pytest.mark.slow
def test_from_nothing_to_a_cutout_in_one_line(hub, birefnet, published, tmp_path):
    Image.new("RGB", (80, 60), "white").save(tmp_path / "photo.png")
    weights, commit = (tmp_path / "tiny.safetensors").read_bytes(), published
    cutout = ("cutout", "photo.png", "-o", "a.png", "-m", REPO)
    without = birefnet(*cutout, program=WITHOUT_TORCH)
    first = birefnet(*cutout)
    hub.reset()

    assert without.returncode == 1
    assert without.stderr.count("\n") == 1
    assert "[export]'" in without.stderr
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


@pytest.mark.slow
@pytest.mark.parametrize("program", ["video", "ray", "warm", "fp16", "int8", "several"])
def test_every_program_begins_from_nothing(hub, birefnet, published, tmp_path, program):
    """What is asked for is fetched and made once, and then lies in the cache."""
    Image.new("RGB", (80, 60), "white").save(tmp_path / "photo.png")
    if program == "video":
        if shutil.which("ffmpeg") is None:
            pytest.skip("ffmpeg isn't installed")
        film = "-f lavfi -i testsrc=size=64x48:rate=2:duration=1 film.mkv"
        subprocess.run(["ffmpeg", "-v", "error", *film.split()], cwd=tmp_path, check=True)
    cutout = ("cutout", "photo.png", "-o", "a.png", "-m")
    arguments, made = {
        "video": (("video", "film.mkv", "-o", "film.webm", "-m", REPO), "film.webm"),
        "ray": (("cutout", "photo.png", "-o", "out", "-m", REPO, "--on", "ray"), "out/photo.png"),
        "warm": (("warm", REPO, "--provider", "cpu"), "cache"),
        "fp16": ((*cutout, f"{REPO}:fp16"), "a.png"),
        "int8": ((*cutout, f"{REPO}:int8"), "a.png"),
        "several": ((*cutout, REPO), "a.png"),
    }[program]

    with ThreadPoolExecutor() as pool:
        runs = 3 if program == "several" else 1
        done = list(pool.map(lambda _: birefnet(*arguments), range(runs)))

    assert [run.returncode for run in done] == [0] * runs, done[0].stderr
    said = "".join(run.stderr for run in done)
    precision = program if program in ("fp16", "int8") else "fp32"
    assert said.count(f"{REPO} is made in {precision}") == 1, said
    assert (tmp_path / made).exists()
    assert len([r for r in hub.requests if "/resolve/" in str(r) and "GET" in str(r)]) <= 3
    (file,) = (tmp_path / "cache").rglob("onnx/model*.onnx")
    assert read_onnx(file).properties["birefnet.precision"] == precision


@pytest.mark.slow
def test_a_server_begins_from_nothing(hub, published, tmp_path):
    command = [sys.executable, "-c", WITH_EVERYTHING, "serve", "-m", REPO, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stderr
        try:
            lines = list(
                takewhile(lambda line: "http://" not in line or REPO in line, server.stderr)
            )
        finally:
            server.terminate()

    assert server.wait() == 0
    assert any(f"{REPO} is made in fp32" in line for line in lines), lines


@pytest.mark.slow
def test_the_library_begins_from_nothing_without_a_print(hub, published, caplog, capfd, tmp_path):
    with caplog.at_level("INFO"):
        segmenter = Segmenter(REPO)

    assert segmenter(np.zeros((60, 80, 3), np.uint8)).shape == (60, 80)
    assert f"{REPO} is made in fp32" in caplog.text
    assert capfd.readouterr() == ("", "")


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
    with pytest.raises(ExportError, match=r"\(--output\) or a name"):
        export_onnx(tiny_file)
    with pytest.raises(ExportError, match="name of another model"):
        export_onnx(tiny_file, name="lite")

    report = export_onnx(tiny_file, name="shoes", verify=False, lowering="native")

    assert report.name == "shoes"
    assert report.file.relative_to(tmp_path / "cache") == Path(
        "models/shoes/fp32-native/onnx/model.onnx"
    )
