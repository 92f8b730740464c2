"""Checkpoints from a hub on loopback, through the hub's own client: real requests, real cache."""

import hashlib
import json
from pathlib import Path

import pytest
from birefnet_export.checkpoint.fetch import FetchOptions, fetch
from birefnet_models import (
    AccessError,
    BirefnetError,
    FetchError,
    LicenseError,
    OfflineError,
    PinError,
)
from birefnet_models.pins import read_lock
from huggingface_hub import constants

from ...hub_server import Failure

REPO = "someone/shoes"
WEIGHTS = b"\x10" + bytes(7) + b'{"a": 1}' + bytes(range(256)) * 30
PROCESSOR = b'{"size": {"height": 64, "width": 96}}'


@pytest.fixture(autouse=True)
def shoes(hub, monkeypatch):
    """A hub with one repository."""
    hub.repo(REPO).commit({"model.safetensors": WEIGHTS, "config.json": b"{}"})
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's retries


def offline(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def pins() -> dict:
    return json.loads(Path("birefnet.lock").read_text())["pins"]


def files_in(folder: Path) -> list[Path]:
    """Everything that has bytes, to see what a failure leaves."""
    return [p for p in folder.rglob("*") if p.is_file() and p.name != "CACHEDIR.TAG"]


def test_a_floating_reference_is_pinned_and_then_stays(hub):
    first = hub.repo(REPO).branches["main"]
    said = []

    fetched = fetch(REPO, FetchOptions(say=said.append))

    assert fetched.path.read_bytes() == WEIGHTS
    assert fetched.origin == f"{REPO}@{first}"
    assert fetched.name == REPO
    assert pins() == {
        f"{REPO}@main": {
            "commit": first,
            "file": "model.safetensors",
            "size": len(WEIGHTS),
            "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        }
    }
    assert said == [
        f"fetching {hub.url}/{REPO}/resolve/{first}/model.safetensors (0 MB)",
        f"pinned {REPO}@main at commit {first}, "
        f"sha256 {hashlib.sha256(WEIGHTS).hexdigest()}, in birefnet.lock",
    ]

    second = hub.repo(REPO).commit({"model.safetensors": WEIGHTS + b"new"})
    assert fetch(REPO).path.read_bytes() == WEIGHTS
    assert fetch(REPO, FetchOptions(update=True)).path.read_bytes() == WEIGHTS + b"new"
    assert pins()[f"{REPO}@main"]["commit"] == second
    assert fetch(REPO).path.read_bytes() == WEIGHTS + b"new"


def test_a_pin_is_fetched_on_another_machine_as_it_was(hub, tmp_path, monkeypatch):
    fetch(REPO)
    hub.repo(REPO).commit({"model.safetensors": b"moved on"})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))

    assert fetch(REPO, FetchOptions(locked=True)).path.read_bytes() == WEIGHTS


def test_the_second_time_needs_no_network(hub, monkeypatch):
    fetch(REPO)
    hub.requests.clear()
    offline(monkeypatch)

    assert fetch(REPO).path.read_bytes() == WEIGHTS
    assert hub.requests == []


def test_offline_an_unpinned_reference_stands_for_what_the_cache_last_saw(hub, monkeypatch):
    commit = hub.repo(REPO).branches["main"]
    fetch(REPO)
    Path("birefnet.lock").unlink()
    offline(monkeypatch)

    assert fetch(REPO).origin == f"{REPO}@{commit}"
    assert pins()[f"{REPO}@main"]["commit"] == commit


def test_offline_without_the_file_is_said(hub, monkeypatch):
    offline(monkeypatch)

    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE forbids"):
        fetch(REPO)
    assert not Path("birefnet.lock").exists()


def test_offline_with_a_pin_and_an_empty_cache_is_said(hub, tmp_path, monkeypatch):
    fetch(REPO)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    offline(monkeypatch)

    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE forbids"):
        fetch(REPO)


def test_no_network_at_all_is_said(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(OfflineError, match=r"http://127\.0\.0\.1:9 can't be reached"):
        fetch(REPO)


def test_locked_refuses_what_is_not_pinned_and_takes_a_commit(hub):
    commit = hub.repo(REPO).branches["main"]

    with pytest.raises(PinError, match=r"shoes@main is not pinned .*--locked"):
        fetch(REPO, FetchOptions(locked=True))
    assert hub.requests == []
    assert fetch(f"{REPO}@{commit}", FetchOptions(locked=True)).path.read_bytes() == WEIGHTS
    assert not Path("birefnet.lock").exists()


def test_locked_and_update_exclude_each_other(hub):
    with pytest.raises(PinError, match="give one"):
        fetch(REPO, FetchOptions(locked=True, update=True))


def test_a_file_that_was_tampered_with_is_refused_with_both_hashes(hub):
    file = fetch(REPO).path
    file.resolve().write_bytes(WEIGHTS + b"!")

    with pytest.raises(PinError) as caught:
        fetch(REPO)

    message = str(caught.value)
    assert hashlib.sha256(WEIGHTS).hexdigest() in message
    assert hashlib.sha256(WEIGHTS + b"!").hexdigest() in message
    assert str(file) in message
    with pytest.raises(FetchError, match="damaged in the cache"):
        fetch(REPO, FetchOptions(update=True))
    file.resolve().unlink()
    file.unlink()
    assert fetch(REPO).path.read_bytes() == WEIGHTS


def test_bytes_that_are_not_what_the_hub_lists_leave_no_file(hub, tmp_path):
    hub.failure = Failure(corrupt=True)

    with pytest.raises(FetchError, match=f"{hashlib.sha256(WEIGHTS).hexdigest()}; it was damaged"):
        fetch(REPO)
    assert WEIGHTS[:1] not in [p.read_bytes()[:1] for p in files_in(tmp_path)]
    assert not Path("birefnet.lock").exists()
    hub.failure = Failure()
    assert fetch(REPO).path.read_bytes() == WEIGHTS


def test_a_broken_connection_is_taken_up(hub):
    whole = bytes(100_000) + WEIGHTS
    hub.repo(REPO).commit({"model.safetensors": whole})
    hub.failure = Failure(cut_at=len(whole) - 100, times=1)

    assert fetch(REPO).path.read_bytes() == whole
    ranges = [asked for _, path, asked in hub.requests if asked and "/blobs/" in path]
    assert ranges == [f"bytes={len(whole) - 100}-"]


def test_a_connection_that_stays_broken_leaves_no_file(hub, tmp_path):
    hub.failure = Failure(cut_at=0)

    with pytest.raises(FetchError, match=r"shoes/.*model\.safetensors") as caught:
        fetch(REPO)
    assert "\n" not in str(caught.value)
    assert not [p for p in files_in(tmp_path) if "blobs" in p.parts and p.stat().st_size]


@pytest.mark.parametrize(
    ("failure", "error", "says"),
    [
        (Failure(page=True), FetchError, "does not answer as a hub does; check HF_ENDPOINT"),
        (Failure(status=500), FetchError, "the hub failed .HTTP 500.; try again later"),
        (Failure(status=429), FetchError, "the hub failed .HTTP 429."),
        (Failure(status=403), AccessError, "the hub refuses access .HTTP 403.; log in"),
    ],
)
def test_a_hub_that_fails_is_one_line(hub, failure, error, says):
    hub.failure = failure

    with pytest.raises(error, match=says) as caught:
        fetch(REPO)
    assert "\n" not in str(caught.value)
    assert REPO in str(caught.value)


def test_a_gated_repository_says_how_to_get_in_and_lets_the_token_in(hub, monkeypatch):
    hub.repo(REPO).access = "gated"
    with pytest.raises(AccessError, match=r"is gated; .* HF_TOKEN"):
        fetch(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(AccessError, match="is gated"):
        fetch(REPO)

    monkeypatch.setenv("HF_TOKEN", hub.token)

    assert fetch(REPO).path.read_bytes() == WEIGHTS


def test_a_private_or_missing_repository_is_said(hub, monkeypatch):
    with pytest.raises(AccessError, match="no such repository"):
        fetch("someone/nothing")
    hub.repo(REPO).access = "private"
    with pytest.raises(AccessError, match="no such repository"):
        fetch(REPO)

    monkeypatch.setenv("HF_TOKEN", hub.token)

    assert fetch(REPO).path.read_bytes() == WEIGHTS


def test_a_branch_that_moves_between_listing_and_download_is_said(hub):
    hub.after_listing = lambda: hub.repo(REPO).commit({"model.safetensors": WEIGHTS + b"new"})

    with pytest.raises(FetchError, match=f"{REPO}@main: moved .*; try again"):
        fetch(REPO)
    assert not Path("birefnet.lock").exists()
    hub.after_listing = None
    assert fetch(REPO).path.read_bytes() == WEIGHTS + b"new"


def test_a_missing_revision_is_said(hub):
    with pytest.raises(FetchError, match=r"shoes@v9: .* no such revision"):
        fetch(f"{REPO}@v9")


def test_a_license_with_terms_is_shown_and_has_to_be_accepted(hub):
    hub.repo("briaai/RMBG-2.0").commit({"model.safetensors": WEIGHTS})
    said = []

    with pytest.raises(LicenseError, match=r"CC-BY-NC-4\.0: non-commercial .* --accept-license"):
        fetch("rmbg-2.0")
    assert hub.requests == []
    fetched = fetch("rmbg-2.0", FetchOptions(accept_license=True, say=said.append))

    assert fetched.card is not None
    assert fetched.name == "rmbg-2.0"
    assert "non-commercial" in said[0]


def test_another_file_of_weights_is_found_or_named(hub):
    hub.repo("a/pth").commit({"README.md": b"x", "net.pth": b"pth"})
    hub.repo("a/many").commit({"one.pth": b"1", "two.pth": b"2"})
    hub.repo("a/none").commit({"README.md": b"x"})

    assert fetch("a/pth").path.read_bytes() == b"pth"
    with pytest.raises(FetchError, match=r"\(one\.pth, two\.pth\); give"):
        fetch("a/many")
    assert fetch(f"{hub.url}/a/many/resolve/main/two.pth").path.read_bytes() == b"2"
    assert "a/many@main:two.pth" in pins()
    with pytest.raises(FetchError, match=r"no weights; .*README\.md"):
        fetch("a/none")


def test_shards_come_along_and_are_pinned_together(hub, tmp_path, monkeypatch):
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    files = {
        "model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode(),
        "model-1.safetensors": WEIGHTS,
        "model-2.safetensors": WEIGHTS + b"2",
    }
    hub.repo("a/large").commit(files)

    index = fetch("a/large").path

    assert index.name == "model.safetensors.index.json"
    assert {p.name: p.read_bytes() for p in index.parent.iterdir()} == files
    whole = hashlib.sha256(b"".join(files.values())).hexdigest()
    assert (pins()["a/large@main"]["sha256"], pins()["a/large@main"]["size"]) == (
        whole,
        sum(map(len, files.values())),
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    shard = fetch("a/large").path.with_name("model-2.safetensors")
    shard.resolve().write_bytes(WEIGHTS + b"3")
    with pytest.raises(PinError, match=r"not what birefnet\.lock pins"):
        fetch("a/large")


def test_a_shard_that_is_not_there_or_elsewhere_is_named(hub):
    for name, says in (
        ("gone.safetensors", "lists gone"),
        ("../a.safetensors", "not a file beside"),
    ):
        index = json.dumps({"weight_map": {"a": name}}).encode()
        hub.repo("a/large").commit({"model.safetensors.index.json": index})
        with pytest.raises(BirefnetError, match=says):
            fetch("a/large")


def test_the_preprocessor_file_comes_along(hub, tmp_path, monkeypatch):
    hub.repo(REPO).commit({"model.safetensors": WEIGHTS, "preprocessor_config.json": PROCESSOR})

    assert (fetch(REPO).path.parent / "preprocessor_config.json").read_bytes() == PROCESSOR
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert (fetch(REPO).path.parent / "preprocessor_config.json").read_bytes() == PROCESSOR


def test_a_release_file_is_pinned_by_its_hash(hub, monkeypatch):
    hub.files["/r/download/v1/w.pth"] = b"first"
    url = f"{hub.url}/r/download/v1/w.pth"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # so that it is not an URL of the hub

    fetched = fetch(url)
    assert (fetched.name, fetched.origin, fetched.path.read_bytes()) == ("w", url, b"first")
    assert read_lock(Path("birefnet.lock"))[url].commit is None

    hub.files["/r/download/v1/w.pth"] = b"second"
    fetched.path.unlink()
    with pytest.raises(PinError, match=r"not what birefnet\.lock pins"):
        fetch(url)
    assert fetch(url, FetchOptions(update=True)).path.read_bytes() == b"second"
    assert fetch(url).path.read_bytes() == b"second"


def test_a_local_file_is_what_it_is():
    Path("mine.pth").write_bytes(b"x")

    fetched = fetch("mine.pth", FetchOptions(locked=True))

    assert (fetched.path, fetched.name, fetched.origin) == (Path("mine.pth"), None, None)
    assert not Path("birefnet.lock").exists()
