"""What a user means by a model that lies elsewhere, and which file of a repository that is.

A repository of the hub, or a URL; of a ready-made `.onnx`, or of a checkpoint.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote

from .base.errors import FetchError, OnlyCheckpointError
from .base.names import (
    CHECKPOINT_SUFFIXES,
    PREPROCESSOR_FILE,
    REPOSITORY,
    choose_weights,
    file_name,
    stays_inside,
)
from .base.text import printable, shortened, shown_url, split_url
from .zoo import RELEASE_URL, ModelCard, all_cards, lookup

PUBLIC_HUB = "https://huggingface.co"
DEFAULT_REVISION = "main"
_TYPED = re.compile(
    rf"(?P<repo>{REPOSITORY.pattern})(?:@(?P<revision>\w[\w./-]*))?(?::(?P<precision>[\w-]+))?"
)
_FILE_PAGE = re.compile(r"/([^/]+/[^/]+)/(?:resolve|blob|raw)/([^/]+)/(.+)")
"""Path of a file's address on the hub: repository, revision, file."""
_REPO_PAGE = re.compile(r"/([^/]+/[^/]+?)(?:/tree/([^/]+))?/?")
"""Path of a repository's address on the hub: repository, revision."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """A graph or a checkpoint of a repository on the hub, at a branch, a tag or a commit."""

    repo: str
    revision: str = DEFAULT_REVISION
    precision: str | None = None
    """Of a graph; None: the exact one, or the only one."""
    file: str | None = None
    """Its path in the repository, where that was given."""
    is_checkpoint: bool = False

    @property
    def reference(self) -> str:
        """What the lock file calls it."""
        file = self.file or ("" if self.is_checkpoint else self.precision or "onnx")
        return f"{self.repo}@{self.revision}{':' if file else ''}{file}"

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit in full, which can't come to mean something else."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None

    @property
    def card(self) -> ModelCard | None:
        """What the zoo knows about the repository."""
        return lookup(self.repo)

    @property
    def name(self) -> str:
        """What an export of it is called in the cache: the zoo's name, or the repository."""
        return self.card.name if self.card else self.repo


@dataclass(frozen=True, slots=True)
class UrlModel:
    """A graph or a checkpoint on some web server."""

    url: str
    """With a user's name and password, if they were given."""
    is_commit: bool = False

    @property
    def reference(self) -> str:
        """What the lock file and messages call it: the URL without a name and a password."""
        return shown_url(self.url)

    @property
    def file(self) -> str:
        """The file's name."""
        return file_name(split_url(self.url).path)

    @property
    def card(self) -> ModelCard | None:
        """What the zoo knows about the file, if it is one of upstream's release."""
        for card in all_cards():
            if card.release_file and self.url == RELEASE_URL + card.release_file:
                return card
        return None

    @property
    def name(self) -> str:
        """What an export of it is called in the cache: the zoo's name, or the file's."""
        return self.card.name if self.card else PurePosixPath(self.file).stem


Remote: TypeAlias = HubModel | UrlModel


def parse_reference(text: str) -> Remote | None:
    """Read `OWNER/NAME[@REVISION][:PRECISION]`, or a URL; None where it is neither.

    Raises:
        FetchError: a URL, but not one of a repository of the hub or of an `.onnx`.
    """
    if re.match(r"https?://", text, re.IGNORECASE):
        return _from_url(text)
    typed = _TYPED.fullmatch(text)
    if typed is None or typed["repo"].endswith((".onnx", *CHECKPOINT_SUFFIXES)):
        return None
    return HubModel(typed["repo"], typed["revision"] or DEFAULT_REVISION, typed["precision"])


def group_name(model: Remote) -> str:
    """The name of the folder for all that was fetched from a repository, or from a URL."""
    if isinstance(model, HubModel):
        return model.repo.replace("/", "--")
    return f"url-{hashlib.sha256(model.reference.encode()).hexdigest()[:16]}"


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or PUBLIC_HUB


def hub_page(url: str) -> tuple[str, str, str | None] | None:
    """Repository, revision and file of an address on the hub; None of one on another server.

    The file is None for a repository's own page.

    Raises:
        ValueError: not an http or https URL; or one of the hub that names no repository.
    """
    parts = split_url(url)
    hosts = {"huggingface.co", "www.huggingface.co", "hf.co"}
    with suppress(ValueError):  # of a wrong one, which whoever asks the hub will say
        hosts.add(split_url(endpoint()).netloc)
    if parts.netloc not in hosts:
        return None
    page = _FILE_PAGE.fullmatch(parts.path)
    file = unquote(page[3]) if page else None
    page = page or _REPO_PAGE.fullmatch(parts.path)
    repo, revision = (unquote(page[1]), unquote(page[2] or DEFAULT_REVISION)) if page else ("", "")
    if not REPOSITORY.fullmatch(repo) or (file is not None and not stays_inside(file)):
        raise ValueError("no repository and no file of one")
    return repo, revision, file


def _from_url(url: str) -> Remote:
    page = None
    try:
        name = UrlModel(url).file
        with suppress(ValueError):  # on the hub's host, but beside its repositories
            page = hub_page(url)
    except ValueError as error:
        raise FetchError(f"{shown_url(url)}: is not an http or https URL") from error
    if page is not None and page[2] is None and not name.endswith(".onnx"):
        return HubModel(page[0], page[1])
    if name.endswith(CHECKPOINT_SUFFIXES):
        raise FetchError(
            f"{shown_url(url)}: is a checkpoint; first: birefnet export {shown_url(url)}"
        )
    if not name.endswith(".onnx"):
        raise FetchError(
            f"{shown_url(url)}: ends in {printable(name)}; give the URL of an .onnx, or OWNER/NAME "
            "of a repository on the hub"
        )
    is_file = page is not None and page[2] is not None
    return HubModel(page[0], page[1], None, page[2]) if page and is_file else UrlModel(url)


# Which graph of a repository is meant, by the names that exporters give them.


_PRECISION = re.compile(r"(?:.*[._-])?(fp32|fp16|int8|uint8|quantized|q8|q4|q4f16|bnb4)")
_SAME = {
    "int8": ("int8", "quantized", "q8"),
    "quantized": ("quantized", "q8", "int8"),
    "q8": ("q8", "quantized", "int8"),
}
"""Words that stand for the same, the nearest first: `model_quantized.onnx` is int8."""


def choose_graph(names: Iterable[str], precision: str | None, reference: str) -> str:
    """The one graph that a precision means: `onnx/model.onnx`, `onnx/model_fp16.onnx`, ...

    Graphs in `onnx/` count, or where there are none those at the top. Without a precision it is
    the exact one, or the only one.

    Args:
        names: paths of all files in the repository.
        precision: as typed; None for the exact one.
        reference: what messages call the repository.

    Raises:
        FetchError: there is none, or it can't be told which one is meant.
    """
    every = list(names)
    graphs = _graphs(every)
    if not graphs:
        raise _without_graph(every, reference)
    fitting = _fitting(graphs, precision)
    if len(fitting) == 1:
        return fitting[0]
    shown = shortened(fitting or graphs)
    if not fitting and precision is not None:
        raise FetchError(f"{reference}: holds no graph in {precision}; it holds {shown}")
    raise FetchError(
        f"{reference}: holds several graphs ({shown}); name one as OWNER/NAME:PRECISION, or by "
        "the URL of the file"
    )


def preprocessor_of(names: Iterable[str], graph: str) -> str | None:
    """The preprocessor file that belongs to a graph: in its folder, or above `onnx/`."""
    every = set(names)
    folder = graph.rpartition("/")[0]
    above, _, last = folder.rpartition("/")
    for place in (folder, above) if last == "onnx" else (folder,):
        if (name := f"{place}/{PREPROCESSOR_FILE}".lstrip("/")) in every:
            return name
    return None


def precision_of(graph: str) -> str:
    """The precision in the name of a graph; fp32 where it says none."""
    stated = _PRECISION.fullmatch(graph.rpartition("/")[2].removesuffix(".onnx"))
    return stated[1] if stated else "fp32"


def _graphs(names: Iterable[str]) -> list[str]:
    graphs = sorted(name for name in names if name.endswith(".onnx"))
    usual = [name for name in graphs if re.fullmatch(r"onnx/[^/]+", name)]
    return usual or [name for name in graphs if "/" not in name]


def _fitting(graphs: list[str], precision: str | None) -> list[str]:
    """The graphs in a precision; without one the exact ones, or all where none is."""
    if precision is None:
        if len(graphs) == 1:
            return graphs
        precision = "fp32"
    for word in _SAME.get(precision, (precision,)):
        if fitting := [graph for graph in graphs if precision_of(graph) == word]:
            usual = rf"(onnx/)?model(_{word})?\.onnx"
            return [graph for graph in fitting if re.fullmatch(usual, graph)][:1] or fitting
    return []


def _without_graph(names: list[str], reference: str) -> FetchError:
    if elsewhere := [name for name in names if name.endswith(".onnx")]:
        return FetchError(
            f"{reference}: holds no graph in onnx/ or at its top, but {shortened(elsewhere)}; give "
            "the URL of the one to use"
        )
    if choose_weights(names):
        export = f"birefnet export {reference.removesuffix(f'@{DEFAULT_REVISION}')}"
        return OnlyCheckpointError(
            f"{reference}: holds a checkpoint and no .onnx; this makes one: {export}"
        )
    return FetchError(f"{reference}: holds no .onnx; it holds {shortened(names) or 'nothing'}")
