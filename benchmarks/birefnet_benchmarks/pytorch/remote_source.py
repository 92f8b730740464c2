"""Whose Python code a `transformers:…` reference means to run, and whether it may."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from birefnet_export.checkpoint.source import parse_source
from birefnet_export.errors import ExportError
from birefnet_models.reference import HubModel

from ..errors import RemoteCodeError

REMOTE_PREFIX = "transformers:"


class RemoteSource(NamedTuple):
    """A repository or a local directory with code of its own."""

    place: str
    """Directory, or `OWNER/NAME` on the hub."""
    commit: str | None
    """None for a directory."""
    code: tuple[str, ...]
    """Names of its Python files."""

    def __str__(self) -> str:
        return f"{self.place}@{self.commit}" if self.commit else self.place


def consented_source(reference: str, consent: bool) -> RemoteSource:
    """Find the code that `transformers:REPO@REVISION` or `transformers:DIRECTORY` would run.

    Args:
        reference: with the prefix.
        consent: the code may be run.

    Raises:
        RemoteCodeError: no consent, or no revision.
        ExportError: neither a repository nor a directory.
        FetchError: the repository can't be had.
    """
    text = reference.removeprefix(REMOTE_PREFIX)
    if os.path.isdir(text):  # not Path.is_dir, which raises on names that no file can have
        code = sorted(file.name for file in Path(text).glob("*.py"))
        _require(consent, reference, f"{text} ({', '.join(code) or 'no .py file was found'})")
        return RemoteSource(text, None, tuple(code))
    source = parse_source(text)
    if not isinstance(source, HubModel):
        raise ExportError(f"{reference}: give a repository of the hub or a directory")
    if "@" not in text:
        raise RemoteCodeError(
            f"{reference}: code that may change without notice is not run; name the revision, "
            f"as {reference}@COMMIT"
        )
    _require(consent, reference, text)
    from birefnet_models.hub import list_files

    listing = list_files(source.repo, source.revision)
    code = sorted(file for file in listing.files if file.endswith(".py"))
    return RemoteSource(source.repo, listing.commit, tuple(code))


def _require(consent: bool, reference: str, place: str) -> None:
    if not consent:
        raise RemoteCodeError(
            f"{reference} means to run Python code from {place} on this machine, with all your "
            "rights; read it, and if you trust it add --trust-remote-code"
        )
