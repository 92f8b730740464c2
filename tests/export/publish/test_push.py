"""Pushing to a hub on loopback, through the hub's own client: real requests, real commits."""

import json

import pytest
from birefnet_export.cli.export import export
from birefnet_export.errors import ExportError
from birefnet_export.publish.model_card import CARD_MARK
from birefnet_export.publish.push import Destination, checked_destination, push
from birefnet_models import AccessError, FetchError, OfflineError
from click.testing import CliRunner
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import disable_progress_bars

# Of the hub's client, when it sends a commit.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "me/tiny-ONNX"


@pytest.fixture(autouse=True)
def logged_in(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's retries
    disable_progress_bars()


def files(hub, repo: str = REPO) -> dict[str, bytes]:
    return hub.repos[repo].commits[hub.repos[repo].branches["main"]]


@pytest.mark.slow
def test_an_export_goes_up_and_comes_back_as_a_model(hub, directory):
    from birefnet_runtime.model.locate import find_model

    url = push(directory, checked_destination(REPO, private=True))

    assert url.startswith(f"{hub.url}/{REPO}/commit/")
    assert hub.repos[REPO].access == "private"
    assert set(files(hub)) == {
        *(".gitattributes", "README.md", "config.json", "preprocessor_config.json"),
        *("onnx/SHA256SUMS", "onnx/model.onnx", "onnx/model.onnx_data"),
    }
    assert CARD_MARK in files(hub)["README.md"].decode()
    assert "externalData: ['model.onnx_data']" in files(hub)["README.md"].decode()
    found = find_model(REPO).path
    for name in ("model.onnx", "model.onnx_data"):
        assert found.with_name(name).read_bytes() == (directory / "onnx" / name).read_bytes()


def test_a_checkpoint_beside_it_is_exported_with_the_size_that_was_pushed(hub, directory, tiny):
    from birefnet_export.checkpoint.fetch import fetch
    from birefnet_export.checkpoint.read import read_fetched

    push(directory, Destination(REPO))
    weights = (directory.parent / "model.safetensors").read_bytes()
    hub.repo(REPO).commit({**files(hub), "model.safetensors": weights})

    checkpoint = read_fetched(fetch(REPO))
    assert checkpoint.trained_size == (96, 160)
    assert checkpoint.arch == tiny.arch


def test_a_repository_without_weights_says_what_it_is_for(hub, directory):
    from birefnet_export.checkpoint.fetch import fetch

    push(directory, Destination(REPO))

    with pytest.raises(FetchError, match=f"birefnet cutout --model {REPO}"):
        fetch(REPO)


def test_a_second_push_replaces_what_the_first_brought(hub, directory):
    push(directory, Destination(REPO))
    first = hub.repos[REPO].branches["main"]
    hub.repo(REPO).commit({**files(hub), "README.md": f"{CARD_MARK} old".encode(), "x": b"theirs"})
    push(directory, Destination(REPO))

    assert b"# tiny-ONNX" in files(hub)["README.md"]
    assert files(hub)["x"] == b"theirs"
    assert hub.repos[REPO].branches["main"] != first


def test_the_same_push_again_takes_nothing_for_somebody_elses(hub, directory, monkeypatch):
    asked, said = [], []
    real = HfApi.create_repo
    monkeypatch.setattr(
        HfApi, "create_repo", lambda *given, **named: (asked.append(named), real(*given, **named))
    )

    for _ in range(2):
        push(directory, Destination(REPO), said.append)

    assert said == []
    assert b"Also here" not in files(hub)["README.md"]
    # An organization may have new repositories private by default: None leaves it that.
    assert [named["private"] for named in asked] == [None, None]


def test_what_somebody_else_wrote_stays_and_is_said(hub, directory):
    theirs = {"README.md": b"# My model", "config.json": b'{"auto_map": {}}'}
    hub.repo(REPO).commit(theirs)
    said = []

    push(directory, Destination(REPO), said.append)

    assert {name: files(hub)[name] for name in theirs} == theirs
    assert "onnx/model.onnx" in files(hub)
    assert said == [f"{REPO} has a {n} of its own, which stays as it is" for n in theirs]


def test_a_public_repository_is_not_private(hub, directory):
    hub.repo(REPO).commit({"README.md": b""})

    with pytest.raises(ExportError, match="public; nothing was pushed"):
        push(directory, Destination(REPO, private=True))
    assert set(files(hub)) == {"README.md"}


def test_a_refusal_leaves_the_export_and_says_where(hub, directory):
    hub.read_only = True

    with pytest.raises(AccessError, match=r"HTTP 403.*; the export"):
        push(directory, Destination(REPO))
    assert (directory / "onnx" / "model.onnx").is_file()


def test_a_folder_without_an_export_is_none(hub, tmp_path):
    with pytest.raises(ExportError, match="no graph that birefnet"):
        push(tmp_path, Destination(REPO))


@pytest.mark.parametrize(
    ("repo", "environment", "error", "says"),
    [
        (REPO, {"HF_TOKEN": ""}, AccessError, "nobody is logged in; `hf auth login` with a token"),
        (REPO, {"HF_TOKEN": "hf_wrong"}, FetchError, "HTTP 401|no such repository"),
        (REPO, {"HF_HUB_OFFLINE": "1"}, OfflineError, "HF_HUB_OFFLINE forbids it"),
        ("tiny", {}, ExportError, "is not a repository; give OWNER/NAME"),
        ("a/b/../c", {}, ExportError, "is not a repository; give OWNER/NAME"),
    ],
)
def test_what_can_not_work_is_refused_before_the_export_begins(
    hub, tmp_path, monkeypatch, repo, environment, error, says
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(error, match=says):
        checked_destination(repo)
    done = CliRunner().invoke(export, ["no-such-checkpoint", "--push", repo])
    assert isinstance(done.exception, error)
    assert not (tmp_path / "cache").exists()


def test_a_token_that_may_only_read_is_refused(hub):
    hub.role = "read"

    with pytest.raises(AccessError, match="use one that may"):
        checked_destination(REPO)


def test_nothing_is_pushed_where_verification_fails_or_is_left_out(hub, tiny_file, monkeypatch):
    from birefnet_export import pipeline
    from birefnet_export.errors import ParityError

    def fails(*_):
        raise ParityError("they differ")

    monkeypatch.setattr(pipeline, "check_export", fails)
    done = CliRunner().invoke(export, [str(tiny_file), "-o", "out", "--push", REPO])
    assert isinstance(done.exception, ParityError)
    left_out = CliRunner().invoke(
        export, [str(tiny_file), "-o", "o", "--push", REPO, "--no-verify"]
    )
    assert left_out.exit_code == 2
    assert "takes verified exports alone" in left_out.output
    alone = CliRunner().invoke(export, [str(tiny_file), "-o", "o", "--private"])
    assert alone.exit_code == 2
    apart = CliRunner().invoke(export, ["lite", "--push", REPO, "--precision", "fp32,int8"])
    assert (apart.exit_code, "--output" in apart.output) == (2, True)
    assert hub.repos == {}


def test_the_command_says_where_it_is(hub, report, monkeypatch):
    monkeypatch.setattr("birefnet_export.cli.export.export_precisions", lambda *_, **__: (report,))

    done = CliRunner().invoke(export, ["x", "--push", REPO])
    where = f"{hub.url}/{REPO}/commit/{hub.repos[REPO].branches['main']}"
    last = f"pushed: {where}; birefnet cutout --model {REPO} takes it"
    assert done.output.splitlines()[-1] == last
    as_json = CliRunner().invoke(export, ["x", "--push", REPO, "--json"])
    assert json.loads(as_json.stdout)["pushed"].startswith(f"{hub.url}/{REPO}/commit/")
