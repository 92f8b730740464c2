"""Things that are made once on a machine: whole or not there, by one process, bounded."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from birefnet_models.base.errors import CacheError
from birefnet_models.base.store import FACTS, RefusedError, Store


@dataclass(frozen=True)
class Key:
    of: str
    shape: tuple[int, int] = (1, 2)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path))
    return Store("things")


def fill(text: str = "content"):
    def put(folder: Path) -> dict[str, str]:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)
        return {"text": text}

    return put


def never(folder: Path) -> dict[str, str]:
    raise AssertionError("made again")


def test_what_was_made_is_found_and_not_made_again(store, tmp_path):
    assert store.find(Key("a")) is None
    assert list(store.entries()) == []

    made = store.make(Key("a"), fill())

    assert made.folder.parent == tmp_path / "things"
    assert (made.folder / "deep" / "file").read_text() == "content"
    assert store.make(Key("a"), never) == store.find(Key("a")) == made
    assert list(store.entries()) == [made]
    assert made.key == {"of": "a", "shape": [1, 2]}
    assert made.facts == {"text": "content"}
    assert store.find({"of": "a", "shape": (1, 2)}) == made
    assert store.find(Key("a", (2, 1))) is None
    assert [path.name for path in made.folder.parent.iterdir()] == [made.folder.name]


@pytest.mark.parametrize(
    "harm", ["cut", "flip", "remove", "cut the facts", "no facts", "other facts", "not JSON's"]
)
def test_an_entry_that_is_not_whole_is_none_and_can_be_made_anew(store, harm):
    folder = store.make(Key("a"), fill()).folder
    file, facts = folder / "deep" / "file", folder / FACTS
    match harm:
        case "cut":
            file.write_text("cont")
        case "flip":
            file.write_text("CONTENT")
        case "remove":
            file.unlink()
        case "cut the facts":
            facts.write_text(facts.read_text()[:40])
        case "no facts":
            facts.unlink()
        case "other facts":
            facts.write_text(facts.read_text().replace('"a"', '"b"'))
        case _:
            facts.write_text("[]")

    assert store.find(Key("a")) is None
    assert list(store.entries()) == []
    assert store.make(Key("a"), fill("new")).facts == {"text": "new"}


def test_who_looks_while_another_makes_it_removes_nothing(store, monkeypatch):
    real = Path.read_text

    def meanwhile(path: Path, *args: object, **named: object) -> str:
        monkeypatch.setattr(Path, "read_text", real)
        store.make(Key("a"), fill())
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", meanwhile)

    assert store.find(Key("a")) is None
    assert store.make(Key("a"), never).facts == {"text": "content"}


def test_files_that_have_hashes_of_their_own_may_be_moved_to_another_disk(tmp_path):
    store = Store(tmp_path / "things", stamped=False)
    file = store.make(Key("a"), fill()).folder / "deep" / "file"
    os.utime(file, (1, 1))
    assert store.find(Key("a"))

    file.write_text("cut")
    assert store.find(Key("a")) is None


def test_what_fails_leaves_nothing(store, tmp_path):
    def half(folder: Path) -> dict[str, str]:
        (folder / "half").write_text("")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.make(Key("a"), half)

    assert list((tmp_path / "things").iterdir()) == []


def test_what_is_refused_is_remembered_and_its_files_are_not(store):
    def refused(folder: Path) -> dict[str, str]:
        fill()(folder)
        raise RefusedError("it answers wrong")

    assert store.make(Key("a"), refused).refused == "it answers wrong"
    again = store.make(Key("a"), never)

    assert again.refused == "it answers wrong"
    assert [file.name for file in again.folder.iterdir()] == [FACTS]
    assert list(store.entries()) == []

    good = store.make(Key("b"), fill())
    store.refuse(Key("b"), "it fails")
    assert store.find(Key("b")).refused == "it fails"
    assert not (good.folder / "deep").exists()
    store.discard(Key("b"))
    assert store.find(Key("b")) is None
    store.discard(Key("b"))


def test_a_note_replaces_the_one_before(store):
    store.note(Key("a"), {"times": 1})
    store.note(Key("a"), {"times": 2})

    assert store.find(Key("a")).facts == {"times": 2}


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    store = Store(tmp_path / "things", limit_bytes=5_500)
    for name in "ab":
        os.utime(store.make(Key(name), fill(1000 * name)).folder / FACTS, (1, 1))
    store.find(Key("a"))

    store.make(Key("c"), fill(1000 * "c"))

    assert [bool(store.find(Key(name))) for name in "abc"] == [True, False, True]
    assert store.make(Key("d"), fill(9000 * "d"))
    assert store.find(Key("d")), "the newest stays, however large"
    assert [entry.key["of"] for entry in store.entries()] == ["d"]


def test_without_a_cache(monkeypatch, tmp_path):
    (tmp_path / "things").write_text("a file in its place")
    with pytest.raises(OSError, match="things"):
        Store(tmp_path / "things").make(Key("a"), fill())
    assert Store(tmp_path / "things").find(Key("a")) is None
    Store(tmp_path / "things").refuse(Key("a"), "why")

    monkeypatch.setattr(
        "birefnet_models.base.store.cache_root", lambda: (_ for _ in ()).throw(CacheError("none"))
    )
    with pytest.raises(CacheError):
        Store("things").find(Key("a"))


def test_several_processes_make_it_once(tmp_path):
    program = (
        "import sys, time, pathlib\n"
        "from birefnet_models.base.store import Store\n"
        "def fill(folder):\n"
        "    print('made')\n"
        "    time.sleep(.3)\n"
        "    return {}\n"
        "Store(pathlib.Path(sys.argv[1])).make({'of': 'a'}, fill)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "things")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    said = "".join(process.communicate(timeout=60)[0] for process in processes)

    assert said.split() == ["made"]
    (folder,) = (tmp_path / "things").iterdir()
    assert json.loads((folder / FACTS).read_text())["key"] == {"of": "a"}
