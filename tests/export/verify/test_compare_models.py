"""`birefnet verify`: an export against its checkpoint, and against somebody's own code.

The repository of code is written here and really loaded through transformers, from a directory and
from the hub on loopback.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_apps.cli.main import main
from birefnet_export.errors import RemoteCodeError
from birefnet_export.export import export_onnx
from birefnet_export.verify import remote_code
from birefnet_export.verify.compare_models import compare_models
from click.testing import CliRunner
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import save_file

from ...hub_server import serving
from ..conftest import NAN_OFFSETS, TINY

CONFIGURATION = """
from transformers import PretrainedConfig

class ShoesConfig(PretrainedConfig):
    model_type = "shoes"

    def __init__(self, arch=None, **others):
        self.arch = arch
        super().__init__(**others)
"""
MODELING = """
from birefnet_export.network.birefnet import BiRefNet
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
def exported(tmp_path_factory, tiny) -> Path:
    """An export of the tiny network, not verified by the export itself."""
    folder = tmp_path_factory.mktemp("against")
    save_file(tiny.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return export_onnx(
        folder, folder / "out", verify=False, lowering="native", trained_size=(96, 160)
    ).directory


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


@pytest.mark.parametrize("tolerance", ["nan", "inf"])
def test_a_tolerance_that_everything_passes_is_refused(exported, tolerance):
    checkpoint = exported.parent / "model.safetensors"

    result = verified(exported, checkpoint, "--tolerance", tolerance)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"birefnet: tolerance {tolerance}: give a finite number that is not negative\n"
    )


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    Image.fromarray(pixels).resize((120, 90)).save(file)
    return file


def verified(exported, checkpoint, *more):
    return CliRunner().invoke(
        main, ["verify", str(exported), "--against", str(checkpoint), *map(str, more)]
    )


def test_there_are_two_figures_each_with_its_verdict(exported, photo):
    checkpoint = exported.parent / "model.safetensors"

    result = verified(exported, checkpoint, "--image", photo, "--image", photo, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    graph, pictures = found["graph"], found["pictures"]
    assert graph["passed"] is found["passed"] is True
    assert graph["parity"]["logits_mean_abs"] < graph["parity"]["logits_p99_abs"] < 1e-4
    assert len(pictures) == 2
    assert pictures[0] == pictures[1]
    assert pictures[0]["parity"]["size"] == [90, 120]
    assert pictures[0]["network_size"] == [96, 160]
    assert 0 < pictures[0]["parity"]["max_levels"] < 0.05
    assert 0 < pictures[0]["card_levels"] <= 2
    assert pictures[0]["parity"]["boundary_iou"] > 0.999
    assert found["layers"] is None


@pytest.mark.slow
def test_pictures_alone_can_fail(exported, photo, tmp_path):
    """Another normalization: the graph is the same, the pipeline is not."""
    model = onnx.load(exported / "onnx" / "model.onnx")
    (mean,) = [entry for entry in model.metadata_props if entry.key == "birefnet.mean"]
    mean.value = "[0.5, 0.5, 0.5]"
    onnx.save(model, tmp_path / "changed.onnx")

    result = verified(
        tmp_path / "changed.onnx", exported.parent / "model.safetensors", "--image", photo
    )

    assert result.exit_code == 1
    graph, picture = result.stdout.split("pipeline, ")
    assert "  equal: within logits max abs 1e-04" in graph
    assert picture.startswith(f"{photo} at 96x160:")
    assert "  NOT equal: a mean difference of" in picture


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "problem"), [(2.0, None), (3.0, "3 levels to the model card")])
def test_the_model_cards_mask_counts_too(exported, photo, monkeypatch, levels, problem):
    """Its own 8 bits are allowed for, and no more."""
    comparison = compare_models(
        str(exported), str(exported.parent / "model.safetensors"), images=[photo]
    )
    (image,) = comparison.images

    changed = dataclasses.replace(image, card_levels=levels)

    assert changed.problem == problem or problem in changed.problem
    assert dataclasses.replace(comparison, images=(changed,)).passed is (problem is None)


def test_what_the_runtime_does_beyond_upstream_is_told(exported, photo, tmp_path):
    Image.open(photo).convert("LA").save(tmp_path / "gray.png")

    result = verified(
        exported, exported.parent / "model.safetensors", "--image", tmp_path / "gray.png"
    )

    assert "(upstream ignores its transparency):" in result.stdout


@pytest.mark.slow
def test_layers_are_named(exported, tmp_path, tiny):
    other = {name: value + 0.3 if name == "decoder.decoder_block3.conv_out.bias" else value
             for name, value in tiny.state_dict().items()}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")

    result = verified(exported, tmp_path / "other.safetensors", "--layers")
    assert result.exit_code == 1
    assert result.stdout.rstrip().endswith("first that differs: decoder.block3 (3e-05 allowed)")

    result = verified(exported, exported.parent / "model.safetensors", "--layers", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["layers"]["first"] is None


@pytest.mark.slow
def test_an_equal_graph_with_a_layer_that_differs_does_not_pass(exported, tmp_path):
    """The tensor that is called `squeeze` is not what the rest of the graph goes on with."""
    model = onnx.load(exported / "onnx" / "model.onnx")
    for node in model.graph.node:
        node.input[:] = ["squeezed" if name == "squeeze" else name for name in node.input]
        node.output[:] = ["squeezed" if name == "squeeze" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Add", ["squeezed", "squeezed"], ["squeeze"]))
    onnx.save(model, tmp_path / "changed.onnx")
    checkpoint = exported.parent / "model.safetensors"

    assert verified(tmp_path / "changed.onnx", checkpoint).exit_code == 0
    result = verified(tmp_path / "changed.onnx", checkpoint, "--layers", "--json")

    comparison = json.loads(result.stdout)
    assert comparison["graph"]["passed"] is True
    assert comparison["layers"]["first"] == "squeeze"
    assert (comparison["passed"], result.exit_code) == (False, 1)


@NAN_OFFSETS
def test_nan_is_one_line_and_layers_say_where_from(exported, tmp_path):
    model = onnx.load(exported / "onnx" / "model.onnx")
    weight = next(
        tensor
        for tensor in model.graph.initializer
        if tensor.name.startswith("decoder/block2/") and len(tensor.dims) == 4
    )
    weight.CopyFrom(
        numpy_helper.from_array(np.full(tuple(weight.dims), np.nan, np.float32), weight.name)
    )
    onnx.save(model, tmp_path / "nan.onnx")
    checkpoint = exported.parent / "model.safetensors"

    for more, said in (((), "NaN or infinity\n"), (("--layers",), "differs: decoder.block2\n")):
        result = verified(tmp_path / "nan.onnx", checkpoint, *more)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert result.stderr.endswith(said)


def test_layers_of_a_file_without_names_are_refused_in_one_line(exported):
    result = verified("nano", exported.parent / "model.safetensors", "--layers")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "export the checkpoint anew" in result.stderr


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
def test_the_code_at_a_pinned_commit_is_loaded_from_the_hub(exported, repository, tmp_path):
    with serving() as hub:
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
    assert f"running the Python code of someone/shoes@{commit}: config" in done.stderr
    assert "remote code ran" in done.stdout
    assert "equal: within logits max abs 1e-04" in done.stdout
