"""The Hugging Face hub without its client: what a repository holds, and what its answers mean."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..base.errors import AccessError, FetchError, OfflineError
from ..base.hashes import sha256_of
from ..base.names import stays_inside
from ..base.text import shown_url
from ..http.client import Response
from ..http.download import download, offline, read_small
from .fetching import Fetching
from .reference import endpoint

_MOST_LISTING_BYTES = 16 << 20
_MOST_GIT_BYTES = 64 << 20
"""Of a file whose git hash is computed; the hub keeps larger ones outside git."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(slots=True)
class HubFile:
    """A file of a repository, with what the hub says of its content."""

    name: str
    size: int | None = None
    sha256: str | None = None
    """Of files that are kept outside git: all large ones."""
    git_sha1: str | None = None
    """Git's hash of the others."""

    def learn(self, answer: Response) -> None:
        """Take what the headers of an answer say beyond the listing."""
        if answer.first_header("X-Repo-Commit") is None:  # not the hub: its ETags mean nothing
            return
        etag = answer.first_header("X-Linked-Etag") or answer.first_header("ETag") or ""
        digest = etag.removeprefix("W/").strip('"')
        if _SHA256.fullmatch(digest):
            self.sha256 = self.sha256 or digest
        elif _SHA1.fullmatch(digest):
            self.git_sha1 = self.git_sha1 or digest
        size = answer.first_header("X-Linked-Size") or ""
        if self.size is None and re.fullmatch(r"[0-9]{1,18}", size):
            self.size = int(size)

    def problem(self, file: Path) -> str | None:
        """How the content of a file differs from what the hub says; None if it doesn't."""
        size = file.stat().st_size
        if self.size is not None and size != self.size:
            return f"has {size} bytes, and the hub lists {self.size}"
        if self.sha256 is not None:
            digest = sha256_of(file)
            return None if digest == self.sha256 else _differs(digest, self.sha256)
        if self.git_sha1 is not None and size <= _MOST_GIT_BYTES:
            content = b"blob %d\0" % size + file.read_bytes()
            digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            return None if digest == self.git_sha1 else _differs(digest, self.git_sha1)
        return None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, HubFile]

    def url(self, name: str) -> str:
        """Where a file lies."""
        return f"{endpoint()}/{quote(self.repo)}/resolve/{self.commit}/{quote(name)}"

    def fetch(self, name: str, how: Fetching) -> Path:
        """A file, known to be what the hub lists, in the cache of downloads.

        Raises:
            FetchError: it can't be had, or its content is another.
        """
        listed, url = self.files[name], self.url(name)

        def look(answer: Response) -> None:
            if (commit := answer.first_header("X-Repo-Commit")) not in (None, self.commit):
                raise FetchError(f"{url}: the hub answers with commit {commit}")
            listed.learn(answer)

        file = download(
            url, progress=how.progress, token=token(), explain=_explainer(url), look=look
        )
        if problem := listed.problem(file):
            file.unlink(missing_ok=True)
            raise FetchError(f"{url}: what came {problem}; it was damaged on the way, try again")
        return file


def list_files(repo: str, revision: str) -> Listing:
    """The files of a repository at the commit that a revision stands for now.

    Names that lead out of the repository are left out.

    Raises:
        OfflineError: the network must not be used, or the hub can't be reached.
        AccessError: no such repository, or it wants a login.
        FetchError: no such revision, or no answer of a hub.
    """
    what = f"{repo}@{revision}"
    if offline():
        raise OfflineError(f"{what}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    url = f"{endpoint()}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        answer = read_small(url, _MOST_LISTING_BYTES, token=token(), explain=_explainer(what))
    except OfflineError as error:
        reason = str(error).removeprefix(shown_url(url))
        raise OfflineError(f"{what}: is not in the cache, and {endpoint()}{reason}") from error
    try:
        content = json.loads(answer)
        commit = content["sha"]
        if not _SHA1.fullmatch(commit):
            raise ValueError("no commit")
        files = map(_hub_file, content["siblings"])
        return Listing(repo, commit, {f.name: f for f in files if stays_inside(f.name)})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FetchError(
            f"{what}: {endpoint()} does not answer as a hub does; check HF_ENDPOINT and any proxy"
        ) from error


def token(environment: Mapping[str, str] = os.environ) -> str | None:
    """`HF_TOKEN`, or what `hf auth login` stored on this machine.

    Raises:
        AccessError: it holds what no token has.
    """
    found = environment.get("HF_TOKEN", "").strip()
    if not found and environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() not in {
        *("1", "on", "yes", "true")
    }:
        found = _stored_token(environment)
    if not re.fullmatch(r"[!-~]*", found):
        raise AccessError("HF_TOKEN holds characters that no token has; set it anew")
    return found or None


def _stored_token(environment: Mapping[str, str]) -> str:
    try:
        caches = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = environment.get("HF_HOME") or Path(caches, "huggingface")
        file = Path(environment.get("HF_TOKEN_PATH") or Path(home, "token")).expanduser()
        return file.read_text(encoding="utf-8").strip()
    except (OSError, RuntimeError, ValueError):  # none, no home, no text
        return ""


def _hub_file(entry: Mapping[str, Any]) -> HubFile:
    """What a listing says of a file; hashes and sizes that are none count for nothing."""
    lfs = entry.get("lfs") or {}
    size, sha256, sha1 = entry.get("size"), lfs.get("sha256"), entry.get("blobId")
    return HubFile(
        name=entry["rfilename"],
        size=size if isinstance(size, int) else None,
        sha256=sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None,
        # Of a large file it is the hash of the note that git keeps in its place.
        git_sha1=sha1 if not lfs and isinstance(sha1, str) and _SHA1.fullmatch(sha1) else None,
    )


def _explainer(what: str) -> Any:
    """What the hub's refusals mean, by the code in their headers."""

    def explain(error: urllib.error.HTTPError) -> FetchError | None:
        code = error.headers.get("X-Error-Code", "")
        if code == "GatedRepo":
            return AccessError(
                f"{what}: the repository is gated; ask for access on its page, then log in with "
                "`hf auth login` or set HF_TOKEN"
            )
        if code == "RevisionNotFound":
            return FetchError(f"{what}: the repository has no such revision")
        if code == "EntryNotFound":
            return FetchError(f"{what}: the repository has no such file")
        if code == "RepoNotFound" or error.code in (401, 404):
            return AccessError(
                f"{what}: the hub has no such repository, or it is private and wants a login "
                "(`hf auth login`, or HF_TOKEN)"
            )
        if error.code == 403:
            return AccessError(
                f"{what}: the hub refuses access (HTTP 403); log in with `hf auth login` or set "
                "HF_TOKEN"
            )
        return None

    return explain


def _differs(digest: str, listed: str) -> str:
    return f"has the hash {digest}, and the hub lists {listed}"
