"""Where a checkpoint comes from: a name of the zoo, a repository of the hub, a URL, a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from birefnet_models.base.names import CHECKPOINT_SUFFIXES, REPOSITORY
from birefnet_models.base.text import first_line, printable, shown_url, split_url
from birefnet_models.reference import DEFAULT_REVISION, HubModel, UrlModel, hub_page
from birefnet_models.zoo import lookup, unknown_model

from ..errors import CheckpointError


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or directory that is there."""

    path: Path


Source: TypeAlias = LocalSource | HubModel | UrlModel


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
        return HubModel(card.id, _revision(text, at, revision), is_checkpoint=True)
    path = Path(text)
    try:
        if path.exists():
            return LocalSource(path)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise CheckpointError(f"{printable(text)}: can't be read: {first_line(error)}") from error
    if REPOSITORY.fullmatch(name) and not name.endswith(CHECKPOINT_SUFFIXES):
        repo = card.id if card else name
        return HubModel(repo, _revision(text, at, revision), is_checkpoint=True)
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
        raise CheckpointError(f"{shown_url(url)}: is not the URL of a file") from error
    try:
        page = hub_page(url)
    except ValueError as error:
        raise CheckpointError(
            f"{shown_url(url)}: no repository and no file of one; give OWNER/NAME@REVISION"
        ) from error
    if page is None:
        return UrlModel(url)
    repo, branch, file = page
    return HubModel(repo, branch, file=file, is_checkpoint=True)


def _revision(text: str, at: str, revision: str) -> str:
    if at and not revision:
        raise CheckpointError(f"{printable(text)}: a revision is missing behind @")
    return revision or DEFAULT_REVISION
