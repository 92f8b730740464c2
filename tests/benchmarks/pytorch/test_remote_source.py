"""Whose code would be run, and that nobody's is without consent."""

import pytest
from birefnet_benchmarks.errors import RemoteCodeError
from birefnet_benchmarks.pytorch.remote_source import consented_source
from birefnet_export.errors import ExportError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.py", "a.py", "config.json"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_directory_names_its_code(folder):
    source = consented_source(f"transformers:{folder}", consent=True)

    assert source == (str(folder), None, ("a.py", "b.py"))
    assert str(source) == str(folder)


def test_without_consent_the_message_names_the_code_and_what_to_do(folder):
    said = r"\(a\.py, b\.py\) on this machine.*; read it.*--trust-remote-code$"
    with pytest.raises(RemoteCodeError, match=said):
        consented_source(f"transformers:{folder}", consent=False)


def test_without_consent_nothing_is_fetched(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(RemoteCodeError, match=r"from a/b@c on .*--trust-remote-code$"):
        consented_source("transformers:a/b@c", consent=False)


def test_a_repository_without_a_revision_is_refused_before_anything_is_fetched():
    with pytest.raises(RemoteCodeError, match="as transformers:a/b@COMMIT"):
        consented_source("transformers:a/b", consent=True)


def test_a_url_is_no_reference():
    with pytest.raises(ExportError, match="repository of the hub"):
        consented_source("transformers:https://example.org/model.pth", consent=True)
