"""Commands that have a model fetched, as their user meets them: in processes without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from birefnet_models import embedded_path, find

from ...hub_server import Failure

PROGRAM = """
import sys
BLOCKED = {"torch", "onnx", *sys.argv.pop().split()}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Block())
from birefnet_apps.cli.main import main
main()
"""
PHOTO = Path("examples/photos/flower.jpg").absolute()
PROCESSOR = b'{"size": {"height": 192, "width": 192}}'


@pytest.fixture
def birefnet(tmp_path):
    def run(*arguments: str, blocked: str = "", **environment: str):
        caches = {"BIREFNET_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, *arguments, blocked],
            cwd=tmp_path,
            env={**os.environ, **caches, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_cutout_by_a_model_of_the_hub_twice_the_second_time_without_it(hub, birefnet, tmp_path):
    nano = embedded_path(find("nano")).read_bytes()
    command = ("cutout", str(PHOTO), "-m", "someone/thing")
    hub.repo("someone/thing").commit(
        {"onnx/model.onnx": nano, "preprocessor_config.json": PROCESSOR}
    )
    hub.failure = Failure(cut_at=4_000_000, times=1)
    first = birefnet(*command, "-o", "a.png")
    second = birefnet(*command, "-o", "b.png", blocked="huggingface_hub httpx httpx2")

    for done in (first, second):
        assert done.returncode == 0, done.stderr
    assert {part for _, _, part in hub.requests if part} == {"bytes=4000000-"}
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert "pinned someone/thing@main:onnx" in first.stderr
    assert "pinned" not in second.stderr


def test_a_model_that_can_not_be_had_is_one_line_and_no_file(birefnet, tmp_path):
    photo = str(PHOTO)
    done = birefnet("cutout", photo, "--model", "someone/thing", "--output", "a.png")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("birefnet: someone/thing@main: is not in the")
    assert not (tmp_path / "a.png").exists()
