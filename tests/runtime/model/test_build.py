"""Models that aren't here and are made from their checkpoints, by a stand-in for the export."""

import errno
import logging
import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from birefnet_models import FetchError, LicenseError, OfflineError, PinError
from birefnet_models.cache import MODEL_OF_PRECISION, export_directory
from birefnet_models.pins import FetchOptions
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.errors import MissingExtraError
from birefnet_runtime.model import build
from birefnet_runtime.model.locate import find_model

from ...conftest import FACTS, write_model

MADE = Path("made.txt")
"""A line for each model that was made, whichever process did it."""


@pytest.fixture(autouse=True)
def here(hub, tmp_path):
    return hub


def make(checkpoint: str, precision: str, lowering: str | None, how: FetchOptions) -> Path:
    with MADE.open("a") as made:
        made.write(f"{checkpoint} {precision} {lowering}\n")
    assert how.say
    how.say(f"{checkpoint} is made in {precision}")
    time.sleep(0.1)
    folder = export_directory(checkpoint, f"{precision}-{lowering or 'rows'}")
    facts = {**FACTS, "birefnet.source": f"{checkpoint}@{'c' * 40}"}
    return write_model(folder / MODEL_OF_PRECISION[precision], facts=facts)


class Entry:
    """As importlib.metadata has an entry point."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def load(self):
        if isinstance(self.error, ModuleNotFoundError):
            raise self.error
        return make if self.error is None else self.fail

    def fail(self, *_):
        assert self.error
        raise self.error


@pytest.fixture
def builder(monkeypatch):
    """Sets what the installed packages offer."""

    def offer(*entries: Entry) -> None:
        monkeypatch.setattr(build.metadata, "entry_points", lambda *, group: entries)

    offer(Entry())
    return offer


def made() -> list[str]:
    return MADE.read_text().splitlines() if MADE.exists() else []


def refused(error, typed="lite") -> str:
    with pytest.raises(error) as caught:
        find_model(typed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("lite", "lite fp32 None"),
        ("ZhengPeng7/BiRefNet_lite", "lite fp32 None"),
        ("lite:fp16", "lite fp16 None"),
        ("lite:int8", "lite int8 None"),
        ("LITE:gridsample", "lite fp32 gridsample"),
    ],
)
def test_a_name_of_the_zoo_is_made_once_and_opens_at_once_then(builder, picture, typed, asked):
    alpha = Segmenter(typed)(picture)

    assert made() == [asked]
    builder(Entry(ModuleNotFoundError("no", name="onnx")))
    assert (Segmenter(typed)(picture) == alpha).all()
    assert made() == [asked]


def test_another_variant_is_made_beside_the_first(builder):
    assert find_model("lite").path != find_model("lite:int8").path
    assert made() == ["lite fp32 None", "lite int8 None"]
    assert "int4 is not a precision (fp32, fp16 or int8)" in refused(ModelError, "hr:int4")


def test_a_repository_with_a_checkpoint_and_no_graph_is_made_too(builder, here):
    here.repo("someone/shoes").commit({"model.safetensors": b"weights"})
    file = find_model("someone/shoes").path

    assert made() == ["someone/shoes fp32 None"]
    here.requests.clear()
    assert find_model("someone/shoes").path == file
    assert find_model("someone/shoes:fp16").path.name == "model_fp16.onnx"
    assert here.requests == []


def test_at_a_revision_the_command_that_makes_it_is_named(builder, here):
    here.repo("someone/shoes").commit({"model.safetensors": b"weights"}, branch="v2")

    assert "birefnet export someone/shoes@v2" in refused(FetchError, "someone/shoes@v2")
    said = refused(ModelError, "ZhengPeng7/BiRefNet_lite@v2")
    assert "birefnet export ZhengPeng7/BiRefNet_lite@v2" in said
    assert made() == []


def test_it_is_quiet_with_a_logger_and_says_what_it_does_where_that_is_asked(builder, caplog):
    with caplog.at_level(logging.INFO, "birefnet"):
        find_model("lite")
    assert "lite is made in fp32" in caplog.text

    said = []
    caplog.clear()
    find_model("hr", FetchOptions(say=said.append))
    assert "hr is made in fp32" in said[0]
    assert caplog.text == ""


def test_threads_make_it_once(builder):
    files = []
    threads = [threading.Thread(target=lambda: files.append(find_model("lite"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({file.path for file in files}) == 1
    assert made() == ["lite fp32 None"]


def _file(typed: str) -> str:
    return str(find_model(typed).path)


def test_processes_make_it_once(builder):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        files = pool.map(_file, ["lite"] * 3, chunksize=1)

    assert len(set(files)) == 1
    assert made() == ["lite fp32 None"]


INSTEAD = "take a ready-made file (--model onnx-community/BiRefNet_lite-ONNX)"


@pytest.mark.parametrize(
    ("entries", "error", "says"),
    [
        ([], MissingExtraError, "[export]'"),
        ([Entry(ModuleNotFoundError("no", name="onnx"))], MissingExtraError, "onnx is missing"),
        ([Entry(OfflineError("x: HF_HUB_OFFLINE"))], OfflineError, "x: HF_HUB_OFFLINE"),
        ([Entry(FetchError("x: interrupted"))], FetchError, "x: interrupted"),
        ([Entry(OSError(errno.ENOSPC, "No space left"))], ModelError, "set BIREFNET_CACHE"),
    ],
)
def test_what_goes_wrong_is_one_line_that_names_the_alternatives(builder, entries, error, says):
    builder(*entries)
    said = refused(error)

    assert says in said
    assert INSTEAD in said
    assert "copied from elsewhere" in said


def test_a_cache_that_can_not_be_written_is_said(builder, monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("BIREFNET_CACHE", "file/cache")

    assert "BIREFNET_CACHE" in refused(ModelError)
    assert made() == []


def test_terms_are_accepted_by_a_command_that_is_named(builder):
    builder(Entry(LicenseError("rmbg-2.0 has terms; accept that with --accept-license")))

    said = refused(LicenseError, "rmbg-2.0")
    assert said.endswith("birefnet models --fetch rmbg-2.0 --accept-license")


def test_where_no_lock_file_can_be_written_the_cache_pins(builder, monkeypatch, tmp_path):
    locks = []

    def pin(checkpoint, precision, lowering, how):
        locks.append(how.lock)
        if how.lock == Path("birefnet.lock"):
            raise PinError("can't be written") from PermissionError()
        return make(checkpoint, precision, lowering, how)

    monkeypatch.setattr(Entry, "load", lambda _: pin)
    find_model("lite")

    assert locks == [Path("birefnet.lock"), tmp_path / "cache" / "birefnet.lock"]
