"""What the cache holds, and that it goes when it is told to."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from birefnet_models import CacheError
from birefnet_models.cache import cached_exports, export_directory
from birefnet_models.download import download
from birefnet_models.fetch import ready_made
from birefnet_models.inventory import inventory, remove, total_size
from birefnet_models.pins import FetchOptions
from birefnet_models.reference import parse_reference

from ..hub_server import Failure
from .conftest import graph

FILES = {
    "onnx/model.onnx": graph(padding=5000),
    "onnx/model_fp16.onnx": graph(padding=2000),
    "preprocessor_config.json": b"{}",
}
URL = "/releases/x.onnx"


def fetch(typed: str) -> Path:
    return ready_made(parse_reference(typed), FetchOptions())


def export(name: str, variant: str, graph_name: str = "model.onnx") -> Path:
    file = export_directory(name, variant) / "onnx" / graph_name
    file.parent.mkdir(parents=True)
    file.write_bytes(graph(padding=100))
    return file


def cache() -> Path:
    return Path(os.environ["BIREFNET_CACHE"])


@pytest.fixture
def filled(hub):
    """A cache with something of each kind."""
    commit = hub.repo("a/b").commit(FILES)
    hub.files = {URL: graph(), "/v1/BiRefNet.pth": b"weights", "/v1/cut.pth": bytes(9000)}
    fetch("a/b")
    fetch("a/b:fp16")
    fetch(hub.url + URL)
    export("lite", "fp32-rows")
    export("some/shoes", "fp32-rows")
    download(f"{hub.url}/v1/BiRefNet.pth")
    hub.failure = Failure(cut_at=3000)

    def stop(have, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{hub.url}/v1/cut.pth", progress=stop)
    return commit


def test_everything_is_listed_with_size_and_origin(hub, filled):
    entries = {(e.name, e.kind, e.variant): e for e in inventory()}

    assert set(entries) == {
        ("lite", "export", "fp32-rows"),
        ("some/shoes", "export", "fp32-rows"),
        ("a/b", "ready-made", "onnx/model.onnx"),
        ("a/b:fp16", "ready-made", "onnx/model_fp16.onnx"),
        (hub.url + URL, "ready-made", "x.onnx"),
        ("BiRefNet.pth", "download", ""),
        (f"{hub.url}/v1/cut.pth", "unfinished", ""),
    }
    model = entries["a/b", "ready-made", "onnx/model.onnx"]
    assert model.source == f"{hub.url}/a/b main at {filled[:12]}"
    assert len(FILES["onnx/model.onnx"]) < model.size < len(FILES["onnx/model.onnx"]) + 1000
    assert json.loads(json.dumps(model.to_dict()))["name"] == "a/b"
    files = [path for path in cache().rglob("*") if path.is_file()]
    files = [path for path in files if "references" not in path.parts]
    assert total_size(inventory()) == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize(
    ("typed", "gone"),
    [
        ("a/b", {"a/b", "a/b:fp16"}),
        ("a/b@main", {"a/b", "a/b:fp16"}),
        ("a/b:fp16", {"a/b:fp16"}),
        ("lite", {"lite"}),
        ("LITE:fp32", {"lite"}),
        ("ZhengPeng7/BiRefNet_lite", {"lite"}),
        ("some/shoes", {"some/shoes"}),
        ("BiRefNet.pth", {"BiRefNet.pth"}),
    ],
)
def test_what_is_named_goes_and_the_rest_stays(hub, filled, typed, gone):
    before = {entry.name for entry in inventory()}

    removed = remove(typed)

    assert {entry.name for entry in removed} == gone
    assert {entry.name for entry in inventory()} == before - gone
    assert total_size(removed) > 0
    with pytest.raises(CacheError, match=r"nothing .* called .*; it holds "):
        remove(typed)


def test_of_two_lowerings_of_a_precision_one_goes(hub):
    for variant in ("fp16-native", "fp16-rows"):
        export("lite", variant, "model_fp16.onnx")

    (gone,) = remove("lite:fp16-rows")

    assert gone.variant == "fp16-rows"
    assert [entry.variant for entry in inventory()] == ["fp16-native"]


def test_urls_and_parts_go_by_their_address_and_an_empty_cache_is_empty(hub, filled):
    for name in (hub.url + URL, f"{hub.url}/v1/cut.pth", "a/b", "lite", "some/shoes"):
        remove(name)
    remove("BiRefNet.pth")

    assert inventory() == ()
    assert cached_exports() == ()
    assert [path for path in cache().rglob("*") if path.is_file()] == []
    with pytest.raises(CacheError, match="x; it holds nothing"):
        remove("x")


def test_what_was_removed_is_resolved_anew(hub, filled):
    remove("a/b")
    Path("birefnet.lock").unlink()
    hub.failure = Failure()
    hub.repo("a/b").commit({"onnx/model.onnx": graph(padding=7)})

    assert fetch("a/b").read_bytes() == graph(padding=7)


def test_parts_of_a_repositorys_file_go_with_its_name(hub):
    hub.repo("a/b").commit(FILES)
    hub.failure = Failure(cut_at=3000)

    def stop(have, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ready_made(parse_reference("a/b"), FetchOptions(progress=stop))
    (entry,) = inventory()
    assert entry.kind == "unfinished"
    assert 3000 <= entry.size < 4000

    remove("a/b")
    assert inventory() == ()


@pytest.mark.parametrize("name", ["..", "../models", "/", "", ".", "*", "a/b/../../..", "nano"])
def test_a_name_that_is_none_removes_nothing(hub, filled, name):
    before = sorted(cache().rglob("*"))

    with pytest.raises(CacheError):
        remove(name)
    assert sorted(cache().rglob("*")) == before


def _remove_in_process(name: str) -> int:
    try:
        return total_size(remove(name))
    except CacheError:
        return 0


def test_of_several_processes_one_removes(hub, filled):
    size = sum(entry.size for entry in inventory() if "a/b" in entry.names)

    with multiprocessing.get_context("fork").Pool(3) as pool:
        freed = pool.map(_remove_in_process, ["a/b"] * 3, chunksize=1)

    assert sum(freed) == size
    assert "a/b" not in {entry.name for entry in inventory()}


def test_damaged_notes_hide_nothing_but_themselves(hub, filled):
    for file in cache().glob("fetched/*/facts.json"):
        file.write_text("[" * 9)

    assert {entry.kind for entry in inventory()} == {"export", "download", "unfinished"}
