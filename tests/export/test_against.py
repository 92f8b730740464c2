"""`birefnet verify`: an export against its checkpoint, and against somebody's own code.

The repository of code is written here and really loaded through transformers, from a directory and
from the hub on loopback.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from birefnet_export import remote_code
from birefnet_export.errors import RemoteCodeError
from birefnet_export.export import export_onnx
from birefnet_runtime.cli import main
from click.testing import CliRunner
from safetensors.torch import save_file

from ..hub_server import serving
from .conftest import TINY

CONFIGURATION = """
from transformers import PretrainedConfig

class ShoesConfig(PretrainedConfig):
    model_type = "shoes"

    def __init__(self, arch=None, **others):
        self.arch = arch
        super().__init__(**others)
"""
MODELING = """
from birefnet_export.birefnet import BiRefNet
from birefnet_export.config import Architecture
from transformers import PreTrainedModel

from .configuration_shoes import ShoesConfig

print("remote code ran")

class Shoes(PreTrainedModel):
    config_class = ShoesConfig
    backbone_maps, encode, squeeze = BiRefNet.backbone_maps, BiRefNet.encode, BiRefNet.squeeze

    def __init__(self, config):
        super().__init__(config)
        arch = {k: tuple(v) if isinstance(v, list) else v for k, v in config.arch.items()}
        for name, child in BiRefNet(Architecture(**arch)).named_children():
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
def exported(tmp_path_factory, tiny) -> Path:
    """An export of the tiny network, not verified by the export itself."""
    folder = tmp_path_factory.mktemp("against")
    save_file(tiny.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return export_onnx(folder, folder / "out", verify=False, lowering="native").directory


@pytest.fixture
def repository(exported, tmp_path) -> dict[str, bytes]:
    """The files of a hub repository with code of its own."""
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "configuration_shoes.py": CONFIGURATION.encode(),
        "modeling_shoes.py": MODELING.encode(),
        "model.safetensors": (exported.parent / "model.safetensors").read_bytes(),
    }


def test_an_export_equals_its_checkpoint(exported):
    checkpoint = exported.parent / "model.safetensors"

    result = CliRunner().invoke(main, ["verify", str(exported), "--against", str(checkpoint)])

    assert result.exit_code == 0, result.output
    assert "equal: within logits max abs 1e-04" in result.stdout
    assert "at 1x32x32, 1x96x160, 2x224x160" in result.stdout


def test_another_checkpoint_is_not_equal(exported, tmp_path, tiny):
    other = {name: value * 1.5 if "conv_out1" in name else value
             for name, value in tiny.state_dict().items()}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")

    result = CliRunner().invoke(
        main, ["verify", str(exported), "--against", str(tmp_path / "other.safetensors"), "--json"]
    )

    assert result.exit_code == 1
    assert json.loads(result.stdout)["passed"] is False


def test_code_is_not_run_without_consent(exported, repository, tmp_path, capsys):
    folder = tmp_path / "code"
    folder.mkdir()
    for name, content in repository.items():
        (folder / name).write_bytes(content)

    result = CliRunner().invoke(
        main, ["verify", str(exported), "--against", f"transformers:{folder}"]
    )

    assert result.exit_code == 1
    assert "means to run Python code" in result.stderr
    assert "configuration_shoes.py, modeling_shoes.py" in result.stderr
    assert "--trust-remote-code" in result.stderr
    assert "remote code ran" not in result.output


def test_a_repository_without_a_revision_is_refused_before_anything_else():
    with pytest.raises(RemoteCodeError, match="name the revision, as transformers:a/b@COMMIT"):
        remote_code.load_remote("a/b", True, print)


@pytest.mark.slow
def test_the_code_at_a_pinned_commit_is_loaded_from_the_hub(exported, repository, tmp_path):
    with serving() as hub:
        commit = hub.repo("someone/shoes").commit(repository)
        moved = {**repository, "modeling_shoes.py": b"raise RuntimeError('not this one')"}
        hub.repo("someone/shoes").commit(moved)
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from birefnet_runtime.cli import main; main()"),
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
    assert f"running the Python code of someone/shoes@{commit}: config" in done.stderr
    assert "remote code ran" in done.stdout
    assert "equal: within logits max abs 1e-04" in done.stdout
