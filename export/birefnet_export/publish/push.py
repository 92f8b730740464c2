"""Put an export onto the hub, through the hub's own client."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.base.errors import AccessError, FetchError, OfflineError
from birefnet_models.base.hashes import CHECKSUMS
from birefnet_models.base.names import PREPROCESSOR_FILE, REPOSITORY
from birefnet_models.base.text import first_line, printable
from birefnet_models.download import offline
from birefnet_models.hub import discreet, explained, list_files
from birefnet_models.pins import FetchOptions
from birefnet_models.reference import endpoint
from huggingface_hub import CommitOperationAdd, HfApi, get_token

from ..errors import ExportError
from ..metadata import hub_config
from .model_card import CARD_MARK, CardGraph, card_graphs, model_card

_CARD = "README.md"
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Destination:
    """A repository that may be pushed to, as far as can be known before."""

    repo: str
    private: bool = False
    """A repository that is made for it is private, and one that is public is refused."""


def checked_destination(repo: str, *, private: bool = False) -> Destination:
    """Find out whether anything can be pushed, before it is made.

    Raises:
        ExportError: `repo` is not a name of a repository.
        OfflineError: the network must not be used, or the hub can't be reached.
        AccessError: nobody is logged in, or with a token that may only read.
    """
    if not REPOSITORY.fullmatch(repo):
        raise ExportError(f"--push {printable(repo)}: is not a repository; give OWNER/NAME")
    if offline():
        raise OfflineError(f"--push {repo}: HF_HUB_OFFLINE forbids it")
    if not get_token():
        raise AccessError(
            f"--push {repo}: nobody is logged in; `hf auth login` with a token that may write, or "
            "set HF_TOKEN"
        )
    with explained(f"--push {repo}"), discreet():
        user = _api().whoami()
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise AccessError(f"--push {repo}: the token may only read; use one that may write")
    return Destination(repo, private)


def push(
    directory: Path, destination: Destination, say: Callable[[str], None] | None = None
) -> str:
    """Push the graphs of an export directory, with their card, as one commit.

    The repository is made if it isn't there. A README.md or config.json that it has from elsewhere
    stays as it is.

    Args:
        directory: as `birefnet export` writes it; other files in it stay here.
        destination: from `checked_destination`.
        say: called with a line for what was left alone.

    Returns:
        The address of the commit.

    Raises:
        ExportError: the directory holds no graph of ours, or the repository is public and was to be
            private.
        AccessError: the token may not write there.
        FetchError: the hub can't be reached, or fails.
    """
    graphs = card_graphs(directory)
    if not graphs:
        raise ExportError(f"{directory}: holds no graph that birefnet export made")
    what = f"--push {destination.repo}"
    try:
        with explained(what), discreet():
            return _commit(directory, destination, graphs, say)
    except FetchError as error:
        raise type(error)(f"{error}; the export is whole, in {directory}") from error
    except (RuntimeError, ValueError) as error:  # what the client has no class for
        cause = first_line(error.__cause__ or error)
        raise FetchError(f"{what}: {cause}; the export is whole, in {directory}") from error


def _commit(
    directory: Path,
    destination: Destination,
    graphs: Sequence[CardGraph],
    say: Callable[[str], None] | None,
) -> str:
    api, repo = _api(), destination.repo
    api.create_repo(repo, private=destination.private or None, exist_ok=True)
    info = api.model_info(repo)
    if destination.private and not info.private:
        raise ExportError(f"--push {repo}: the repository is public; nothing was pushed there")
    there = {entry.rfilename for entry in info.siblings or ()}
    files = _files(directory, graphs)
    for name in _foreign(repo, str(info.sha), there):
        files.pop(name, None)
        if say:
            say(f"{repo} has a {name} of its own, which stays as it is")
    if _CARD in files:
        graphs_there = (n for n in there if n.startswith("onnx/") and n.endswith(".onnx"))
        others = sorted(set(graphs_there) - {graph.path for graph in graphs})
        files[_CARD] = model_card(repo, graphs, others).encode()
    commit = api.create_commit(
        repo,
        [CommitOperationAdd(name, content) for name, content in files.items()],
        commit_message=f"ONNX export: {', '.join(graph.precision for graph in graphs)}",
    )
    return str(commit.commit_url)


def _api() -> HfApi:
    return HfApi(endpoint=endpoint(), library_name="birefnet-ort")


def _files(directory: Path, graphs: Sequence[CardGraph]) -> dict[str, Path | bytes]:
    """What is pushed, by its path in the repository; the card's text follows."""
    files: dict[str, Path | bytes] = {_CARD: b""}
    for name in (_CONFIG, PREPROCESSOR_FILE, f"onnx/{CHECKSUMS}"):
        if (directory / name).is_file():
            files[name] = directory / name
    for graph in graphs:
        for name in (graph.path, *(f"onnx/{weights}" for weights in graph.external)):
            files[name] = directory / name
    return files


def _foreign(repo: str, commit: str, there: set[str]) -> list[str]:
    """Which of the files that would be replaced somebody else has written."""
    foreign = []
    if _CARD in there and CARD_MARK not in _text(repo, commit, _CARD):
        foreign.append(_CARD)
    if _CONFIG in there and not _is_ours(_text(repo, commit, _CONFIG)):
        foreign.append(_CONFIG)
    return foreign


def _text(repo: str, commit: str, name: str) -> str:
    file = list_files(repo, commit).fetch(name, FetchOptions())
    return file.read_text(encoding="utf-8", errors="replace")


def _is_ours(text: str) -> bool:
    """Whether a config.json is one that an export writes."""
    try:
        content = json.loads(text)
    except ValueError:
        return False
    variants = (hub_config(None, external_data=external) for external in (False, True))
    return content in [variant[_CONFIG] for variant in variants]
