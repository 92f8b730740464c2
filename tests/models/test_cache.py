import os
import sys
from pathlib import Path

import pytest
from birefnet_models import CacheError, FetchError
from birefnet_models.base.files import cache_root
from birefnet_models.cache import MODEL_OF_PRECISION, cached_exports, export_directory
from birefnet_models.download import download


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def export(name: str, variant: str) -> None:
    precision = variant.partition("-")[0]
    file = export_directory(name, variant) / MODEL_OF_PRECISION[precision]
    file.parent.mkdir(parents=True)
    file.touch()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "~/.cache/birefnet"),
        ("linux", {"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/birefnet"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/birefnet"),
        ("linux", {"BIREFNET_CACHE": "~/models", "XDG_CACHE_HOME": "/x"}, "~/models"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "~/Library/Caches/birefnet"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/birefnet/Cache"),
        ("win32", {}, "~/AppData/Local/birefnet/Cache"),
    ],
)
def test_the_root_is_where_the_operating_system_keeps_caches(
    platform, environment, expected, monkeypatch
):
    monkeypatch.setattr(sys, "platform", platform)

    assert cache_root(environment) == Path(expected).expanduser()


def test_exports_of_one_model_lie_side_by_side_the_exact_first(cache):
    assert cached_exports() == ()
    for variant in ("fp16-native", "int8-gridsample", "fp32-native", "fp32-rows"):
        export("lite", variant)
    export("Someone/Shoes", "fp32-native")
    (export_directory("general", "fp32-native") / "onnx").mkdir(parents=True)  # interrupted

    assert [e.variant for e in cached_exports("ZhengPeng7/BiRefNet_lite")] == [
        "fp32-rows",
        "fp32-native",
        "fp16-native",
        "int8-gridsample",
    ]
    assert {e.name for e in cached_exports()} == {"lite", "Someone--Shoes"}
    assert cached_exports("someone/else") == ()
    assert [e.file.name for e in cached_exports("lite")] == [
        "model.onnx",
        "model.onnx",
        "model_fp16.onnx",
        "model_quantized.onnx",
    ]


@pytest.mark.parametrize("name", ["../../etc", "a b\n", "..", "x/../y"])
def test_a_name_never_leads_out_of_the_cache(cache, name):
    directory = export_directory(name, "fp32-native")

    assert directory.resolve().parent.parent == (cache / "models").resolve()


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """As a user that the system does not know, in a container without HOME."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "BIREFNET_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.chdir(tmp_path)


def test_without_a_home_there_is_nothing_in_the_cache_and_no_place_for_it(homeless, tmp_path):
    assert cached_exports() == ()
    assert cached_exports("lite") == ()
    for ask in (lambda: export_directory("lite", "fp32"), lambda: download("http://127.0.0.1:9/x")):
        with pytest.raises(CacheError, match=r"no home .* set BIREFNET_CACHE"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_a_cache_that_is_named_is_used(homeless, tmp_path, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path))
    export("lite", "fp32-rows")

    assert [e.variant for e in cached_exports("lite")] == ["fp32-rows"]
    monkeypatch.setenv("BIREFNET_CACHE", "~nobody-of-that-name/x")
    assert cached_exports("lite") == ()


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/x", "/" + "x" * 300, "/nowhere"])
def test_a_cache_that_can_not_be_is_empty_and_takes_no_downloads(place, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", place)

    assert cached_exports() == ()
    assert cached_exports("lite") == ()
    if place != "/nowhere":  # root can make that one
        with pytest.raises(FetchError, match="can't be stored in"):
            download("http://127.0.0.1:9/x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_can_not_be_searched_is_empty(cache):
    export("lite", "fp32-rows")
    folder = export_directory("lite", "fp32-rows")
    folder.chmod(0)
    try:
        assert cached_exports("lite") == ()
    finally:
        folder.chmod(0o700)


def test_a_name_of_any_length_is_a_folder(cache):
    assert cached_exports("x" * 5000) == ()
    assert len(export_directory("é" * 5000, "fp32-rows").parent.name) == 100
