"""The hub through its own client: its cache, token, endpoint, offline mode and progress."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.errors import AccessError, FetchError, OfflineError
from birefnet_models.lock import Pin, sha256_of
from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .source import HubSource

WEIGHTS = ("model.safetensors", r".+\.safetensors", r"pytorch_model\.bin", r".+\.(pth|pt)")
"""Which file of a repository holds the weights: the first pattern that one file alone fits."""
PREPROCESSOR = "preprocessor_config.json"
_TRANSPORT_ERRORS: tuple[type[Exception], ...] = tuple(
    base for base in HfHubHTTPError.__bases__ if base is not OSError and issubclass(base, Exception)
)
"""Base of what the client's HTTP library raises; which library that is changes with its version."""
_NO_NETWORK: tuple[type[Exception], ...] = (OfflineModeIsEnabled, *_TRANSPORT_ERRORS)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as the hub lists it."""

    name: str
    sha256: str | None
    """None for a small file, which the hub keeps in git itself."""


def resolve_and_get(source: HubSource) -> tuple[Path, Pin]:
    """Find out which commit a revision stands for now, and get its weights.

    Without network a revision stands for what it did when it was last in the client's cache.

    Raises:
        FetchError: as `get`; or the repository has no weights, or what came is not what the hub
            lists.
    """
    commit, listed = _resolve(source)
    if not listed:
        file = _cached(source.repo, commit, source.file or WEIGHTS[0])
        return file, _pin(commit, file)
    chosen = _weights(source, listed)
    before = try_to_load_from_cache(source.repo, chosen.name, revision=commit)
    # By the revision, not by the commit: the client then notes what it stands for.
    file = get(source.repo, source.revision, chosen.name)
    if commit not in file.parts:
        raise FetchError(f"{source.reference}: moved while it was fetched; try again")
    if PREPROCESSOR in {entry.name for entry in listed}:
        get(source.repo, commit, PREPROCESSOR)
    pin = _pin(commit, file, chosen.name)
    if chosen.sha256 not in (None, pin.sha256):
        if not isinstance(before, str):  # it came just now: let it not count as a model
            file.resolve().unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        raise FetchError(
            f"{file}: has sha256 {pin.sha256}, and {source.repo} lists {chosen.name} with "
            f"{chosen.sha256}; it was damaged on the way or in the cache, delete it and fetch anew"
        )
    return file, pin


def get_pinned(repo: str, pin: Pin) -> Path:
    """The weights that a pin names, and their preprocessor file if there is one.

    Raises:
        FetchError: as `get`.
    """
    file = get(repo, pin.commit or "", pin.file)
    if try_to_load_from_cache(repo, PREPROCESSOR, revision=pin.commit) is None:
        with suppress(FetchError):  # most repositories have none
            get(repo, pin.commit or "", PREPROCESSOR)
    return file


def get(repo: str, commit: str, file: str) -> Path:
    """A file of the hub at a commit, from the client's cache or the network.

    Raises:
        OfflineError: not in the cache, and the network must not be used or can't be.
        AccessError: the repository wants a login or is gated.
        FetchError: no such repository, commit or file; an interruption; a full disk.
    """
    with _explained(f"{repo}@{commit[:12]}: {file}"):
        return Path(hf_hub_download(repo, file, revision=commit, library_name="birefnet-ort"))


def _resolve(source: HubSource) -> tuple[str, Sequence[_Listed]]:
    """The commit, and the files; no files where only the cache could be asked."""
    with _explained(source.reference):
        try:
            info = HfApi(library_name="birefnet-ort").model_info(
                source.repo, revision=source.revision, files_metadata=True
            )
        except _NO_NETWORK as error:
            if isinstance(error, HfHubHTTPError) or not (commit := _known_commit(source)):
                raise
            return commit, ()
        except ValueError as error:  # no JSON
            raise FetchError(
                f"{source.reference}: {constants.ENDPOINT} does not answer as a hub does; "
                "check HF_ENDPOINT and any proxy"
            ) from error
    listed = [
        _Listed(entry.rfilename, entry.lfs.sha256 if entry.lfs else None)
        for entry in info.siblings or ()
    ]
    if not info.sha or not listed:
        raise FetchError(f"{source.reference}: the repository is empty")
    return info.sha, listed


def files_at(source: HubSource) -> tuple[str, list[str]]:
    """The commit that a revision stands for, and the names of its files as far as known.

    Raises:
        FetchError: as `get`.
    """
    commit, listed = _resolve(source)
    return commit, [entry.name for entry in listed]


def _known_commit(source: HubSource) -> str | None:
    """The commit that the client's cache last saw at this revision, if the weights are there."""
    found = try_to_load_from_cache(source.repo, source.file or WEIGHTS[0], revision=source.revision)
    if not isinstance(found, str):
        return None
    known = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", found)
    return known[1] if known else None


def _cached(repo: str, commit: str, file: str) -> Path:
    found = try_to_load_from_cache(repo, file, revision=commit)
    if not isinstance(found, str):
        raise OfflineError(f"{repo}@{commit[:12]}: {file} is not in the cache")
    return Path(found)


def _weights(source: HubSource, listed: Sequence[_Listed]) -> _Listed:
    patterns = (re.escape(source.file),) if source.file else WEIGHTS
    for pattern in patterns:
        found = [entry for entry in listed if re.fullmatch(pattern, entry.name)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(entry.name for entry in found)
            raise FetchError(
                f"{source.reference}: holds several files of weights ({names}); give the one to "
                f"use as {constants.ENDPOINT}/{source.repo}/resolve/{source.revision}/FILE"
            )
    names = ", ".join(entry.name for entry in listed[:20])
    raise FetchError(f"{source.reference}: holds no {source.file or 'weights'}; it holds {names}")


def _pin(commit: str, file: Path, name: str | None = None) -> Pin:
    return Pin(commit, name or file.name, file.stat().st_size, sha256_of(file))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """The client's errors as one line each that says what to do."""
    try:
        yield
    except GatedRepoError as error:
        raise AccessError(
            f"{what}: the repository is gated; ask for access on its page, then log in with "
            "`hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise FetchError(f"{what}: the repository has no such revision") from error
    except RepositoryNotFoundError as error:
        raise AccessError(
            f"{what}: the hub has no such repository, or it is private and wants a login "
            "(`hf auth login`, or HF_TOKEN)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise _not_here(what, error) from error
    except EntryNotFoundError as error:
        raise FetchError(f"{what}: the repository has no such file") from error
    except OfflineModeIsEnabled as error:
        raise OfflineError(
            f"{what}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise AccessError(
                f"{what}: the hub refuses access (HTTP {status}); log in with `hf auth login` or "
                "set HF_TOKEN"
            ) from error
        raise FetchError(f"{what}: the hub failed (HTTP {status}); try again later") from error
    except HFValidationError as error:
        raise FetchError(f"{what}: {_line(error)}") from error
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"{what}: the download was interrupted or can't be stored: {_line(error)}"
        ) from error
    except _TRANSPORT_ERRORS as error:
        raise OfflineError(
            f"{what}: {constants.ENDPOINT} can't be reached: {_line(error)}"
        ) from error


def _not_here(what: str, error: Exception) -> FetchError:
    cause = error.__cause__
    if isinstance(cause, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return OfflineError(f"{what}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        return FetchError(f"{what}: the hub failed (HTTP {status}); try again later")
    if isinstance(cause, _TRANSPORT_ERRORS):
        return OfflineError(f"{what}: {constants.ENDPOINT} can't be reached: {_line(cause)}")
    return FetchError(
        f"{what}: {constants.ENDPOINT} does not answer as a hub does; check HF_ENDPOINT and any "
        "proxy"
    )


def _line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
