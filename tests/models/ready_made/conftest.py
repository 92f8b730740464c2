"""A hub on loopback with a model whose weights lie beside it, and graphs made by hand."""

import pytest

from ...hub_server import Failure, serving


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def graph(*weights_in: str, padding: int = 0) -> bytes:
    """An ONNX file whose tensors lie in these files beside it."""
    tensors = b""
    for place in weights_in:
        entry = field(1, b"location") + field(2, place.encode())
        tensors += field(5, field(8, b"w") + field(13, entry) + field(14, 1))
    name = field(2, bytes(padding))
    return field(1, 9) + field(7, tensors + name)


@pytest.fixture(scope="session")
def server():
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The hub, with nothing on it; an empty cache, nobody logged in, a working directory."""
    server.failure = Failure()
    server.after_listing = None
    server.repos.clear()
    server.files.clear()
    server.requests.clear()
    server.authorizations.clear()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return server
