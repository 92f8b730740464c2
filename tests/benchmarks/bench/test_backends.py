"""Backends by name."""

import sys

import pytest
from birefnet_benchmarks.bench.backends.base import backend_class
from birefnet_benchmarks.errors import BenchmarkError
from birefnet_runtime.errors import MissingExtraError


def test_ours_are_known_by_name_and_others_by_where_they_are():
    assert backend_class("onnxruntime").__name__ == "OnnxRuntimeBackend"
    assert (
        backend_class("birefnet_benchmarks.bench.backends.onnxruntime:OnnxRuntimeBackend").__name__
        == "OnnxRuntimeBackend"
    )


@pytest.mark.parametrize("name", ["tensorflow", "nowhere:Backend", "json:Backend"])
def test_what_is_no_backend_is_told(name):
    with pytest.raises(BenchmarkError, match="MODULE:CLASS"):
        backend_class(name)


def test_a_package_that_is_missing_is_told_by_its_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "birefnet_benchmarks.bench.backends.pytorch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(MissingExtraError, match=r"pip install .*\[pytorch\].*--extra-index-url"):
        backend_class("pytorch")
