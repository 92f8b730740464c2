import pytest
from birefnet_models import FetchError
from birefnet_models.reference import (
    HubModel,
    UrlModel,
    group_name,
    hub_page,
    parse_reference,
)


@pytest.mark.parametrize(
    ("typed", "expected", "reference"),
    [
        ("a/b", HubModel("a/b"), "a/b@main:onnx"),
        ("a/b:fp16", HubModel("a/b", "main", "fp16"), "a/b@main:fp16"),
        ("a/b.v2-1@v1.0:int8", HubModel("a/b.v2-1", "v1.0", "int8"), "a/b.v2-1@v1.0:int8"),
        ("a/b@refs/pr/3", HubModel("a/b", "refs/pr/3"), "a/b@refs/pr/3:onnx"),
    ],
)
def test_a_repository_with_revision_and_precision(typed, expected, reference):
    assert parse_reference(typed) == expected
    assert expected.reference == reference


@pytest.mark.parametrize(
    "typed",
    [
        *("lite", "lite:fp16", "./a/b", "a/b/c", "/a/b", "a/../b", "../b", "a/..", "a/b.onnx"),
        *("a/b.safetensors", "a/b@", "a/b:", "a/b@../x", "a/b@/x", "a b/c", "a/b\n", "a/b:fp 16"),
    ],
)
def test_what_is_no_repository(typed):
    assert parse_reference(typed) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://huggingface.co/a/b", HubModel("a/b")),
        ("https://huggingface.co/a/b/tree/v1", HubModel("a/b", "v1")),
        (
            "https://hf.co/a/b/blob/refs%2Fpr%2F1/onnx/model_fp16.onnx",
            HubModel("a/b", "refs/pr/1", None, "onnx/model_fp16.onnx"),
        ),
        (
            "https://huggingface.co/a/b/resolve/main/onnx/model.onnx?download=true",
            HubModel("a/b", "main", None, "onnx/model.onnx"),
        ),
        ("https://example.com/v0/x.onnx?a=1", UrlModel("https://example.com/v0/x.onnx?a=1")),
    ],
)
def test_a_url_of_the_hub_is_the_hubs_file_and_another_is_itself(url, expected):
    assert parse_reference(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://huggingface.co/a/b/resolve/main/model.safetensors", "is a checkpoint; first: "),
        ("https://example.com/x.pth", "is a checkpoint; first: birefnet export https://example"),
        ("https://example.com/index.html", "ends in index.html; give the URL of an .onnx"),
        ("https://huggingface.co/a", "ends in a; give the URL of an .onnx, or OWNER/NAME"),
        ("https://[::bad", "is not an http or https URL"),
    ],
)
def test_a_url_of_something_else_is_one_line(url, says):
    with pytest.raises(FetchError, match=says) as caught:
        parse_reference(url)
    assert "\n" not in str(caught.value)


def test_a_password_is_in_no_reference():
    model = parse_reference("https://me:hunter2@example.com/x.onnx")

    assert model.reference == "https://example.com/x.onnx"
    assert "hunter2" not in group_name(model)


def test_the_endpoint_is_a_hub_too(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example:8000/")

    assert hub_page("http://mirror.example:8000/a/b") == ("a/b", "main", None)
    assert hub_page("http://mirror.example/a/b") is None
    url = "http://mirror.example:8000/releases/download/v0.0.0/x.onnx"
    assert parse_reference(url) == UrlModel(url)


def test_a_path_that_leads_upwards_is_no_file_of_a_repository():
    url = "https://huggingface.co/a/b/resolve/main/../../x.onnx"

    assert parse_reference(url) == UrlModel(url)
    with pytest.raises(ValueError, match=r"no file of one"):
        hub_page(url)


@pytest.mark.parametrize(
    ("revision", "is_commit"),
    [("0123456789abcdef" * 2 + "01234567", True), ("deadbeef", False), ("main", False)],
)
def test_only_a_commit_in_full_is_one(revision, is_commit):
    assert HubModel("a/b", revision).is_commit is is_commit
