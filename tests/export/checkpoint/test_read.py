"""Files that hold a BiRefNet, files that almost do, and files that don't."""

import argparse
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from birefnet_export.checkpoint.read import read_checkpoint, stated_size
from birefnet_export.errors import ArchitectureError, CheckpointError
from birefnet_export.network.birefnet import BiRefNet
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ..conftest import TINY, drawn, key_list, weights_of
from . import torch_files

NAME = "decoder.decoder_block1.conv_in.weight"


@pytest.fixture
def tensors(tiny):
    return weights_of(tiny)


def by_torch(tensors):
    """As torch would pickle them."""
    return {name: torch_files.tensor(values) for name, values in tensors.items()}


def refused(path, match: str, error: type[CheckpointError] = CheckpointError) -> str:
    """The message of the refusal, which is one line and names the file."""
    with pytest.raises(error, match=match) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def same(checkpoint, expected) -> None:
    """All that an inference needs is there, in float32."""
    assert checkpoint.tensors.keys() == BiRefNet(checkpoint.arch).shapes().keys()
    for name in checkpoint.tensors:
        assert checkpoint.read(name).dtype == np.float32
        assert np.array_equal(checkpoint.read(name), expected[name]), name


def test_safetensors_are_read(tiny_file, tensors):
    checkpoint = read_checkpoint(tiny_file)

    assert checkpoint.arch == TINY
    assert checkpoint.dtypes == ("float32",)
    assert checkpoint.sha256 == hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    assert checkpoint.trained_size is None
    same(checkpoint, tensors)


def test_the_network_reads_the_files_tensors(tiny_file, tensors):
    net = read_checkpoint(tiny_file).network()

    assert np.array_equal(net.bb.patch_embed.proj.weight, tensors["bb.patch_embed.proj.weight"])
    assert net.shapes() == {name: value.shape for name, value in tensors.items()}


def test_a_file_that_is_replaced_after_it_was_read_is_noticed(tiny_file, tensors):
    checkpoint = read_checkpoint(tiny_file)
    save_file({name: 2 * value for name, value in tensors.items()}, tiny_file)

    with pytest.raises(CheckpointError, match=f"{tiny_file}: was changed"):
        checkpoint.read(NAME)


def test_a_directory_is_read_with_the_size_it_was_trained_at(tiny_file):
    (tiny_file.parent / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 96, "width": 160}})
    )
    checkpoint = read_checkpoint(tiny_file.parent)

    assert checkpoint.path == tiny_file
    assert checkpoint.trained_size == (96, 160)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("{}", None),
        ('{"size": null}', None),
        ('{"size": {"shortest_edge": 1024}}', None),
        ('{"size": 96}', (96, 96)),
        ('{"size": {"height": 96, "width": 65536}}', (96, 65536)),
    ],
)
def test_a_preprocessor_file_may_state_a_size(tiny_file, config, size):
    (tiny_file.parent / "preprocessor_config.json").write_text(config)

    assert read_checkpoint(tiny_file).trained_size == size


WRONG_SIDES = ("0", "-32", "true", "Infinity", "NaN", "1e9", "65537", '"96"', "[96]", "9" * 4000)


@pytest.mark.parametrize(
    "size",
    [
        *WRONG_SIDES,
        *(f'{{"height": 96, "width": {side}}}' for side in WRONG_SIDES[:3]),
        '{"height": 96}',
        '{"width": 96}',
    ],
)
def test_a_size_that_no_image_has_is_refused(tiny_file, size):
    config = tiny_file.parent / "preprocessor_config.json"
    config.write_text(f'{{"size": {size}}}')

    with pytest.raises(CheckpointError, match=r"config\.json: states the size .{1,80}, which"):
        read_checkpoint(tiny_file)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"size": ' * 99_999]
)
def test_a_preprocessor_file_of_anything_else_is_named(tiny_file, content):
    (tiny_file.parent / "preprocessor_config.json").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: is not a JSON"):
        read_checkpoint(tiny_file)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "birefnet."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "net", "ema"])
def test_pth_files_are_read_behind_prefixes_and_wrappers(tmp_path, tensors, prefix, wrapper):
    content = by_torch({prefix + name: value for name, value in tensors.items()})
    file = tmp_path / "epoch_244.pth"
    torch_files.saved({wrapper: content, "epoch": 244} if wrapper else content, file)

    same(read_checkpoint(file), tensors)


def test_half_precision_is_raised(tmp_path, tensors):
    halved = {name: value.astype(np.float16) for name, value in tensors.items()}
    file = tmp_path / "half.safetensors"
    save_file(halved, file)

    checkpoint = read_checkpoint(file)

    assert checkpoint.dtypes == ("float16",)
    same(checkpoint, halved)


def test_bfloat16_is_raised(tmp_path, tensors):
    bits = {
        name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in tensors.items()
    }
    content = {name: torch_files.tensor(each, "BFloat16Storage") for name, each in bits.items()}

    checkpoint = read_checkpoint(torch_files.saved(content, tmp_path / "half.pth"))

    assert checkpoint.dtypes == ("bfloat16",)
    expected = {
        name: (each.astype(np.uint32) << 16).view(np.float32) for name, each in bits.items()
    }
    same(checkpoint, expected)


def test_upstreams_training_heads_and_index_buffers_are_known(swin_t_file, tmp_path):
    stored = key_list("swin_v1_t")
    checkpoint = read_checkpoint(swin_t_file)
    assert not any("spvn" in name for name in checkpoint.tensors)

    from birefnet_export.network.backbone.swin_v1 import relative_position_index

    with_index = drawn(stored) | {
        name: relative_position_index(7)
        for name in stored
        if name.endswith("relative_position_index")
    }
    file = tmp_path / "whole.safetensors"
    save_file(with_index, file)
    assert read_checkpoint(file).tensors.keys() == checkpoint.tensors.keys()


def test_a_foreign_window_order_is_refused(tmp_path, tensors):
    name = "bb.layers.0.blocks.0.attn.relative_position_index"
    file = tmp_path / "foreign.safetensors"
    save_file(tensors | {name: np.zeros((16, 16), np.int64)}, file)

    assert name in refused(file, "another window order")


def test_what_is_missing_left_over_or_misshapen_is_listed(tmp_path, tensors):
    gone = "decoder.lateral_block3.conv.bias"
    del tensors[gone]
    tensors["decoder.extra.weight"] = np.zeros(3, np.float32)
    tensors[NAME] = np.zeros((8, 5, 3, 3), np.float32)
    file = tmp_path / "odd.safetensors"
    save_file(tensors, file)

    message = refused(file, "not those of a BiRefNet")

    assert f"missing: {gone}" in message
    assert "left over: decoder.extra.weight" in message
    assert f"{NAME} (8, 5, 3, 3) instead of (8, 40, 3, 3)" in message


def test_a_network_without_batch_norms_loads(tmp_path, tiny_file, tensors):
    """As upstream trains with batches of one."""
    norms = {name.rpartition(".")[0] for name in tensors if name.endswith(".running_mean")}
    without = {n: value for n, value in tensors.items() if n.rpartition(".")[0] not in norms}
    save_file(without, tmp_path / "one.safetensors")

    assert read_checkpoint(tiny_file).arch.batch_norm
    assert not read_checkpoint(tmp_path / "one.safetensors").arch.batch_norm
    del without["decoder.lateral_block3.conv.bias"]
    save_file(without, tmp_path / "two.safetensors")
    refused(tmp_path / "two.safetensors", r"BiRefNet; missing: decoder\.")


def test_integer_weights_are_refused(tmp_path, tensors):
    tensors[NAME] = tensors[NAME].astype(np.int8)
    file = tmp_path / "quantized.safetensors"
    save_file(tensors, file)

    assert NAME in refused(file, "not floating-point")


def test_another_network_is_refused_by_what_it_lacks(tmp_path):
    file = tmp_path / "resnet.safetensors"
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, file)

    assert "they are conv1.weight" in refused(file, "it has no backbone", ArchitectureError)


def test_a_training_run_is_read_with_all_that_it_keeps(tmp_path, tensors):
    content = {
        "model": by_torch({f"module._orig_mod.{n}": value for n, value in tensors.items()}),
        "optimizer": {"state": {0: by_torch({"exp_avg": tensors[NAME]})}, "param_groups": []},
        "args": argparse.Namespace(lr=1e-4),
        "best": np.float64(0.9),
        "epoch": 3,
    }
    torch_files.saved(content, tmp_path / "last.ckpt")

    same(read_checkpoint(tmp_path / "last.ckpt"), tensors)


def test_a_directory_of_shards_is_read_and_hashed_as_a_whole(tmp_path, tensors):
    names = sorted(tensors)
    shards = {"1.safetensors": names[::2], "2.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    places = {name: file for file, part in shards.items() for name in part}
    index.write_text(json.dumps({"weight_map": places}))

    checkpoint = read_checkpoint(tmp_path)

    same(checkpoint, tensors)
    assert checkpoint.path == index
    content = b"".join(f.read_bytes() for f in (index, *(tmp_path / name for name in shards)))
    assert checkpoint.sha256 == hashlib.sha256(content).hexdigest()


def test_a_directory_with_a_pytorch_file_is_read(tmp_path, tensors):
    torch_files.saved(by_torch(tensors), tmp_path / "pytorch_model.bin")

    same(read_checkpoint(tmp_path), tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_no_network_computes_with_are_named(tmp_path, tensors, value):
    broken = tensors[NAME].copy()
    broken[0, 0, 0, 0] = value
    save_file(tensors | {NAME: broken}, tmp_path / "diverged.safetensors")

    refused(tmp_path / "diverged.safetensors", f"holds NaN or infinity in {NAME}")


class Code:
    """Something whose pickle calls a function."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_a_pickle_that_wants_code_is_refused_by_name(tmp_path, tensors, capsys):
    file = tmp_path / "evil.pth"
    torch_files.saved(by_torch(tensors) | {"payload": Code()}, file)

    assert "print" in refused(file, "wants to run code")
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Code()))
    refused(plain, "wants to run code|damaged")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><title>404</title>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "neither a safetensors nor a PyTorch"),
    ],
)
def test_files_that_are_no_checkpoint_are_described(tmp_path, content, said):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)

    refused(file, said)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_truncated_file_is_refused(tmp_path, tensors, suffix):
    file = tmp_path / f"cut.{suffix}"
    if suffix == "safetensors":
        save_file(tensors, file)
    else:
        torch_files.saved(by_torch(tensors), file)
    file.write_bytes(file.read_bytes()[:-1000])

    refused(file, "damaged")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_a_pickle_without_tensors_is_refused(tmp_path, content):
    file = tmp_path / "other.pth"
    torch_files.saved(content, file)

    refused(file, "not a mapping|not a state dict")


def test_a_missing_file_and_an_empty_directory_are_named(tmp_path):
    refused(tmp_path / "none.pth", "no such file")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "optimizer.bin").touch()

    assert "optimizer.bin" in refused(tmp_path / "weights", "has no model.safetensors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["size", "height", "width", "x"]), inner)
    ),
)


def size_or_refusal(file: Path) -> tuple[int, int] | str | None:
    try:
        return stated_size(file)
    except CheckpointError as error:
        return str(error)


@settings(deadline=None)
@given(
    st.binary(max_size=50)
    | JSON.map(lambda content: json.dumps(content).encode())
    | JSON.map(lambda size: json.dumps({"size": size}).encode())
)
def test_any_preprocessor_file_gives_a_size_of_an_image_or_one_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "preprocessor_config.json"
    file.write_bytes(content)

    match size_or_refusal(file):
        case str(message):
            assert message.isprintable()
        case (int(height), int(width)):
            assert 0 < height <= 65536
            assert 0 < width <= 65536
        case other:
            assert other is None
