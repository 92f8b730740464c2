"""What is typed as a checkpoint: a name of the zoo, a repository of the hub, a URL, a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from birefnet_models.card import ModelCard
from birefnet_models.errors import UnknownModelError
from birefnet_models.zoo import RELEASE, all_cards, find, lookup

from ..errors import CheckpointError

HUB = "huggingface.co"
DEFAULT_REVISION = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILE_PAGE = re.compile(r"/([^/]+/[^/]+)/(?:resolve|blob|raw)/([^/]+)/(.+)")
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or directory that is there."""

    path: Path


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the hub, at a branch, a tag or a commit."""

    repo: str
    revision: str = DEFAULT_REVISION
    file: str | None = None
    """None: the one that holds the weights."""

    @property
    def reference(self) -> str:
        """What the lock file calls it."""
        file = f":{self.file}" if self.file else ""
        return f"{self.repo}@{self.revision}{file}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit in full, which can't come to mean something else."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def card(self) -> ModelCard | None:
        """What the zoo knows about the repository."""
        return lookup(self.repo)


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on some web server."""

    url: str

    @property
    def reference(self) -> str:
        """What the lock file calls it."""
        return self.url

    @property
    def card(self) -> ModelCard | None:
        """What the zoo knows about the file, if it is one of upstream's release."""
        for card in all_cards():
            if card.release_file and self.url == RELEASE + card.release_file:
                return card
        return None

    @property
    def file(self) -> str:
        """The file's name."""
        return Path(unquote(urlsplit(self.url).path)).name


Source: TypeAlias = LocalSource | HubSource | UrlSource


def parse_source(text: str | Path) -> Source:
    """Read what was typed.

    A name of the zoo (`lite`, `lite@REVISION`) wins over a path that is called the same (write
    `./lite` for the path), and a path that exists over a repository (`OWNER/NAME@REVISION`).

    Raises:
        CheckpointError: it is none of them; the message says what was tried.
    """
    if isinstance(text, Path):
        return LocalSource(text)
    if re.match(r"https?://", text):
        return _from_url(text)
    name, at, revision = text.partition("@")
    card = lookup(name)
    if card is not None and not card.embedded and "/" not in name:
        return HubSource(card.id, _revision(text, at, revision))
    path = Path(text)
    if path.exists():
        return LocalSource(path)
    if _REPOSITORY.fullmatch(name) and not name.endswith(_WEIGHT_FILES):
        return HubSource(card.id if card else name, _revision(text, at, revision))
    if os.sep in text or path.suffix:
        raise CheckpointError(f"{text}: no such file or directory")
    raise CheckpointError(f"{text}: no such file or directory, and {_unknown(name)}")


def _from_url(url: str) -> Source:
    """A URL; one of a file on the hub stands for the hub's file, with all that the hub can do."""
    parts = urlsplit(url)
    hosts = {HUB, f"www.{HUB}", urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc}
    if parts.netloc in hosts:
        if found := _FILE_PAGE.fullmatch(unquote(parts.path)):
            return HubSource(*found.groups())
        repo = parts.path.strip("/")
        if _REPOSITORY.fullmatch(repo):
            return HubSource(repo)
        raise CheckpointError(f"{url}: no repository and no file of one; give OWNER/NAME@REVISION")
    return UrlSource(url)


def _revision(text: str, at: str, revision: str) -> str:
    if at and not revision:
        raise CheckpointError(f"{text}: a revision is missing behind @")
    return revision or DEFAULT_REVISION


def _unknown(name: str) -> str:
    if (card := lookup(name)) is not None:
        return f"{card.name} ships as a finished model: there is nothing to export"
    try:
        find(name)
    except UnknownModelError as error:
        return str(error)
    raise AssertionError(name)
