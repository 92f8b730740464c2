"""Where a checkpoint comes from: a name of the zoo, a repository of the hub, a URL, a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from birefnet_models.base.names import CHECKPOINT_SUFFIXES, REPOSITORY, file_name
from birefnet_models.base.text import first_line, printable, shown_url, split_url
from birefnet_models.ready_made.reference import DEFAULT_REVISION, hub_page
from birefnet_models.zoo import RELEASE, ModelCard, all_cards, lookup, unknown_model

from ..errors import CheckpointError


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
class UrlSource:
    """A file on some web server."""

    url: str
    """With a user's name and password, if they were given."""

    @property
    def reference(self) -> str:
        """What the lock file and messages call it: the URL without a name and a password."""
        return shown_url(self.url)

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
        return file_name(split_url(self.url).path)

    @property
    def name(self) -> str:
        """What an export of it is called in the cache: the zoo's name, or the file's."""
        return self.card.name if self.card else Path(self.file).stem


Source: TypeAlias = LocalSource | HubSource | UrlSource


def parse_source(text: str | Path) -> Source:
    """Tell what a user means by a checkpoint.

    A name of the zoo (`lite`, `lite@REVISION`) wins over a path that is called the same (write
    `./lite` for the path), and a path that exists over a repository (`OWNER/NAME@REVISION`).

    Raises:
        CheckpointError: it is none of them; the message says what was tried.
    """
    if isinstance(text, Path):
        return LocalSource(text)
    if re.match(r"https?://", text, re.IGNORECASE):
        return _from_url(text)
    name, at, revision = text.partition("@")
    card = lookup(name)
    if card is not None and not card.embedded and "/" not in name:
        return HubSource(card.id, _revision(text, at, revision))
    path = Path(text)
    try:
        if path.exists():
            return LocalSource(path)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise CheckpointError(f"{printable(text)}: can't be read: {first_line(error)}") from error
    if REPOSITORY.fullmatch(name) and not name.endswith(CHECKPOINT_SUFFIXES):
        return HubSource(card.id if card else name, _revision(text, at, revision))
    if os.sep in text or path.suffix:
        raise CheckpointError(f"{printable(text)}: no such file or directory")
    if card is not None:
        reason = f"{card.name} ships as a finished model: there is nothing to export"
    else:
        reason = unknown_model(name)
    raise CheckpointError(f"{printable(text)}: no such file or directory, and {reason}")


def _from_url(url: str) -> Source:
    """A URL; one of a file on the hub stands for the hub's file, with all that the hub can do."""
    try:
        split_url(url)
    except ValueError as error:
        raise CheckpointError(f"{shown_url(url)}: is no URL of a file") from error
    try:
        page = hub_page(url)
    except ValueError as error:
        raise CheckpointError(
            f"{shown_url(url)}: no repository and no file of one; give OWNER/NAME@REVISION"
        ) from error
    return UrlSource(url) if page is None else HubSource(*page)


def _revision(text: str, at: str, revision: str) -> str:
    if at and not revision:
        raise CheckpointError(f"{printable(text)}: a revision is missing behind @")
    return revision or DEFAULT_REVISION
