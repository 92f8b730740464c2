"""Plain downloads against a real server on loopback."""

import errno
import shutil
import types

import pytest
from birefnet_models import AccessError, FetchError, OfflineError
from birefnet_models.cache import downloads
from birefnet_models.download import download, offline

from ..hub_server import Failure, serving

CONTENT = bytes(range(256)) * 40
PATH = "/x/releases/download/v1/BiRefNet.pth"


@pytest.fixture(scope="module")
def server():
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server.failure = Failure()
    server.files = {PATH: CONTENT}
    server.requests.clear()
    return server


def ranges(hub) -> list[str | None]:
    return [asked for _, _, asked in hub.requests]


def left_over() -> list[str]:
    return sorted(p.name for p in downloads().rglob("*") if p.is_file())


def test_a_file_is_fetched_once_and_anew_when_asked(hub):
    file = download(hub.url + PATH)

    assert file.name == "BiRefNet.pth"
    assert file.read_bytes() == CONTENT
    assert download(hub.url + PATH) == file
    assert len(hub.requests) == 1
    hub.files[PATH] = b"changed"
    assert download(hub.url + PATH).read_bytes() == CONTENT
    assert download(hub.url + PATH, anew=True).read_bytes() == b"changed"
    assert left_over() == ["BiRefNet.pth"]


def test_progress_is_reported(hub):
    reports = []

    download(hub.url + PATH, progress=lambda have, total: reports.append((have, total)))

    assert reports[-1] == (len(CONTENT), len(CONTENT))


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub):
    hub.failure = Failure(cut_at=3000, times=2)

    assert download(hub.url + PATH).read_bytes() == CONTENT
    assert ranges(hub) == [None, "bytes=3000-", "bytes=6000-"]


def test_an_interrupted_download_is_no_model_and_the_next_goes_on(hub):
    hub.failure = Failure(cut_at=3000, times=1)
    real, hub.failure.status = hub.failure, None

    def stop(have, total):
        if have >= 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(hub.url + PATH, progress=stop)
    assert left_over() == ["BiRefNet.pth.part", "BiRefNet.pth.part.json"]
    real.times = 0
    hub.requests.clear()

    assert download(hub.url + PATH).read_bytes() == CONTENT
    assert ranges(hub) == ["bytes=3000-"]
    assert left_over() == ["BiRefNet.pth"]


def test_a_file_that_changed_meanwhile_is_not_patched_together(hub):
    hub.failure = Failure(cut_at=3000)
    with pytest.raises(KeyboardInterrupt):
        download(hub.url + PATH, progress=interrupt)
    hub.failure = Failure()
    hub.files[PATH] = bytes(9000)

    assert download(hub.url + PATH).read_bytes() == bytes(9000)


def interrupt(have, total):
    raise KeyboardInterrupt


def test_a_part_longer_than_the_file_starts_anew(hub):
    hub.failure = Failure(cut_at=3000)
    with pytest.raises(KeyboardInterrupt):
        download(hub.url + PATH, progress=interrupt)
    (part,) = downloads().rglob("*.part")
    part.write_bytes(bytes(len(CONTENT) + 5))
    hub.failure = Failure()

    assert download(hub.url + PATH).read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_the_whole_again(hub):
    hub.failure = Failure(cut_at=3000, times=1, ignore_range=True)

    assert download(hub.url + PATH).read_bytes() == CONTENT


def test_a_server_that_never_sends_it_all_is_an_error_and_no_file(hub):
    hub.failure = Failure(cut_at=3000, ignore_range=True)

    with pytest.raises(FetchError, match="interrupted at 3000 bytes; the same command goes on"):
        download(hub.url + PATH)
    assert "BiRefNet.pth" not in left_over()


@pytest.mark.parametrize(
    ("failure", "error", "says"),
    [
        (Failure(page=True), FetchError, "sent an HTML page in place of the file"),
        (Failure(status=401), AccessError, "refuses access .HTTP 401"),
        (Failure(status=403), AccessError, "refuses access .HTTP 403"),
        (Failure(status=404), FetchError, "no such file"),
        (Failure(status=503), FetchError, "failed .HTTP 503.; try again later"),
    ],
)
def test_what_goes_wrong_is_one_line_that_names_the_url(hub, failure, error, says):
    hub.failure = failure

    with pytest.raises(error, match=says) as caught:
        download(hub.url + PATH)
    assert hub.url + PATH in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left_over() in ([], ["BiRefNet.pth.part.json"])


def test_no_network_is_said(hub):
    with pytest.raises(OfflineError, match=r"127\.0\.0\.1:9/x: the server can't be reached"):
        download("http://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)]
)
def test_offline_is_what_the_hubs_client_takes_it_for(value, expected):
    assert offline({"HF_HUB_OFFLINE": value}) is expected


def test_offline_uses_what_is_there_and_asks_for_nothing(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE forbids"):
        download(hub.url + PATH)
    assert hub.requests == []

    monkeypatch.delenv("HF_HUB_OFFLINE")
    file = download(hub.url + PATH)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert download(hub.url + PATH) == file


def test_a_full_disk_is_known_before_and_said_during(hub, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100))
    with pytest.raises(FetchError, match=r"disk is full: 10240 bytes are needed .* 100 are free"):
        download(hub.url + PATH)
    monkeypatch.undo()
    monkeypatch.setenv("BIREFNET_CACHE", str(downloads()))

    def full(have, total):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FetchError, match=r"can't be stored in .*: No space left on device"):
        download(hub.url + PATH, progress=full)
