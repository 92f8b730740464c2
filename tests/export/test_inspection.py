"""`birefnet inspect`: what is in a checkpoint or an `.onnx`, without its weights."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from birefnet_apps.cli.main import main
from birefnet_export.errors import CheckpointError
from birefnet_export.inspection import inspect_file
from birefnet_models import embedded_path, find
from click.testing import CliRunner
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from .checkpoint import torch_files
from .checkpoint.torch_files import tensor
from .conftest import TINY, drawn, key_list, network, saved, weights_of

NANO = embedded_path(find("nano"))


def inspect(*arguments: object):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def test_a_checkpoint_of_the_zoos_architecture_is_recognized(swin_t_file):
    facts = inspect_file(swin_t_file)

    assert facts.format == "safetensors"
    assert facts.backbone == "swin_v1_t"
    assert facts.problems == ()
    assert facts.match == "architecture"
    assert facts.models == ("lite", "lite-2k", "lite-matting")
    stored = drawn(key_list("swin_v1_t"))
    assert facts.tensors == len(stored)
    assert facts.parameters == sum(t.size for t in stored.values() if t.dtype == np.float32)


def test_a_file_that_the_zoo_knows_is_recognized_by_its_hash(tiny_file, monkeypatch):
    from birefnet_export import inspection

    sha256 = inspect_file(tiny_file).sha256
    monkeypatch.setattr(
        inspection, "_known_hashes", lambda card: {sha256} if card.name == "hr" else set()
    )

    facts = inspect_file(tiny_file.parent)

    assert (facts.models, facts.match) == (("hr",), "sha256")


def test_settings_that_are_not_the_released_models_are_named(tmp_path):
    arch = replace(TINY, attention="ASPP", aspp_kernels=(), gradient_width=0, multi_scale="none")
    saved(network(arch), tmp_path / "model.safetensors")

    facts = inspect_file(tmp_path)
    lines = inspect(tmp_path).stdout.splitlines()

    assert (facts.backbone, facts.problems, facts.models) == ("swin", (), ())
    assert facts.settings == {
        "mul_scl_ipt": "none or add",
        "dec_att": "ASPP",
        "out_ref": "off",
    }
    assert "  setting     dec_att ASPP" in lines


@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
def test_a_pth_is_looked_into_without_its_values(tmp_path, tiny, prefix):
    half = {prefix + n: tensor(v.astype(np.float16)) for n, v in weights_of(tiny).items()}
    torch_files.saved({"state_dict": half}, tmp_path / "half.pth")

    facts = inspect_file(tmp_path / "half.pth")

    assert facts.format == "pytorch"
    assert facts.backbone == "swin"
    assert facts.dtypes["float16"] > 300
    assert facts.problems == ()


def test_missing_and_extra_tensors_are_listed(tmp_path, tiny):
    tensors = weights_of(tiny)
    del tensors["decoder.lateral_block3.conv.bias"]
    tensors["decoder.extra.weight"] = np.zeros(3, np.float32)
    save_file(tensors, tmp_path / "odd.safetensors")

    result = inspect(tmp_path / "odd.safetensors")

    assert result.exit_code == 0
    assert "missing: decoder.lateral_block3.conv.bias" in result.stdout
    assert "left over: decoder.extra.weight" in result.stdout
    assert "takes it as it is" not in result.stdout


def test_a_graph_of_ours_says_so():
    facts = inspect_file(NANO)

    assert facts.ours
    assert facts.match == "sha256"
    assert facts.models == ("nano",)
    assert facts.lowering == "native"
    assert facts.dynamic == ("batch", "height", "width")
    assert facts.operators["DeformConv"] == 20
    assert any("1.25" in line for line in facts.runs_on)
    text = inspect(NANO).stdout
    assert "made by     birefnet export" in text
    assert "metadata    birefnet.trained_size = 192x192" in text
    assert json.loads(inspect(NANO, "--json").stdout)["kind"] == "onnx"


@pytest.mark.parametrize(
    ("operator", "opset", "lowering", "runs_on"),
    [
        ("GridSample", 17, "gridsample", "ONNX Runtime 1.12 or later"),
        ("GatherND", 21, "GatherND, as upstream's ONNX files", "ONNX Runtime 1.18 or later"),
        ("Relu", 11, "none", "ONNX Runtime 1.7 or later"),
    ],
)
def test_a_graph_of_others_is_recognized_by_operators(tmp_path, operator, opset, lowering, runs_on):
    fixed = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])
    mask = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 64, 64])
    nodes = [
        helper.make_node(operator, ["x", "x"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [fixed], [mask])
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")

    facts = inspect_file(tmp_path / "m.onnx")

    assert not facts.ours
    assert facts.lowering == lowering
    assert facts.output == "mask"
    assert facts.dynamic == ()
    assert facts.runs_on[0] == runs_on
    assert "runs at this size alone" in inspect(tmp_path / "m.onnx").stdout


def test_a_file_that_is_neither_is_one_line(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"<html>")

    with pytest.raises(CheckpointError, match="HTML page"):
        inspect_file(tmp_path / "x.bin")
    assert "can't be read" in inspect("x" * 5000).stderr
    result = inspect(tmp_path / "none.onnx")
    assert result.exit_code == 1
    assert "can't be read" in result.stderr


def test_a_name_is_inspected_where_no_file_is_called_so(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.repo("someone/thing").commit({"onnx/model.onnx": NANO.read_bytes()})
    fetched = inspect("someone/thing")

    for done in (fetched, inspect("nano")):
        assert done.exit_code == 0, done.output
        assert "birefnet export" in done.stdout
    assert "ZhengPeng7/BiRefNet_HR" in inspect("hr").stderr  # it would be made
    (tmp_path / "hr").write_bytes(b"x")
    assert "hr" in inspect("hr").stderr
    assert "ZhengPeng7" not in inspect("hr").stderr
