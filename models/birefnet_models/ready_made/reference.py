"""What a user types for a ready-made model: a repository of the hub, or the URL of an `.onnx`."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from ..base.errors import FetchError
from ..base.names import CHECKPOINT_SUFFIXES, REPOSITORY, file_name, stays_inside
from ..base.text import printable, shown_url, split_url

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
    """A graph of a repository on the hub, at a branch, a tag or a commit."""

    repo: str
    revision: str = DEFAULT_REVISION
    precision: str | None = None
    """None: the exact one, or the only one."""
    file: str | None = None
    """Its path in the repository, where that was given."""

    @property
    def reference(self) -> str:
        """What the lock file calls it."""
        return f"{self.repo}@{self.revision}:{self.file or self.precision or 'onnx'}"

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit in full, which can't come to mean something else."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


@dataclass(frozen=True, slots=True)
class UrlModel:
    """A graph on some web server."""

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


ReadyMade: TypeAlias = HubModel | UrlModel


def parse_reference(text: str) -> ReadyMade | None:
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


def group_name(model: ReadyMade) -> str:
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
        ValueError: no http or https URL; or one of the hub, but of no repository or file of one.
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


def _from_url(url: str) -> ReadyMade:
    page = None
    try:
        name = UrlModel(url).file
        with suppress(ValueError):  # on the hub's host, but beside its repositories
            page = hub_page(url)
    except ValueError as error:
        raise FetchError(f"{shown_url(url)}: is no http or https URL") from error
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
