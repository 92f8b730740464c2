"""Somebody's own code as a reference, on consent.

The repository of code is written here and really loaded through transformers, from a directory and
from the hub on loopback.
"""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="make test-pytorch runs what needs PyTorch")

from birefnet_apps.cli.main import main
from birefnet_benchmarks.errors import RemoteCodeError
from birefnet_benchmarks.pytorch import remote_code
from birefnet_export.export import export_onnx
from click.testing import CliRunner
from safetensors.numpy import save_file

from ...export.conftest import TINY, network, weights_of

pytestmark = pytest.mark.pytorch

CONFIGURATION = """
from transformers import PretrainedConfig

class ShoesConfig(PretrainedConfig):
    model_type = "shoes"

    def __init__(self, arch=None, **others):
        self.arch = arch
        super().__init__(**others)
"""
MODELING = """
from birefnet_benchmarks.pytorch.birefnet import BiRefNet
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.swin_v1 import SwinV1
from transformers import PreTrainedModel

from .configuration_shoes import ShoesConfig

print("remote code ran")

class Shoes(PreTrainedModel):
    config_class = ShoesConfig
    backbone_maps, encode = BiRefNet.backbone_maps, BiRefNet.encode

    def __init__(self, config):
        super().__init__(config)
        arch = {k: tuple(v) if isinstance(v, list) else v for k, v in config.arch.items()}
        backbone = {k: tuple(v) if isinstance(v, list) else v for k, v in arch["backbone"].items()}
        backbone.pop("name")
        self.arch = Architecture(**{**arch, "backbone": SwinV1(**backbone)})
        for name, child in BiRefNet(self.arch).named_children():
            self.add_module(name, child)
        self.post_init()

    def forward(self, x):
        return [BiRefNet.forward(self, x)]
"""
CONFIG = {
    "architectures": ["Shoes"],
    "model_type": "shoes",
    "auto_map": {
        "AutoConfig": "configuration_shoes.ShoesConfig",
        "AutoModelForImageSegmentation": "modeling_shoes.Shoes",
    },
    "arch": TINY.to_dict(),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export of the tiny network, not verified by the export itself."""
    folder = tmp_path_factory.mktemp("against")
    weights = weights_of(network(TINY))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return export_onnx(
        folder, folder / "out", verify=False, lowering="native", trained_size=(96, 160)
    ).directory


@pytest.fixture
def repository(exported) -> dict[str, bytes]:
    """The files of a hub repository with code of its own."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "configuration_shoes.py": CONFIGURATION.encode(),
        "modeling_shoes.py": MODELING.encode(),
        "model.safetensors": (exported.parent / "model.safetensors").read_bytes(),
    }


def test_code_is_not_run_without_consent(exported, repository, tmp_path, capsys):
    folder = tmp_path / "code"
    folder.mkdir()
    for name, content in repository.items():
        (folder / name).write_bytes(content)

    result = CliRunner().invoke(
        main, ["verify", str(exported), "--against", f"transformers:{folder}"]
    )

    assert result.exit_code == 1
    assert "run Python code" in result.stderr
    assert "configuration_shoes.py, modeling_shoes.py" in result.stderr
    assert "--trust-remote-code" in result.stderr
    assert "remote code ran" not in result.output


def test_a_repository_without_a_revision_is_refused_before_anything_else():
    with pytest.raises(RemoteCodeError, match="as transformers:a/b@COMMIT"):
        remote_code.load_remote("transformers:a/b", True, print)


@pytest.mark.slow
def test_the_code_can_be_raced_against(exported, repository, tmp_path, monkeypatch):
    folder = tmp_path / "code"
    folder.mkdir()
    for name, content in repository.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    result = CliRunner().invoke(
        main,
        [
            *("bench", str(exported), "--against", f"transformers:{folder}", "--trust-remote-code"),
            *("--sizes", "64", "--threads", "1", "--seconds", "0", "--output", str(tmp_path)),
        ],
    )

    assert result.exit_code == 0, result.output
    theirs, ours = json.loads((tmp_path / "report.json").read_text())["results"]
    assert (theirs["configuration"]["variant"], theirs["error"]) == ("transformers", None)
    assert ours["graph"]["problem"] is None
    assert 0 < ours["graph"]["logits"]["max_abs"] < 1e-3


@pytest.mark.slow
def test_the_code_at_a_pinned_commit_is_loaded_from_the_hub(hub, exported, repository, tmp_path):
    commit = hub.repo("someone/shoes").commit(repository)
    moved = {**repository, "modeling_shoes.py": b"raise RuntimeError('not this one')"}
    hub.repo("someone/shoes").commit(moved)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from birefnet_apps.cli.main import main; main()"),
            *("verify", str(exported), "--trust-remote-code"),
            *("--against", f"transformers:someone/shoes@{commit}"),
        ],
        env={
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"the Python code of someone/shoes@{commit}: config" in done.stderr
    assert "remote code ran" in done.stdout
    assert "equal: within logits" in done.stdout
