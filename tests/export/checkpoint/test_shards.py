import json

import pytest
from birefnet_export.checkpoint.tensors import checkpoint_files
from birefnet_export.errors import CheckpointError


def test_a_file_is_itself_and_an_index_its_shards_too(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "2.safetensors", "b": "1.safetensors"}}))

    assert checkpoint_files(tmp_path / "model.safetensors") == [tmp_path / "model.safetensors"]
    assert checkpoint_files(index) == [
        index,
        tmp_path / "1.safetensors",
        tmp_path / "2.safetensors",
    ]


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "a\0b", 3, None]
)
def test_a_file_elsewhere_is_refused(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))

    with pytest.raises(CheckpointError, match="not a file beside"):
        checkpoint_files(index)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": []}}', "[" * 100_000]
)
def test_an_index_of_anything_else_is_refused(tmp_path, content):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)

    with pytest.raises(CheckpointError, match="not an index"):
        checkpoint_files(index)
