"""What an export takes, compared with what there is before anything is written."""

from dataclasses import replace
from pathlib import Path

import pytest
from birefnet_export import room
from birefnet_export.checkpoint.read import read_checkpoint
from birefnet_export.errors import ExportError
from birefnet_export.export import export_onnx
from birefnet_export.options import ExportRequest, graph_form
from birefnet_export.precision.request import Precision

MEMORY = "MemTotal: 4000 kB\nMemFree: 10 kB\nMemAvailable: 2000 kB\nSwapFree: 500 kB\n"
SQUARE = (1024, 1024)


def request(precision: str = "fp32", folder: Path | None = None, **more: bool) -> ExportRequest:
    return ExportRequest(
        form=graph_form(None, None, precision), precision=Precision(precision, folder), **more
    )


@pytest.fixture
def checkpoint(swin_t_file):
    return read_checkpoint(swin_t_file)


def test_memory_is_what_nobody_uses_or_what_the_container_allows(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text(MEMORY)
    monkeypatch.setattr(room, "memory_limit_bytes", lambda: None)

    assert room.available_memory_bytes(tmp_path / "meminfo") == 1024 * 2500
    monkeypatch.setattr(room, "memory_limit_bytes", lambda: 1_000_000)
    assert room.available_memory_bytes(tmp_path / "meminfo") == 1_000_000


@pytest.mark.parametrize("content", [None, "", "MemAvailable: many kB\nSwapFree: 0 kB", "x"])
def test_where_the_system_does_not_say_only_a_limit_counts(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "meminfo").write_text(content)
    monkeypatch.setattr(room, "memory_limit_bytes", lambda: None)

    assert room.available_memory_bytes(tmp_path / "meminfo") == float("inf")


def test_what_takes_more_is_estimated_to_take_more(checkpoint, tmp_path):
    def memory(**how) -> float:
        return room.estimated(checkpoint, request(**how), SQUARE).memory

    assert memory(verify=False) < memory() < memory(end_to_end=True)
    assert memory(precision="int8") < memory(precision="int8", folder=tmp_path)
    assert 0.8e9 < memory(precision="int8", folder=tmp_path) < 1e9  # killed in .75 GB, not in .8


def test_an_export_without_room_is_refused_with_the_numbers(swin_t_file, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "available_memory_bytes", lambda: 300e6)

    with pytest.raises(ExportError, match=r"there are 300 MB.*--no-verify") as found:
        export_onnx(swin_t_file, tmp_path / "out")

    assert str(swin_t_file) in str(found.value)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(room, "available_memory_bytes", lambda: 100e6)
    with pytest.raises(ExportError, match=r"copy the folder$"):
        export_onnx(swin_t_file, tmp_path / "out")


def test_a_full_disk_is_noticed_before_it_is_full(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_disk_bytes", lambda directory: 1000.0)

    with pytest.raises(ExportError, match=r"out: .* 0 MB are free"):
        export_onnx(tiny_file, tmp_path / "out")


def test_the_disk_of_a_folder_that_is_to_be_made_is_that_of_its_parents(tmp_path):
    assert room.free_disk_bytes(tmp_path / "a" / "b") == room.free_disk_bytes(tmp_path) > 0


def test_weights_beyond_one_file_are_written_beside_the_graph(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "LARGEST_FILE", 10_000_000)
    monkeypatch.setattr(room, "available_memory_bytes", lambda: 1e12)

    with pytest.raises(ExportError, match=r"one file holds .*--external-data"):
        room.require_room(checkpoint, request(), SQUARE, tmp_path)
    room.require_room(checkpoint, replace(request(), external_data=True), SQUARE, tmp_path)
