import sys
from pathlib import Path

import pytest
from birefnet_models.cache import MODEL_OF_PRECISION, cache_root, cached_exports, export_directory


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
