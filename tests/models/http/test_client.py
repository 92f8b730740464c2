import io
from email.message import Message

import pytest
from birefnet_models import FetchError
from birefnet_models.http.client import TooSlowError, _SafeRedirects, _Watched, request_for


def redirected(start: str, there: str) -> str | None:
    request = _SafeRedirects().redirect_request(
        request_for(start), io.BytesIO(), 302, "Found", Message(), there
    )
    return request and request.full_url


def test_a_redirect_keeps_the_encryption():
    assert redirected("https://a/x", "https://b/y") == "https://b/y"
    assert redirected("http://a/x", "https://b/y") == "https://b/y"
    assert redirected("http://a/x", "http://b/y") == "http://b/y"
    with pytest.raises(FetchError, match=r"https://a/x: the server redirects to http://b/y, which"):
        redirected("https://me:secret@a/x", "http://me:secret@b/y")


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://a/x y?q=ü#part", "http://a/x%20y?q=%C3%BC"),
        ("https://bücher.example/ü%20", "https://xn--bcher-kva.example/%C3%BC%20"),
        ("http://me:p%40ss@a:80/x", "http://a:80/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_a_url_is_written_as_http_wants_it(url, plain):
    assert request_for(url).full_url == plain


def test_a_password_is_sent_as_it_was_meant():
    header = request_for("http://me:p%40ss@a/x").unredirected_hdrs["Authorization"]

    assert header == "Basic bWU6cEBzcw=="


def test_time_between_reads_is_not_the_servers(monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))  # five seconds a read
    slow = _Watched(io.BytesIO(bytes(100)), window_s=9)
    slow.readinto(bytearray(10))

    with pytest.raises(TooSlowError, match="the server sent 20 bytes in 10 s"):
        slow.readinto(bytearray(10))
    fast = _Watched(io.BytesIO(bytes(1_000_000)), window_s=9)
    for _ in range(10):
        fast.readinto(bytearray(50_001))
