from functools import partial
from pathlib import Path

import pytest
from birefnet_export.checkpoint.source import LocalSource, parse_source
from birefnet_export.errors import CheckpointError
from birefnet_models.reference import HubModel, UrlModel

CHECKPOINT = partial(HubModel, is_checkpoint=True)
COMMIT = "0123456789" * 4
RELEASE = "https://github.com/ZhengPeng7/BiRefNet/releases/download/v1/"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lite", CHECKPOINT("ZhengPeng7/BiRefNet_lite")),
        ("LITE@v2", CHECKPOINT("ZhengPeng7/BiRefNet_lite", "v2")),
        ("zhengpeng7/birefnet_hr", CHECKPOINT("ZhengPeng7/BiRefNet_HR")),
        (f"ZhengPeng7/BiRefNet_HR@{COMMIT}", CHECKPOINT("ZhengPeng7/BiRefNet_HR", COMMIT)),
        ("someone/shoes", CHECKPOINT("someone/shoes")),
        ("https://huggingface.co/someone/shoes", CHECKPOINT("someone/shoes")),
        (
            "https://huggingface.co/a/b/resolve/v1/sub/w.pth?download=true",
            CHECKPOINT("a/b", "v1", file="sub/w.pth"),
        ),
        (RELEASE + "x.pth", UrlModel(RELEASE + "x.pth")),
    ],
)
def test_what_is_typed_is_understood(typed, expected):
    assert parse_source(typed) == expected


def test_the_endpoints_own_urls_are_the_hubs(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8123")

    assert parse_source("http://127.0.0.1:8123/a/b/blob/main/w.pth") == CHECKPOINT(
        "a/b", file="w.pth"
    )


def test_a_name_wins_over_a_path_and_a_path_over_a_repository():
    Path("lite").touch()
    Path("someone").mkdir()
    Path("someone/shoes").touch()

    assert parse_source("lite") == CHECKPOINT("ZhengPeng7/BiRefNet_lite")
    assert parse_source("./lite") == LocalSource(Path("lite"))
    assert parse_source("someone/shoes") == LocalSource(Path("someone/shoes"))
    assert parse_source(Path("anything")) == LocalSource(Path("anything"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("weights/model.safetensors", "no such file or directory$"),
        ("model.pth", "no such file or directory$"),
        ("litle", "did you mean lite"),
        ("nano", "ships as a finished model"),
        ("lite@", "revision is missing"),
        ("https://huggingface.co/datasets", "no repository and no file"),
        ("https://huggingface.co/a/b/resolve/main/../../x", "no repository and no file"),
        ("https://[::bad", r"^https://\[::bad: is not the URL of a file$"),
        ("http://[::bad", "is not the URL of a file"),
        ("http://me:secret@[::bad", r"^http://\[::bad: is not the URL"),
        ("https://", "is not the URL"),
        ("https://host:99999/x.pth", "is not the URL"),
        ("https://host/\x1b[2J.pth", r"^https://host/\\x1b\[2J\.pth: is not the URL"),
        ("x" * 5000, "can't be read: .*File name too long"),
        ("a\0b", r"^a\\x00b: no such file"),
    ],
)
def test_what_is_none_of_them_says_what_was_tried(typed, says):
    with pytest.raises(CheckpointError, match=says):
        parse_source(typed)


def test_only_a_whole_commit_pins():
    assert CHECKPOINT("a/b", COMMIT).is_commit
    assert not CHECKPOINT("a/b", COMMIT[:12]).is_commit
    assert not CHECKPOINT("a/b").is_commit


def test_upstreams_release_files_are_known_by_their_name():
    card = UrlModel(RELEASE + "BiRefNet-general-bb_swin_v1_tiny-epoch_232.pth").card

    assert card is not None
    assert card.name == "lite"
    assert UrlModel("https://example.org/BiRefNet-general-epoch_244.pth").card is None


def test_a_password_is_for_the_server_and_not_for_the_lock_file(monkeypatch):
    source = parse_source("https://me:secret@example.org/w.pth")

    assert isinstance(source, UrlModel)
    assert source.url == "https://me:secret@example.org/w.pth"
    assert source.reference == "https://example.org/w.pth"
    assert source.name == "w"


def test_a_wrong_endpoint_is_no_traceback(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://[::bad")

    assert parse_source("https://example.org/w.pth") == UrlModel("https://example.org/w.pth")
