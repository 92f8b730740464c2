import socket

import pytest
from birefnet_apps.cli import serve as command
from birefnet_apps.cli.main import main
from birefnet_apps.serve.access import log
from birefnet_apps.serve.settings import Proxies
from click.testing import CliRunner


@pytest.fixture
def started(monkeypatch, model):
    """What the command starts a server with."""
    calls = []

    def serve(segmenter, settings, name, opened, signals):
        calls.append((segmenter, settings, name, opened[0].getsockname()))

    monkeypatch.setattr(command, "serve", serve)
    return calls


def invoke(*arguments, **variables):
    environment = {f"BIREFNET_SERVE_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(main, ["serve", "--port", "0", *map(str, arguments)], env=environment)


def test_options_reach_the_server(started, model, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("# ours\nfirst\n\nsecond\n")

    done = invoke(
        *("--model", model, "--queue", 3, "--max-megapixels", 12, "--max-upload", "2MB"),
        *("--timeout", 9, "--api-key-file", keys, "--no-page", "--batch", 4),
        *("--allow-origin", "https://a.example", "--allow-origin", "https://b.example"),
    )

    assert done.exit_code == 0, done.output
    ((_, settings, name, address),) = started
    assert (settings.queue, settings.max_pixels, settings.batch) == (3, 12_000_000, 4)
    assert (settings.max_upload_bytes, settings.timeout_s) == (2_000_000, 9)
    assert settings.keys == (b"first", b"second")
    assert settings.origins == ("https://a.example", "https://b.example")
    assert (settings.page, name, address[0]) == (False, "brightness", "127.0.0.1")


def test_every_option_is_read_from_the_environment(started, model, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("key\n")

    done = invoke(
        MODEL=str(model),
        QUEUE="5",
        NO_PAGE="1",
        API_KEY_FILE=str(keys),
        ALLOW_ORIGIN="https://a.example https://b.example",
        MAX_UPLOAD="1MB",
        SIZE="96",
    )

    assert done.exit_code == 0, done.output
    ((segmenter, settings, _, _),) = started
    assert (settings.queue, settings.page, settings.keys) == (5, False, (b"key",))
    assert settings.origins == ("https://a.example", "https://b.example")
    assert (settings.max_upload_bytes, segmenter.model_size((9, 9))) == (1_000_000, (96, 96))


def test_there_is_no_option_for_a_key_itself():
    names = {name for option in command.serve_command.params for name in option.opts}

    assert {name for name in names if "key" in name} == {"--api-key-file"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "the keys can't be read: no such file or directory"),
        ("\n# nothing\n", "holds no key"),
        ("schlüssel\n", "can't be sent in a header"),
        (b"\xff\n", "it is not utf-8 text"),
    ],
)
def test_a_file_without_keys_is_refused(started, tmp_path, content, said):
    keys = tmp_path / "keys.txt"
    if content is not None:
        keys.write_bytes(content if isinstance(content, bytes) else content.encode())

    done = invoke("--api-key-file", keys)

    assert (done.exit_code, started) == (1, [])
    assert done.output.startswith(f"birefnet: {keys}: ")
    assert said in done.output
    assert done.output.count("\n") == 1


def test_a_port_in_use_is_one_line(started):
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = invoke("--port", other.getsockname()[1])

    assert (done.exit_code, started) == (1, [])
    assert done.output.startswith("birefnet: 127.0.0.1, port ")
    assert "can't listen there: address already in use" in done.output
    assert done.output.count("\n") == 1


def test_no_such_host_is_one_line(started):
    done = invoke("--host", "no.such.host.invalid")

    assert done.exit_code == 1
    assert "can't listen there" in done.output


@pytest.mark.parametrize(
    ("host", "key", "warned"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
def test_an_open_server_is_warned_of(started, model, tmp_path, monkeypatch, host, key, warned):
    lines: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *_: lines.append(text))
    (tmp_path / "keys.txt").write_text("key")
    keys = ("--api-key-file", tmp_path / "keys.txt") if key else ()

    assert invoke("--model", model, "--host", host, *keys).exit_code == 0

    assert any("without a key" in line for line in lines) == warned


def test_a_limit_of_memory_is_for_single_pictures(started):
    done = invoke("--max-memory", "1GB", "--batch", 2)

    assert done.exit_code == 2
    assert "--batch" in done.output


def test_a_unix_socket_instead_of_a_port(started, model, tmp_path):
    path = str(tmp_path / "s.sock")
    done = CliRunner().invoke(main, ["serve", "--model", str(model), "--uds", path])
    assert done.exit_code == 0, done.output
    assert started[0][3] == path

    both = CliRunner().invoke(main, ["serve", "--uds", path, "--port", "0"])
    assert (both.exit_code, "--port" in both.output) == (2, True)


def test_proxies_are_addresses(started, model):
    done = invoke("--model", model, "--forwarded-allow-ips", "10.0.0.0/8, unix")
    assert done.exit_code == 0, done.output
    assert started[0][1].proxies == Proxies.parse("10.0.0.0/8,unix")

    wrong = invoke("--forwarded-allow-ips", "proxy.example")
    assert (wrong.exit_code, "proxy.example" in wrong.output) == (2, True)
