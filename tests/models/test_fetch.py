"""Ready-made models from a hub and a web server on loopback: real requests, a real cache."""

import hashlib
import json
import logging
import multiprocessing
import os
import re
import threading
from pathlib import Path

import huggingface_hub
import pytest
from birefnet_models import AccessError, FetchError, LicenseError, OfflineError, PinError
from birefnet_models.fetch import ready_made
from birefnet_models.hub import HubFile
from birefnet_models.pins import FetchOptions, read_lock
from birefnet_models.reference import parse_reference
from huggingface_hub import close_session, constants

from .. import hub_server
from ..hub_server import Failure
from .conftest import graph

REPO = "someone/thing"
DATA = bytes(range(256)) * 40
MODEL = graph("model.onnx_data")
PROCESSOR = b'{"size": {"height": 64, "width": 96}}'
FILES = {
    "README.md": b"hello",
    "onnx/model.onnx": MODEL,
    "onnx/model.onnx_data": DATA,
    "onnx/model_fp16.onnx": graph(padding=9000),
    "preprocessor_config.json": PROCESSOR,
}


@pytest.fixture
def commit(hub) -> str:
    return hub.repo(REPO).commit(FILES)


def get(typed: str = REPO, how: FetchOptions | None = None) -> Path:
    model = parse_reference(typed)
    assert model is not None
    return ready_made(model, how or FetchOptions())


def fetched(hub) -> list[str]:
    return [path for how, path, _ in hub.requests if how == "GET" and "/api/" not in path]


def test_graph_weights_and_preprocessor_come_once_and_open_offline(hub, commit, monkeypatch):
    file = get()

    assert file.read_bytes() == MODEL
    assert file.with_name("model.onnx_data").read_bytes() == DATA
    assert (file.parent.parent / "preprocessor_config.json").read_bytes() == PROCESSOR
    assert not list(file.parent.parent.rglob("README.md"))
    sums = (file.parent / "SHA256SUMS").read_text().split()
    assert sums[::2] == [hashlib.sha256(part).hexdigest() for part in (MODEL, DATA)]
    assert list(Path(os.environ["BIREFNET_CACHE"], "downloads").rglob("*")) == []

    hub.requests.clear()
    assert get() == file
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get(f"{REPO}@main") == file
    assert hub.requests == []


def test_the_pin_is_that_of_the_exports_lock(hub, commit):
    said = []
    get(how=FetchOptions(say=said.append))

    pin = read_lock(Path("birefnet.lock"))[f"{REPO}@main:onnx"]
    assert (pin.commit, pin.file, pin.size) == (commit, "onnx/model.onnx", len(MODEL) + len(DATA))
    assert pin.sha256 == hashlib.sha256(MODEL + DATA).hexdigest()
    assert said[0].startswith(f"fetching {hub.url}/{REPO}/resolve/{commit}/onnx/model.onnx")
    assert said[1].startswith(f"pinned {REPO}@main:onnx at commit {commit}, sha256 ")


def test_the_pin_holds_when_the_branch_moves_until_it_is_moved(hub, commit, tmp_path, monkeypatch):
    first = get()
    newer = hub.repo(REPO).commit({**FILES, "onnx/model.onnx": graph("model.onnx_data", padding=5)})

    assert get() == first
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "another"))
    assert get().read_bytes() == MODEL  # from the lock file, on another machine
    assert get(how=FetchOptions(update=True)).read_bytes() != MODEL
    assert read_lock(Path("birefnet.lock"))[f"{REPO}@main:onnx"].commit == newer
    assert get().read_bytes() != MODEL


def test_without_the_lock_file_the_cache_remembers_and_pins_again(hub, commit):
    file = get()
    pinned = Path("birefnet.lock").read_text()
    Path("birefnet.lock").unlink()
    hub.repo(REPO).commit({**FILES, "onnx/model.onnx": graph()})
    hub.requests.clear()

    assert get() == file
    assert hub.requests == []
    assert Path("birefnet.lock").read_text() == pinned


@pytest.mark.skipif(os.name == "nt", reason="folders are writable there")
def test_where_no_lock_file_can_be_written_the_cache_alone_pins(hub, commit):
    said = []
    file = get(how=FetchOptions(Path("/proc/birefnet.lock"), say=said.append))

    assert file.is_file()
    assert "is pinned in the cache alone: /proc/birefnet.lock: can't be written" in said[-1]


def test_locked_refuses_what_is_not_pinned_and_takes_what_is(hub, commit):
    with pytest.raises(PinError, match=r"not pinned in birefnet.lock.*--locked"):
        get(how=FetchOptions(locked=True))
    assert hub.requests == []
    file = get(f"{REPO}@{commit}", FetchOptions(locked=True))

    assert file.read_bytes() == MODEL
    assert not Path("birefnet.lock").exists()


def test_precisions_lie_side_by_side_and_another_revision_of_the_same_is_the_same(hub, commit):
    fp16, fp32 = get(f"{REPO}:fp16"), get()
    hub.requests.clear()

    assert fp16.name == "model_fp16.onnx"
    assert get(f"{REPO}@{commit}") == fp32
    assert [path for _, path, _ in hub.requests if "resolve" in path] == []
    assert get(f"{REPO}:fp16") == fp16


def test_a_file_that_is_named_by_its_address_is_the_hubs(hub, commit):
    file = get(f"{hub.url}/{REPO}/resolve/main/onnx/model_fp16.onnx")

    assert (file.parent.parent / "preprocessor_config.json").read_bytes() == PROCESSOR
    assert f"{REPO}@main:onnx/model_fp16.onnx" in read_lock(Path("birefnet.lock"))


URL = "/releases/download/v0.0.0/BiRefNet-lite.onnx"


def test_an_onnx_on_some_server_is_fetched_once_pinned_and_opened_offline(
    hub, monkeypatch, tmp_path
):
    hub.files[URL] = graph()
    file = get(hub.url + URL)
    pin = read_lock(Path("birefnet.lock"))[hub.url + URL]

    assert (file.name, file.read_bytes()) == ("BiRefNet-lite.onnx", graph())
    assert (pin.commit, pin.sha256) == (None, hashlib.sha256(graph()).hexdigest())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get(hub.url + URL) == file
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.files[URL] = graph(padding=3)
    assert get(hub.url + URL) == file
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "another"))
    with pytest.raises(PinError, match=r"birefnet.lock pins: sha256 .* --update"):
        get(hub.url + URL)
    assert get(hub.url + URL, FetchOptions(update=True)).read_bytes() == graph(padding=3)


def test_content_that_was_refused_is_not_what_a_later_run_finds(hub, monkeypatch, tmp_path):
    hub.files[URL] = graph()
    right = get(hub.url + URL).read_bytes()
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "another"))
    hub.files[URL] = graph(padding=3)
    with pytest.raises(PinError):
        get(hub.url + URL)

    hub.files[URL] = graph()
    assert get(hub.url + URL).read_bytes() == right


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        (HubFile("x", 3, hashlib.sha256(b"abc").hexdigest()), None),
        (HubFile("x", 3, git_sha1="f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"), None),
        (HubFile("x", 4), "3 bytes"),
        (HubFile("x", 2), "3 bytes"),
        (HubFile("x", 3, "0" * 64), "0000"),
        (HubFile("x", 3, git_sha1="0" * 40), "0000"),
    ],
)
def test_a_file_is_held_against_size_and_hash_of_the_listing(tmp_path, listed, problem):
    (tmp_path / "x").write_bytes(b"abc")

    found = listed.problem(tmp_path / "x")

    assert found is None if problem is None else problem in found


def test_weights_beside_an_onnx_on_some_server_come_too(hub):
    hub.files[URL] = graph("BiRefNet-lite.onnx.data")
    hub.files[f"{URL}.data"] = DATA

    assert get(hub.url + URL).with_name("BiRefNet-lite.onnx.data").read_bytes() == DATA


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub, commit):
    hub.failure = Failure(cut_at=3000, times=3)  # the graph is shorter than that

    assert get().with_name("model.onnx_data").read_bytes() == DATA
    ranges = [asked for _, path, asked in hub.requests if asked and "/blobs/" in path]
    assert ranges == ["bytes=3000-", "bytes=6000-"]


def test_what_was_killed_goes_on_where_it_was(hub, commit):
    def stop(have, total):
        if have == len(DATA):
            raise KeyboardInterrupt

    hub.failure = Failure(cut_at=3000, times=1)
    with pytest.raises(KeyboardInterrupt):
        get(how=FetchOptions(progress=stop))
    hub.failure = Failure()
    hub.requests.clear()

    assert get().with_name("model.onnx_data").read_bytes() == DATA
    assert f"/{REPO}/resolve/{commit}/onnx/model.onnx" not in fetched(hub)  # that was whole


def test_a_file_without_a_length_and_with_a_slow_start_comes(hub, commit):
    hub.failure = Failure(length="")

    assert get().read_bytes() == MODEL


def test_damaged_content_is_no_model(hub, commit):
    hub.failure = Failure(corrupt=True)

    with pytest.raises(FetchError, match=r"hash \w{64}, and the hub"):
        get()
    hub.failure = Failure()
    assert get().read_bytes() == MODEL


def test_a_small_file_is_checked_by_the_hash_of_git(hub, commit, monkeypatch):
    real = hub.repo(REPO).commits[commit]

    class Lying(dict):
        def __getitem__(self, name):
            return b"{}      " if name == "preprocessor_config.json" else super().__getitem__(name)

    hub.repo(REPO).commits[commit] = Lying(real)
    with pytest.raises(FetchError, match=r"preprocessor_config.json: .* has (8 bytes|the)"):
        get()


def test_a_listing_without_hashes_is_made_up_for_by_headers(hub, commit, monkeypatch):
    monkeypatch.setattr(hub_server, "sibling", lambda name, _: {"rfilename": name})
    hub.failure = Failure(corrupt=True)
    with pytest.raises(FetchError, match=r"hash \w{64}, and the hub"):
        get()
    hub.failure = Failure()

    assert get().read_bytes() == MODEL


def test_content_that_changed_under_the_pin_is_refused_with_both_hashes(hub, commit, tmp_path):
    get()
    lock = Path("birefnet.lock")
    pinned = json.loads(lock.read_text())
    pinned["pins"][f"{REPO}@main:onnx"]["sha256"] = "0" * 64
    lock.write_text(json.dumps(pinned))

    with pytest.raises(PinError, match=rf"sha256 \w{{64}}, pinned is {'0' * 64}; move the pin"):
        get()


def test_a_token_goes_to_the_hub_alone(hub, commit, monkeypatch):
    hub.repo(REPO).access = "private"
    with pytest.raises(AccessError, match=r"no such repository.* HF_TOKEN"):
        get()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    hub.requests.clear()
    hub.authorizations.clear()

    assert get().read_bytes() == MODEL
    sent = dict(zip((path for _, path, _ in hub.requests), hub.authorizations, strict=True))
    assert {token for path, token in sent.items() if "/blobs/" in path} == {None}
    assert {token for path, token in sent.items() if "/blobs/" not in path} == {
        f"Bearer {hub.token}"
    }


def test_a_login_that_was_stored_counts_and_a_url_elsewhere_never_gets_it(hub, commit, monkeypatch):
    Path(os.environ["HF_HOME"]).mkdir()
    Path(os.environ["HF_HOME"], "token").write_text(f"{hub.token}\n")
    hub.repo(REPO).access = "private"
    hub.files[URL] = graph()

    assert get().read_bytes() == MODEL
    hub.authorizations.clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    get(hub.url + URL)
    assert hub.authorizations == [None]


def test_a_token_that_is_none_is_not_shown(hub, commit, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret\r\nX-Evil: 1")

    with pytest.raises(AccessError, match=r"HF_TOKEN holds characters") as caught:
        get()
    assert "secret" not in str(caught.value)


def test_a_gated_repository_says_what_to_do(hub, commit):
    hub.repo(REPO).access = "gated"

    with pytest.raises(AccessError, match=r"is gated; .* log in"):
        get()


@pytest.mark.parametrize(
    ("typed", "error", "says"),
    [
        ("nobody/nothing", AccessError, "no such repository, or it is private"),
        (f"{REPO}@v9", FetchError, "has no such revision"),
        (f"{REPO}:int4", FetchError, "holds no graph in int4; it holds onnx/model.onnx"),
    ],
)
def test_what_is_not_there_is_one_line(hub, commit, typed, error, says):
    with pytest.raises(error, match=says) as caught:
        get(typed)
    assert "\n" not in str(caught.value)
    assert not Path("birefnet.lock").exists()


@pytest.mark.parametrize(
    ("failure", "error", "says"),
    [
        (Failure(status=503), FetchError, "failed .HTTP 503.; try again later"),
        (Failure(status=403), AccessError, "refuses access .HTTP 403"),
        (Failure(page=True), FetchError, "does not answer as a hub does; check HF_ENDPOINT"),
    ],
)
def test_a_hub_that_fails_is_one_line(hub, commit, failure, error, says):
    hub.failure = failure

    with pytest.raises(error, match=says):
        get()


def test_offline_and_without_a_hub_nothing_is_there(hub, commit, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OfflineError, match=r"not in .* http://127.0.0.1:9 can't"):
        get()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"HF_HUB_OFFLINE forbids"):
        get()


@pytest.mark.parametrize("place", ["../../etc/passwd", "/etc/passwd", "sub/w.bin", "..", "a\\b"])
def test_a_graph_whose_weights_lie_elsewhere_is_refused(hub, place):
    hub.repo(REPO).commit({"onnx/model.onnx": graph(place), "etc/passwd": b"x"})

    with pytest.raises(FetchError, match=r"its weights in .* file"):
        get()


@pytest.mark.parametrize("name", ["../model.onnx", "/onnx/model.onnx", "onnx/..\\..\\x.onnx"])
def test_a_listed_name_that_leads_out_of_the_repository_is_none(hub, name):
    hub.repo(REPO).commit({name: graph()})

    with pytest.raises(FetchError, match=r"no .onnx; it holds nothing"):
        get()


def test_weights_that_are_not_listed_are_missed_by_name(hub):
    hub.repo(REPO).commit({"onnx/model.onnx": graph("model.onnx_data")})

    with pytest.raises(FetchError, match=r"onnx/model.onnx_data, not listed"):
        get()


def test_what_is_no_onnx_is_not_kept(hub):
    hub.repo(REPO).commit({"onnx/model.onnx": b"version https://git-lfs.github.com/spec/v1"})

    with pytest.raises(FetchError, match=r"model.onnx is not an ONNX"):
        get()
    assert not list(Path(os.environ["BIREFNET_CACHE"]).rglob("*.onnx"))


def test_a_model_with_terms_asks_for_consent_before_it_is_fetched(hub):
    hub.repo("briaai/RMBG-2.0").commit(FILES)
    url = f"{hub.url}/briaai/RMBG-2.0/resolve/main/onnx/model.onnx"

    with pytest.raises(LicenseError, match=r"non-commercial use only.*--accept-license"):
        get(url)
    assert get(url, FetchOptions(accept_license=True)).is_file()
    assert get(url).is_file()


def test_a_proxy_is_used_as_usual(hub, commit, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", hub.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(hub, "storage", "http://storage.invalid")
    close_session()  # the client's connections, which were made without it

    assert get().read_bytes() == MODEL
    close_session()


def test_threads_that_want_the_same_fetch_it_once(hub, commit):
    files: list[Path] = []
    threads = [threading.Thread(target=lambda: files.append(get())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(files)) == 1
    assert len(files) == 6
    assert [
        path for path in fetched(hub) if path.endswith("resolve/" + commit + "/onnx/model.onnx")
    ]
    assert sum("/onnx/model.onnx" in path and path.endswith(".onnx") for path in fetched(hub)) == 1


def _get_in_process(_: int) -> str:
    return str(get())


def test_processes_that_want_the_same_fetch_it_once(hub, commit):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        files = pool.map(_get_in_process, range(3), chunksize=1)

    assert len(set(files)) == 1
    assert sum(path.endswith("/onnx/model.onnx") for path in fetched(hub)) == 1


def test_what_lies_in_the_clients_cache_is_not_fetched_again(hub, commit, monkeypatch):
    for name in ("onnx/model.onnx", "onnx/model.onnx_data", "preprocessor_config.json"):
        huggingface_hub.hf_hub_download(REPO, name)  # as another program does
    hub.requests.clear()

    assert get().with_name("model.onnx_data").read_bytes() == DATA
    assert [(how, path) for how, path, _ in hub.requests] == [
        ("GET", f"/api/models/{REPO}/revision/main")
    ]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("BIREFNET_CACHE", os.environ["BIREFNET_CACHE"] + "-another")
    Path("birefnet.lock").unlink()
    assert get().read_bytes() == MODEL
    assert read_lock(Path("birefnet.lock"))[f"{REPO}@main:onnx"].commit == commit


def test_what_was_fetched_lies_in_the_clients_cache_as_the_same_file(hub, commit, monkeypatch):
    weights = get().with_name("model.onnx_data")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    theirs = Path(huggingface_hub.hf_hub_download(REPO, "onnx/model.onnx_data"))
    assert theirs.samefile(weights)


def test_every_request_is_known_and_says_nothing_of_the_machine(hub, commit, monkeypatch):
    monkeypatch.setenv("AI_AGENT", "some-agent")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    level = logging.getLogger("huggingface_hub").level
    get(f"{REPO}:fp16")

    name, storage = f"/{REPO}/resolve/%s/onnx/model_fp16.onnx", "/blobs/"
    blob = hashlib.sha256(FILES["onnx/model_fp16.onnx"]).hexdigest()
    small = f"/{REPO}/resolve/%s/preprocessor_config.json"
    assert [(how, path) for how, path, _ in hub.requests] == [
        ("GET", f"/api/models/{REPO}/revision/main"),
        ("GET", name % commit),
        ("GET", storage + blob),
        ("HEAD", name % "main"),
        ("GET", small % commit),
        ("HEAD", small % "main"),
    ]
    for headers in hub.headers:
        assert re.fullmatch(r"birefnet-ort[\w./; -]*", headers["user-agent"])
        assert "torch" not in headers["user-agent"]
        assert "agent" not in headers["user-agent"]
    assert constants.HF_HUB_DISABLE_TELEMETRY is False
    assert logging.getLogger("huggingface_hub").level == level
