"""Which file of a directory is read, and what its tensors may be."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from birefnet_export.checkpoint.tensors import file_format, read_state_dict, weights_file
from birefnet_export.errors import CheckpointError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from . import torch_files

TENSORS = {
    "bb.a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bb.b": np.ones(2, np.float32),
    "decoder.c": np.ones(1, np.float32),
}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("model.safetensors", "pytorch_model.bin", "optimizer.bin"), "model.safetensors"),
        (("other.safetensors", "config.json", "pytorch_model.bin"), "other.safetensors"),
        (
            ("model.safetensors.index.json", "model-00001-of-00001.safetensors"),
            "model.safetensors.index.json",
        ),
        (("pytorch_model.bin", "optimizer.pth"), "pytorch_model.bin"),
        (("epoch_244.pth", "log.txt"), "epoch_244.pth"),
        (("last.ckpt",), "last.ckpt"),
    ],
)
def test_the_weights_of_a_directory(tmp_path, names, chosen):
    for name in names:
        (tmp_path / name).touch()

    assert weights_file(tmp_path) == tmp_path / chosen


def test_several_files_of_weights_are_named(tmp_path):
    (tmp_path / "a.pth").touch()
    (tmp_path / "b.pth").touch()

    with pytest.raises(CheckpointError, match=r"\(a\.pth, b\.pth\); name"):
        weights_file(tmp_path)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "a/" * 3000])
def test_a_path_that_no_system_has_is_one_line(path):
    with pytest.raises(CheckpointError, match=r"can't be read|no such file") as caught:
        weights_file(Path(path))
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pth")

    with pytest.raises(CheckpointError, match="not a regular file"):
        weights_file(tmp_path / "a.pth")


def saved_by_torch(tensors: dict[str, np.ndarray], file: Path) -> Path:
    content = {name: torch_files.tensor(values) for name, values in tensors.items()}
    return torch_files.saved(content, file)


def sharded(folder: Path, kind: str = "safetensors") -> Path:
    """TENSORS in two files and an index."""
    names = list(TENSORS)
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    shards = {
        f"{stem}-0000{i}-of-00002.{suffix}": part for i, part in ((1, names[:1]), (2, names[1:]))
    }
    for file, part in shards.items():
        tensors = {name: TENSORS[name] for name in part}
        save = save_file if suffix == "safetensors" else saved_by_torch
        save(tensors, folder / file)
    index = folder / f"{stem}.{suffix}.index.json"
    weight_map = {name: file for file, part in shards.items() for name in part}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "pytorch"])
def test_shards_are_read_together(tmp_path, kind):
    index = sharded(tmp_path, kind)

    assert weights_file(tmp_path) == index
    assert file_format(index) == kind
    read = read_state_dict(index)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert np.array_equal(read[name].read(), tensor)


def test_a_missing_or_damaged_shard_is_named(tmp_path):
    index = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(
        CheckpointError, match=r"lists model-00002-of-00002\.safetensors, which is a"
    ):
        read_state_dict(index)
    shard.unlink()
    with pytest.raises(
        CheckpointError, match=r"lists model-00002-of-00002\.safetensors, which can't"
    ):
        read_state_dict(index)


def test_values_stay_on_the_disk_until_they_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    saved_by_torch(TENSORS, tmp_path / "a.pth")

    for file in sorted(tmp_path.iterdir()):
        read = read_state_dict(file)
        assert {n: (t.shape, t.dtype.name, t.size) for n, t in read.items()} == {
            n: (t.shape, "float32", t.size) for n, t in TENSORS.items()
        }
        first, second = (read["bb.a"].read() for _ in range(2))
        assert first is not second
        assert np.array_equal(first, second)
        file.unlink()
        with pytest.raises(CheckpointError, match="damaged"):
            read["bb.a"].read()


def in_safetensors(dtype: str, content: bytes, *shape: int) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(content)]}
    return header(json.dumps({"bb.a": entry})) + content


@pytest.mark.parametrize(
    ("dtype", "bits", "name", "values"),
    [
        ("F64", np.array([1.5, -2]).view("u1"), "float64", [1.5, -2]),
        ("F16", np.array([1.5, -2], "<f2").view("u1"), "float16", [1.5, -2]),
        ("BF16", np.array([0x3FC0, 0xC000], "<u2").view("u1"), "bfloat16", [1.5, -2]),
        ("F8_E4M3", np.array([0x3C, 0xC0], "u1"), "float8_e4m3fn", [1.5, -2]),
        ("F8_E5M2", np.array([0x3E, 0xC0], "u1"), "float8_e5m2", [1.5, -2]),
        ("I64", np.array([7, -1], "<i8").view("u1"), "int64", [7, -1]),
    ],
)
def test_every_type_is_decoded_exactly(tmp_path, dtype, bits, name, values):
    (tmp_path / "a.safetensors").write_bytes(in_safetensors(dtype, bits.tobytes(), 2))

    stored = read_state_dict(tmp_path / "a.safetensors")["bb.a"]

    assert stored.dtype.name == name
    assert stored.read().tolist() == values
    assert stored.read_float32().dtype == np.float32


def test_what_is_beyond_float32_becomes_infinity(tmp_path):
    save_file({"bb.a": np.array([1e300, 1.0])}, tmp_path / "a.safetensors")

    assert read_state_dict(tmp_path / "a.safetensors")["bb.a"].read_float32()[0] == np.inf


def test_a_type_that_no_network_has_is_named(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(in_safetensors("U64", bytes(8), 1))

    with pytest.raises(CheckpointError, match="tensors of type U64"):
        read_state_dict(tmp_path / "a.safetensors")


def test_many_names_of_one_storage_are_refused_before_they_fill_the_memory(tmp_path):
    shared = torch_files.tensor(np.zeros(1 << 20, np.float32))
    torch_files.saved({f"bb.{i}": shared for i in range(100)}, tmp_path / "a.pth")

    with pytest.raises(CheckpointError, match=r"describes tensors of 419430400"):
        read_state_dict(tmp_path / "a.pth")


def refusal(file: Path) -> str:
    try:
        for stored in read_state_dict(file).values():
            stored.read()
    except CheckpointError as error:
        return str(error)
    return ""


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.tuples(st.integers(0, len(save(TENSORS)) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda change: (
                save(TENSORS)[: change[0]] + change[1] + save(TENSORS)[change[0] + len(change[1]) :]
            )
        ),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5) | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner
                )
            ),
        ).map(lambda content: header(json.dumps({"bb.a": content}))),
    )
)
def test_any_bytes_are_a_state_dict_or_one_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.safetensors"
    file.write_bytes(content)

    assert "\n" not in refusal(file)


@pytest.mark.parametrize(
    "text", ['{"a": ' * 50_000, "{" + " " * 100_000, '{"a": {"dtype": "F32"}}']
)
def test_a_header_of_anything_is_refused(tmp_path, text):
    (tmp_path / "a.safetensors").write_bytes(header(text))

    assert "damaged" in refusal(tmp_path / "a.safetensors")
