"""Hashes of large files are looked up while the files weren't touched, and only then."""

import json
import os
import time
from hashlib import sha256

import pytest
from birefnet_models.base import hashes as remembered
from birefnet_models.base.errors import CacheError
from birefnet_models.base.hashes import remembered_sha256

CONTENT = b"x" * (1 << 20)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that was written a while ago, as the module sees the time."""
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.bin"
    path.write_bytes(CONTENT)
    now = time.time_ns
    monkeypatch.setattr(remembered.time, "time_ns", lambda: now() + 3_000_000_000)
    return path


@pytest.fixture
def read(monkeypatch):
    """The files that are read."""
    files = []
    monkeypatch.setattr(
        remembered,
        "sha256_of",
        lambda file: files.append(file) or sha256(file.read_bytes()).hexdigest(),
    )
    return files


def test_a_file_is_read_once(file, read):
    assert remembered_sha256(file) == remembered_sha256(file) == sha256(CONTENT).hexdigest()
    assert read == [file]


def test_another_content_of_the_same_size_and_time_is_seen(file):
    remembered_sha256(file)
    state = file.stat()
    file.write_bytes(b"y" + CONTENT[1:])
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert remembered_sha256(file) == sha256(file.read_bytes()).hexdigest()


def test_what_was_written_a_moment_ago_is_not_remembered(file, read, monkeypatch):
    monkeypatch.undo()
    now = file.stat().st_ctime_ns
    monkeypatch.setattr(remembered.time, "time_ns", lambda: now + 1_000_000_000)
    monkeypatch.setenv("BIREFNET_CACHE", str(file.parent / "cache"))

    remembered_sha256(file)

    assert not (file.parent / "cache").exists()


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"stamp": 1, "sha256": 2}', "\0"])
def test_a_damaged_record_counts_for_nothing(file, record):
    remembered_sha256(file)
    (kept,) = (file.parent / "cache" / "checksums").iterdir()
    kept.write_text(record)

    assert remembered_sha256(file) == sha256(CONTENT).hexdigest()
    assert json.loads(kept.read_text())["sha256"] == sha256(CONTENT).hexdigest()


def test_small_files_and_caches_that_are_none_need_no_record(file, read, monkeypatch):
    small = file.with_name("small")
    small.write_bytes(b"small")
    remembered_sha256(small)
    assert not (file.parent / "cache").exists()

    def none():
        raise CacheError("no home")

    monkeypatch.setattr(remembered, "cache_root", none)
    assert remembered_sha256(file) == sha256(CONTENT).hexdigest()
    monkeypatch.setattr(remembered, "cache_root", lambda: small)
    assert remembered_sha256(file) == sha256(CONTENT).hexdigest()


def test_records_do_not_pile_up(file, monkeypatch):
    monkeypatch.setattr(remembered, "_MOST_FILES", 2)
    for number in range(5):
        copy = file.with_name(f"{number}.bin")
        copy.write_bytes(CONTENT)
        remembered_sha256(copy)

    assert len(list((file.parent / "cache" / "checksums").iterdir())) <= 3
