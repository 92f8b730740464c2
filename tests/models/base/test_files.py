import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from birefnet_models.base import files as atomic_write
from birefnet_models.base.files import made_folder, replacing, sweep, temporary_folder


@pytest.fixture(autouse=True)
def nothing_swept(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(atomic_write, "_swept", set())


def test_a_file_is_replaced_when_all_went_well(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")

    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")

    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.png"]


def test_folders_made_for_what_failed_go_again_if_they_are_empty(tmp_path):
    (tmp_path / "old").mkdir()
    for name, content in (("a/b/c", None), ("old/x", None), ("d/e", "of another")):
        with suppress(ZeroDivisionError), made_folder(tmp_path / name):
            assert (tmp_path / name).is_dir()
            if content:
                (tmp_path / name).with_name("file").write_text(content)
            raise ZeroDivisionError
    with made_folder(tmp_path / "kept"):
        pass

    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"old", "d", "d/file", "kept"}


def test_a_file_stays_when_something_failed(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "a." + "b" * 253])
def test_a_name_as_long_as_the_file_system_allows(tmp_path, name):
    target = tmp_path / name

    with replacing(target) as temporary:
        temporary.write_text("new")

    assert target.read_text() == "new"


def test_a_folder_is_gone_after_its_block_with_all_it_holds(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (folder / "model.onnx").write_text("graph")
        assert folder.parent == tmp_path

    def fail_inside() -> None:
        with temporary_folder(tmp_path) as folder:
            (folder / "model.onnx").write_text("graph")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert os.listdir(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from birefnet_models.base.files import replacing, temporary_folder
with replacing(Path("a.png")) as file, temporary_folder(Path(".")) as folder:
    file.write_text("half")
    (folder / "model.onnx").write_text("whole")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows shows no ended processes")
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
        sweep(tmp_path)
        assert len(os.listdir(tmp_path)) == 2  # it lives, and so do its files

        writer.send_signal(signal.SIGKILL)
    assert len(os.listdir(tmp_path)) == 2

    with replacing(tmp_path / "b.png") as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == ["b.png"]


def test_a_process_keeps_its_own_files_and_sweeps_those_of_an_earlier_one_with_its_pid(tmp_path):
    with replacing(tmp_path / "a.png") as temporary:
        temporary.write_text("new")
        earlier = temporary.with_name(f"{temporary.name[:-12]}00000000.png")
        earlier.write_text("left")
        sweep(tmp_path)
        assert os.listdir(tmp_path) == [temporary.name]
    assert os.listdir(tmp_path) == ["a.png"]


def test_files_of_another_machine_go_after_a_day_alone(tmp_path):
    names = [f".birefnet-0badcafe-{pid}-01234567.png" for pid in (1, 4_000_000, 10**30)]
    for name in names:
        (tmp_path / name).touch()

    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    day_ago = time.time() - 25 * 60 * 60
    os.utime(tmp_path / names[0], (day_ago, day_ago))
    os.utime(tmp_path / names[2], (day_ago, day_ago))
    sweep(tmp_path)

    assert os.listdir(tmp_path) == [names[1]]


def test_a_pid_that_no_system_has_is_no_process(tmp_path):
    machine = atomic_write._machine()
    (tmp_path / f".birefnet-{machine}-{10**30}-01234567.png").touch()

    sweep(tmp_path)

    assert os.listdir(tmp_path) == []


def test_files_of_another_users_process_stay(tmp_path, monkeypatch):
    def refuse(pid: int, number: int) -> None:
        assert number == 0
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    name = f".birefnet-{atomic_write._machine()}-1-01234567.png"
    (tmp_path / name).touch()

    sweep(tmp_path)

    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "name", [".birefnet-settings", ".birefnet", "birefnet-0badcafe-1-01234567.png", ".hidden"]
)
def test_nothing_else_is_removed_however_old(tmp_path, name):
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))

    sweep(tmp_path)

    assert os.listdir(tmp_path) == [name]


def test_a_link_with_such_a_name_goes_and_its_target_stays(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    link = tmp_path / f".birefnet-{atomic_write._machine()}-{10**30}-01234567"
    link.symlink_to(tmp_path / "kept")

    sweep(tmp_path)

    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_folder_that_is_not_there_is_no_error():
    sweep(Path("/nowhere/at/all"))


def test_a_folder_is_swept_once_in_a_batch(tmp_path, monkeypatch):
    swept = []
    monkeypatch.setattr(atomic_write, "sweep", swept.append)

    for i in range(3):
        with replacing(tmp_path / f"{i}.png") as temporary:
            temporary.touch()

    assert swept == [tmp_path]
