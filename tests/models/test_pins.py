import hashlib
import json
from pathlib import Path

import pytest
from birefnet_models import PinError
from birefnet_models.pins import Pin, check_pin, read_lock, write_pin
from hypothesis import given, settings
from hypothesis import strategies as st

PIN = Pin("a" * 40, "model.safetensors", 3, hashlib.sha256(b"abc").hexdigest())


SOUND = {"commit": "a" * 40, "file": "sub/w.pth", "size": 3, "sha256": "0" * 64}
WRONG = (
    *({"sha256": value} for value in ("xyz", "0" * 63, "0" * 65, "A" * 64, "", None, 3)),
    *({"commit": value} for value in ("", "main", "a" * 39, "../x", 3, True)),
    *({"size": value} for value in (-1, True, 1.5, "3", None)),
    *({"file": value} for value in ("../w.pth", "/etc/passwd", "a/../../b", "", "a\x1bb", 3, None)),
)


def pinned(**changed: object) -> str:
    return json.dumps({"version": 1, "pins": {"a/a@main": SOUND | changed}})


def test_a_sound_lock_file_is_read(tmp_path):
    lock = tmp_path / "birefnet.lock"
    lock.write_text(pinned())

    assert read_lock(lock) == {"a/a@main": Pin(**SOUND)}
    lock.write_text(pinned(commit=None))
    assert read_lock(lock)["a/a@main"].commit is None


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
        '{"version": true, "pins": {}}',
        '{"version": 0, "pins": {}}',
        '{"version": 1.0, "pins": {"a": 3}}',
        '{"version": "2", "pins": {}}',
        "[" * 100_000,
        '{"version": 1, "pins": {"a": ' + "[" * 100_000,
        *(pinned(**changed) for changed in WRONG),
    ],
)
def test_a_damaged_lock_file_is_never_taken_for_an_empty_one(tmp_path, content):
    lock = tmp_path / "birefnet.lock"
    lock.write_text(content, encoding="latin-1")

    with pytest.raises(PinError, match=r"birefnet\.lock: .* lock file"):
        read_lock(lock)
    with pytest.raises(PinError, match="not a lock file"):
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "pins", "commit", "file", "size", "sha256", "x"]), inner
        )
    ),
)


def refusal(lock: Path) -> str:
    try:
        read_lock(lock)
    except PinError as error:
        return str(error)
    return ""


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | JSON.map(lambda content: json.dumps(content).encode())
    | st.dictionaries(st.text(max_size=3), JSON).map(
        lambda pins: json.dumps({"version": 1, "pins": pins}).encode()
    )
)
def test_any_bytes_are_pins_or_one_error(tmp_path_factory, content):
    lock = tmp_path_factory.getbasetemp() / "birefnet.lock"
    lock.write_bytes(content)

    assert "\n" not in refusal(lock)
