"""The Hugging Face hub through its own client: what a repository holds, and its files in the
client's cache.

The client's settings are the user's: cache, login, endpoint, proxies, `HF_HUB_OFFLINE`. It resolves
revisions and keeps the cache; the bytes come by `download`, because the client starts a download
anew that was killed, and takes as many bytes as a server sends.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .base.errors import AccessError, CacheError, FetchError, OfflineError
from .base.files import replacing
from .base.hashes import sha256_of
from .base.names import stays_inside
from .base.text import first_line
from .download import TIMEOUT_S, download, http_library, offline
from .pins import FetchOptions
from .reference import endpoint

_NAME = "birefnet-ort"
_MOST_GIT_BYTES = 64 << 20
"""Of a file whose git hash is computed; the hub keeps larger ones outside git."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, with what the hub says of its content."""

    name: str
    size: int | None = None
    sha256: str | None = None
    """Of files that are kept outside git: all large ones."""
    git_sha1: str | None = None
    """Git's hash of the others."""

    @property
    def digest(self) -> str | None:
        """What the client's cache calls the content; None if nothing is known of it."""
        return self.sha256 or self.git_sha1

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
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    files: Mapping[str, HubFile]

    def url(self, name: str) -> str:
        """Where a file lies."""
        return f"{endpoint()}/{quote(self.repo)}/resolve/{self.commit}/{quote(name)}"

    def in_cache(self, name: str) -> Path | None:
        """A file in the client's cache; None if it isn't there."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(
            self.repo, name, cache_dir=client_cache(), revision=self.commit
        )
        return Path(found) if isinstance(found, str) else None

    def fetch(self, name: str, how: FetchOptions) -> Path:
        """A file, known to be what the hub lists, in the client's cache.

        Raises:
            OfflineError: it isn't there, and the network must not be used or can't be.
            FetchError: it can't be had, or its content is another.
        """
        listed, there = self.files[name], self.in_cache(name)
        if there is None:
            return self._bring(listed, how)
        if problem := listed.problem(there):
            raise FetchError(
                f"{there}: {problem}; it was damaged in the cache, delete it to fetch it again"
            )
        return there

    def _bring(self, listed: HubFile, how: FetchOptions) -> Path:
        """Download a file into the client's cache, and have the client know it."""
        what, url = f"{self.repo}@{self.commit[:12]}: {listed.name}", self.url(listed.name)
        with explained(what):
            if listed.digest is None or listed.size is None:
                listed = _described(listed.name, url)
            if listed.digest is None or listed.size is None:
                raise FetchError(f"{what}: {endpoint()} does not say its size and hash")
            folder = client_cache() / f"models--{self.repo.replace('/', '--')}"
            blob = folder / "blobs" / listed.digest
            if blob.exists():  # of another revision, with the same content
                came = self._known_to_client(listed.name)
                if problem := listed.problem(came):
                    raise FetchError(f"{came}: {problem}; delete {blob} to fetch it again")
            else:
                came = download(
                    url,
                    progress=how.progress,
                    most_bytes=listed.size,
                    token=token(),
                    explain=lambda status, code: refusal(url, status, code),
                )
                if problem := listed.problem(came):
                    came.unlink(missing_ok=True)
                    raise FetchError(f"{url}: what came {problem}; it was damaged on the way")
                _move(came, blob)
            return self._known_to_client(listed.name)

    def _known_to_client(self, name: str) -> Path:
        """The path of a file whose content is in the client's cache already."""
        from huggingface_hub import hf_hub_download

        # By the revision, not by the commit: the client then notes what it stands for.
        with discreet():
            path = hf_hub_download(
                self.repo,
                name,
                revision=self.revision,
                cache_dir=client_cache(),
                library_name=_NAME,
                endpoint=endpoint(),
                token=token() or False,
            )
        if self.commit not in Path(path).parts:
            raise FetchError(f"{self.repo}@{self.revision}: moved while it was fetched; try again")
        return Path(path)


def list_files(repo: str, revision: str) -> Listing:
    """The files of a repository at the commit that a revision stands for now.

    Without the network it is the commit that the client's cache last saw, with the files that are
    there. Names that lead out of the repository are left out.

    Raises:
        OfflineError: it isn't in the cache, and the network must not be used or can't be.
        AccessError: no such repository, or it wants a login.
        FetchError: no such revision, or the answer is not a hub's.
    """
    from huggingface_hub.errors import HFValidationError

    what = f"{repo}@{revision}"
    try:
        if offline():
            raise OfflineError(f"{what}: HF_HUB_OFFLINE forbids to fetch it")
        with explained(what):
            try:
                return _asked(repo, revision)
            except HFValidationError:
                raise
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise _not_a_hub(what) from error  # not JSON, or another's
    except OfflineError as error:
        if listing := cached_listing(repo, revision):
            return listing
        reason = str(error).removeprefix(f"{what}: ")
        raise OfflineError(f"{what}: is not in the cache, and {reason}") from error


def cached_listing(repo: str, revision: str) -> Listing | None:
    """What the client's cache holds of a repository at a revision; None if it holds nothing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=revision, cache_dir=client_cache(), local_files_only=True
        )
    except (LocalEntryNotFoundError, ValueError):
        return None
    folder = Path(str(found))
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return Listing(repo, revision, folder.name, {name: HubFile(name) for name in names})


def client_cache() -> Path:
    """The folder of the hub's client, which other programs share.

    Raises:
        CacheError: it depends on the user's home directory, and none is known.
    """
    from huggingface_hub import constants

    if str(constants.HF_HUB_CACHE).startswith("~"):  # the client would make a directory named ~
        raise CacheError("no home directory is known for the hub's cache; set HF_HOME to one")
    return Path(constants.HF_HUB_CACHE)


def token() -> str | None:
    """`HF_TOKEN`, or what `hf auth login` stored on this machine.

    Raises:
        AccessError: it holds what no token has.
    """
    from huggingface_hub import constants, get_token

    found = "" if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token() or ""
    if not re.fullmatch(r"[!-~]*", found):
        raise AccessError("HF_TOKEN holds characters that no token has; set it again")
    return found or None


def refusal(what: str, status: int, code: str) -> FetchError:
    """What a refusal of the hub means, by its status and the code in its headers."""
    if code == "GatedRepo":
        return AccessError(
            f"{what}: the repository is gated; ask for access on its page, then log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if code == "RevisionNotFound":
        return FetchError(f"{what}: the repository has no such revision")
    if code == "EntryNotFound":
        return FetchError(f"{what}: the repository has no such file")
    if code == "RepoNotFound" or status in (401, 404):
        return AccessError(
            f"{what}: the hub has no such repository, or it is private and wants a login "
            "(`hf auth login`, or HF_TOKEN)"
        )
    if status == 403:
        return AccessError(
            f"{what}: the hub refuses access (HTTP 403); log in with `hf auth login` or set "
            "HF_TOKEN"
        )
    return FetchError(f"{what}: the hub failed (HTTP {status}); try again later")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise the client's errors as one line each that says what to do."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except (FetchError, CacheError):
        raise
    except OfflineModeIsEnabled as error:
        raise OfflineError(f"{what}: HF_HUB_OFFLINE forbids to fetch it") from error
    except LocalEntryNotFoundError as error:
        with explained(what):
            if error.__cause__ is not None:
                raise error.__cause__ from error
        raise _not_a_hub(what) from error
    except HfHubHTTPError as error:
        response = error.response
        code = response.headers.get("X-Error-Code", "")
        raise refusal(what, response.status_code, code) from error
    except HFValidationError as error:
        raise FetchError(f"{what}: {first_line(error)}") from error
    except http_library().HTTPError as error:
        raise OfflineError(f"{what}: {endpoint()} can't be reached: {first_line(error)}") from error
    except OSError as error:
        raise FetchError(
            f"{what}: can't be stored in {client_cache()}: {error.strerror or first_line(error)}; "
            "set HF_HOME to a directory with room that can be written"
        ) from error


def _asked(repo: str, revision: str) -> Listing:
    from huggingface_hub import HfApi

    with discreet():
        info = HfApi(endpoint=endpoint(), library_name=_NAME, token=token() or False).model_info(
            repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S
        )
    if not _SHA1.fullmatch(str(info.sha)):
        raise ValueError("a listing without a commit")
    files = map(_hub_file, info.siblings or ())
    return Listing(
        repo, revision, str(info.sha), {f.name: f for f in files if stays_inside(f.name)}
    )


def _hub_file(entry: Any) -> HubFile:
    """What a listing says of a file; hashes and sizes that are none count for nothing."""
    sha256, sha1 = entry.lfs.sha256 if entry.lfs else None, entry.blob_id
    return HubFile(
        name=entry.rfilename,
        size=entry.size if isinstance(entry.size, int) else None,
        sha256=sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None,
        # Of a large file it is the hash of the note that git keeps in its place.
        git_sha1=sha1 if not entry.lfs and _SHA1.fullmatch(str(sha1)) else None,
    )


def _described(name: str, url: str) -> HubFile:
    """What the headers of a file say, where a mirror's listing says nothing."""
    from huggingface_hub import get_hf_file_metadata

    with discreet():
        facts = get_hf_file_metadata(url, token=token() or False, library_name=_NAME)
    etag = facts.etag or ""
    return HubFile(
        name,
        facts.size,
        etag if _SHA256.fullmatch(etag) else None,
        etag if _SHA1.fullmatch(etag) else None,
    )


def _not_a_hub(what: str) -> FetchError:
    return FetchError(
        f"{what}: {endpoint()} does not answer as a hub does; check HF_ENDPOINT and any proxy"
    )


def _differs(digest: str, listed: str) -> str:
    return f"has the hash {digest}, and the hub lists {listed}"


def _move(came: Path, blob: Path) -> None:
    """Move a download to its place in the client's cache, which may lie on another disk."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(came, blob)
    except OSError:
        with replacing(blob) as temporary:
            shutil.copyfile(came, temporary)
        came.unlink(missing_ok=True)
    with suppress(OSError):  # the lock of another process that waits for it
        came.parent.rmdir()


# What the client sends and says of its own accord is off while we use it, and as it was after:
# the versions of Python packages and the name of a coding agent (a list of which it fetches from
# the hub first), and warnings about tries that fail.

_QUIET = {"HF_HUB_DISABLE_TELEMETRY": True, "HF_HUB_DISABLE_XET": True}
_guard = threading.Lock()
_before: dict[str, Any] = {}
_users = 0


@contextmanager
def discreet() -> Iterator[None]:
    """Have the hub's client send and say nothing of its own accord during the block."""
    global _users
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    with _guard:
        if _users == 0:
            _before.update({name: getattr(constants, name) for name in _QUIET}, level=logger.level)
            for name, value in _QUIET.items():
                setattr(constants, name, value)
            logger.setLevel(logging.ERROR)
        _users += 1
    try:
        yield
    finally:
        with _guard:
            _users -= 1
            if _users == 0:
                logger.setLevel(_before.pop("level"))
                for name, value in _before.items():
                    setattr(constants, name, value)
                _before.clear()
