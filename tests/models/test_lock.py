import hashlib
import json

import pytest
from birefnet_models import PinError
from birefnet_models.lock import Pin, check_pin, read_lock, write_pin

PIN = Pin("a" * 40, "model.safetensors", 3, hashlib.sha256(b"abc").hexdigest())


def test_pins_are_kept_in_order_and_moved_one_by_one(tmp_path):
    lock = tmp_path / "birefnet.lock"
    assert read_lock(lock) == {}

    write_pin(lock, "b/b@main", PIN)
    write_pin(lock, "a/a@v1", PIN)
    moved = Pin("b" * 40, "model.safetensors", 3, PIN.sha256)
    write_pin(lock, "b/b@main", moved)

    assert read_lock(lock) == {"a/a@v1": PIN, "b/b@main": moved}
    assert list(json.loads(lock.read_text())["pins"]) == ["a/a@v1", "b/b@main"]


def test_a_changed_file_is_refused_with_both_hashes(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"abc")
    check_pin(file, "a/a@main", PIN, tmp_path / "birefnet.lock")

    file.write_bytes(b"abd")

    with pytest.raises(PinError) as caught:
        check_pin(file, "a/a@main", PIN, tmp_path / "birefnet.lock")
    for said in (PIN.sha256, hashlib.sha256(b"abd").hexdigest(), str(file), "--update"):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "pins": []}',
        '{"version": 1, "pins": {"a": {}}}',
        '{"version": 1, "pins": {"a": {"commit": 1, "file": "f", "size": 1, "sha256": "x"}}}',
        "\xff",
    ],
)
def test_a_damaged_lock_file_is_never_taken_for_an_empty_one(tmp_path, content):
    lock = tmp_path / "birefnet.lock"
    lock.write_text(content, encoding="latin-1")

    with pytest.raises(PinError, match=r"birefnet\.lock: is no lock file"):
        read_lock(lock)
    with pytest.raises(PinError, match="is no lock file"):
        write_pin(lock, "a/a@main", PIN)
    assert lock.read_text(encoding="latin-1") == content


def test_a_newer_lock_file_says_so(tmp_path):
    lock = tmp_path / "birefnet.lock"
    lock.write_text('{"version": 2, "pins": {}}')

    with pytest.raises(PinError, match="version 2"):
        read_lock(lock)


def test_a_lock_file_that_can_not_be_written_is_named(tmp_path):
    with pytest.raises(PinError, match="can't be written"):
        write_pin(tmp_path / "no" / "birefnet.lock", "a/a@main", PIN)
