"""Plain downloads against a real server on loopback."""

import errno
import shutil
import threading
import time
import types
from urllib.parse import unquote

import pytest
from birefnet_models import AccessError, FetchError, OfflineError
from birefnet_models.cache import downloads
from birefnet_models.download import download, offline

from ..hub_server import Failure, Handler

CONTENT = bytes(range(256)) * 40
PATH = "/x/releases/download/v1/BiRefNet.pth"


@pytest.fixture(autouse=True)
def release(hub):
    hub.files = {PATH: CONTENT}


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

    with pytest.raises(FetchError, match="interrupted at 3000 bytes"):
        download(hub.url + PATH)
    assert len(hub.requests) == 2
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
    with pytest.raises(OfflineError, match=r"127\.0\.0\.1:9/x: .* can't be reached"):
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
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100))
        with pytest.raises(FetchError, match=r"full: 10240 bytes .* 100 are free"):
            download(hub.url + PATH)
    monkeypatch.setenv("BIREFNET_CACHE", str(downloads()))  # another, and empty

    def full(have, total):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FetchError, match=r": No space left"):
        download(hub.url + PATH, progress=full)


def test_what_is_here_already_needs_no_room(hub, monkeypatch):
    hub.failure = Failure(cut_at=3000)
    with pytest.raises(KeyboardInterrupt):
        download(hub.url + PATH, progress=interrupt)
    hub.failure = Failure()
    rest = len(CONTENT) - 3000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=rest))

    assert download(hub.url + PATH).read_bytes() == CONTENT


def test_a_weak_validator_is_none_and_the_file_comes_anew(hub):
    hub.failure = Failure(cut_at=3000, weak=True)
    with pytest.raises(KeyboardInterrupt):
        download(hub.url + PATH, progress=interrupt)
    hub.failure = Failure(weak=True)

    assert download(hub.url + PATH).read_bytes() == CONTENT
    assert ranges(hub) == [None, None]


def test_a_server_that_closes_after_every_piece_is_given_up(hub):
    hub.failure = Failure(cut_at=100)

    with pytest.raises(FetchError, match="interrupted at 2000 bytes"):
        download(hub.url + PATH)
    assert len(hub.requests) == 20


def test_another_part_than_was_asked_for_is_refused(hub):
    hub.failure = Failure(cut_at=3000, times=1, wrong_part=True)

    with pytest.raises(FetchError, match="another part of the"):
        download(hub.url + PATH)


@pytest.mark.parametrize("length", ["-5", "1e3", "0x10", "9" * 30])
def test_a_length_that_is_no_number_is_refused(hub, length):
    hub.failure = Failure(length=length)

    with pytest.raises(FetchError, match=r"states a length of|Content-Length"):
        download(hub.url + PATH)


def test_a_file_without_a_length_ends_with_the_connection(hub):
    hub.failure = Failure(length="")

    assert download(hub.url + PATH).read_bytes() == CONTENT


def test_a_file_without_an_end_is_given_up_and_not_kept(hub):
    hub.failure = Failure(endless=True)

    with pytest.raises(FetchError, match="larger than the 1000000"):
        download(hub.url + PATH, most_bytes=1_000_000)
    assert sum(p.stat().st_size for p in downloads().rglob("*.part")) == 0


def test_a_stated_length_beyond_the_limit_is_refused_before_anything_is_stored(hub):
    hub.failure = Failure(length=str(len(CONTENT)))
    assert download(hub.url + PATH, most_bytes=len(CONTENT)).read_bytes() == CONTENT
    shutil.rmtree(downloads())

    hub.failure = Failure(length="1000001")

    with pytest.raises(FetchError, match="larger than the 1000000"):
        download(hub.url + PATH, most_bytes=1_000_000)
    assert left_over() == []


@pytest.mark.parametrize("failure", [Failure(pause_s=0.02), Failure(header_pause_s=0.02)])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(hub, failure):
    hub.failure = failure
    started = time.monotonic()

    with pytest.raises(FetchError, match=r"sent (\d+ bytes|no whole answer) in"):
        download(hub.url + PATH, timeout_s=0.5)
    assert time.monotonic() - started < 3


def test_a_user_and_a_password_go_to_their_host_alone_and_are_never_shown(hub):
    secret = hub.url.replace("://", "://me:hunter2@")
    hub.failure = Failure(redirect=hub.storage + PATH + "/elsewhere")
    hub.files[PATH + "/elsewhere"] = CONTENT

    assert download(secret + PATH).read_bytes() == CONTENT
    assert hub.authorizations == ["Basic bWU6aHVudGVyMg==", None]

    hub.failure = Failure(status=404)
    for url in (secret + "/no", "http://me:hunter2@127.0.0.1:9/x", "https://me:hunter2@[::bad/x"):
        with pytest.raises(FetchError) as caught:
            download(url)
        assert "hunter2" not in str(caught.value)
    assert not [p for p in downloads().rglob("*") if "hunter2" in str(p)]


@pytest.mark.parametrize("there", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::bad/x"])
def test_a_redirect_to_something_else_than_http_is_refused(hub, there):
    hub.failure = Failure(redirect=there)

    with pytest.raises(FetchError, match=r"not an http"):
        download(hub.url + PATH)


@pytest.mark.parametrize(
    "url",
    [
        *("https://[::bad", "http://[::1", "http:///x", "https://", "http://host:99999/x"),
        *("http://host:x/", "http://a..b/", "http://" + "a" * 70 + "/x", "file:///etc/passwd"),
        *("ftp://host/x", "http://host/\x1b[2J", "http://host/a b\n", "", "http://host:0/"),
    ],
)
def test_what_is_no_url_is_one_printable_line(hub, url):
    with pytest.raises(FetchError, match="not an http or") as caught:
        download(url)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a%1b%5B2J%0a.pth", "a__2J_.pth"),
        ("/%2e%2e", "_"),
        ("/..%2f..%2fetc%2fpasswd", "passwd"),
        ("/", "file"),
        ("/" + "x" * 300 + ".pth", "x" * 96 + ".pth"),
        ("/gew%C3%A4hlt.pth", "gewählt.pth"),
    ],
)
def test_the_name_of_the_file_is_one_that_any_system_takes(hub, path, name):
    hub.files = {unquote(path): CONTENT}

    file = download(hub.url + path)

    assert file.name == name
    assert file.parent.parent == downloads()


def test_a_redirect_in_a_circle_ends(hub):
    hub.failure = Failure(redirect=hub.url + PATH)

    with pytest.raises(FetchError, match="redirects in a circle"):
        download(hub.url + PATH)


def test_a_server_that_refuses_every_range_ends(hub):
    hub.failure = Failure(status=416)

    with pytest.raises(FetchError, match=r"failed .HTTP 416"):
        download(hub.url + PATH)


def test_a_token_goes_along_on_the_same_server_and_to_no_other(hub):
    hub.files[PATH + "/elsewhere"] = CONTENT
    for host, second in ((hub.url, "Bearer t0k"), (hub.storage, None)):
        hub.authorizations.clear()
        hub.failure = Failure(redirect=host + PATH + "/elsewhere")

        download(hub.url + PATH, anew=True, token="t0k")

        assert hub.authorizations == ["Bearer t0k", second]


def test_content_that_is_encoded_though_nobody_asked_is_refused(hub, monkeypatch):
    send = Handler.send_file

    def gzipped(self, content, headers, body):
        send(self, content, {**headers, "Content-Encoding": "gzip"}, body)

    monkeypatch.setattr(Handler, "send_file", gzipped)

    with pytest.raises(FetchError, match="encoded as 'gzip'"):
        download(hub.url + PATH)
    assert "BiRefNet.pth" not in left_over()


def test_threads_that_want_the_same_file_fetch_it_once(hub):
    hub.failure = Failure(cut_at=3000, times=2)
    files = []
    threads = [
        threading.Thread(target=lambda: files.append(download(hub.url + PATH))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [file.read_bytes() for file in files] == [CONTENT] * 4
    assert len(hub.requests) == 3
    assert left_over() == ["BiRefNet.pth"]
