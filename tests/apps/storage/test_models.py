"""Models of object stores, fetched once."""

import threading

import fsspec
import pytest
from birefnet_apps.storage import remote
from birefnet_apps.storage.models import find_any_model, is_in_a_store, keep
from birefnet_runtime import ModelError, Segmenter


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def test_a_model_of_a_store_is_fetched_with_what_lies_beside_it_once(model, store, monkeypatch):
    store.pipe_file("/b/onnx/model.onnx", model.read_bytes())
    store.pipe_file("/b/onnx/model.onnx_data", b"weights")
    fetched = []
    real = remote.RemoteFile.fetch
    monkeypatch.setattr(
        remote.RemoteFile, "fetch", lambda *pair: (fetched.append(pair[1].name), real(*pair))
    )

    path = find_any_model("memory://b/onnx/model.onnx").path

    assert path.read_bytes() == model.read_bytes()
    assert path.with_name("model.onnx_data").read_bytes() == b"weights"
    assert find_any_model("memory://b/onnx/model.onnx").path == path
    assert fetched == ["model.onnx", "model.onnx_data"]
    assert Segmenter(path).metadata.trained_size == (64, 64)


def test_a_model_that_was_replaced_is_another(model, store):
    store.pipe_file("/b/m.onnx", model.read_bytes())
    first = find_any_model("memory://b/m.onnx").path

    store.pipe_file("/b/m.onnx", b"another")

    assert find_any_model("memory://b/m.onnx").path != first


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("memory://b/gone.onnx", r"^memory://b/gone\.onnx: no such object$"),
        ("memory://b/onnx", "name the .onnx file itself"),
    ],
)
def test_what_is_no_model_there(store, url, text):
    with pytest.raises(ModelError, match=text):
        find_any_model(url)


def test_a_copy_that_was_harmed_is_fetched_again(model, store):
    store.pipe_file("/b/m.onnx", model.read_bytes())
    path = find_any_model("memory://b/m.onnx").path
    path.write_bytes(model.read_bytes()[:-9])

    assert find_any_model("memory://b/m.onnx").path == path
    assert path.read_bytes() == model.read_bytes()


def test_other_ways_are_left_to_others():
    assert not any(map(is_in_a_store, ["nano", "a/b.onnx", "https://x/m.onnx", "hf://a/b.onnx", 3]))


def test_who_comes_at_the_same_time_waits(store):
    filled = []

    def fill(folder):
        filled.append(folder)
        (folder / "m.onnx").write_bytes(b"x")

    threads = [threading.Thread(target=keep, args=("one", "m.onnx", fill)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(filled) == 1


def test_what_breaks_off_leaves_nothing(store, tmp_path):
    def fill(folder):
        (folder / "m.onnx").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"m\.onnx: .*: No space left"):
        keep("one", "m.onnx", fill)

    assert list((tmp_path / "cache" / "stores").iterdir()) == []
