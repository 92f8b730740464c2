"""The Hugging Face hub through its own client, with its cache, token, endpoint and progress."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from birefnet_models.base.errors import AccessError, CacheError, FetchError, OfflineError
from birefnet_models.base.hashes import sha256_of
from birefnet_models.base.names import PREPROCESSOR_FILE, WEIGHTS_FILE, choose_weights
from birefnet_models.base.text import first_line, shortened
from birefnet_models.pins import Pin
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
from huggingface_hub.hf_api import RepoSibling

from .shards import files_of
from .source import HubSource

_TRANSPORT_ERRORS: tuple[type[Exception], ...] = tuple(
    base for base in HfHubHTTPError.__bases__ if base is not OSError and issubclass(base, Exception)
)
"""Base of what the client's HTTP library raises; which library that is changes with its version."""
_NO_NETWORK: tuple[type[Exception], ...] = (OfflineModeIsEnabled, *_TRANSPORT_ERRORS)


def resolve_and_get(source: HubSource) -> tuple[Path, Pin]:
    """Find out which commit a revision stands for now, and get its weights.

    Without network a revision stands for what it did when it was last in the client's cache.

    Raises:
        FetchError: as `get`; or the repository has no weights, or what came is not what the hub
            lists.
    """
    commit, files = _resolve(source)
    if not files:  # known from the cache alone, which `_resolve` has seen the weights in
        name = source.file or WEIGHTS_FILE
        file = Path(str(try_to_load_from_cache(source.repo, name, revision=commit)))
        return file, _pin(commit, name, file)
    by_name = {entry.rfilename: entry for entry in files}
    name = _choose_weights(source, list(by_name))
    # By the revision, not by the commit: the client then notes what it stands for.
    file = _get_as_listed(source.repo, source.revision, commit, by_name[name])
    for shard in _shards(name, file):
        if shard not in by_name:
            raise FetchError(f"{source.reference}: {name} lists {shard}, which is not there")
        _get_as_listed(source.repo, commit, commit, by_name[shard])
    if PREPROCESSOR_FILE in by_name:
        get(source.repo, commit, PREPROCESSOR_FILE)
    return file, _pin(commit, name, file)


def _get_as_listed(repo: str, revision: str, commit: str, entry: RepoSibling) -> Path:
    """A file whose content is what the hub lists; small files, which git keeps, have no hash."""
    name = entry.rfilename
    was_cached = isinstance(try_to_load_from_cache(repo, name, revision=commit), str)
    file = get(repo, revision, name)
    if commit not in file.parts:
        raise FetchError(f"{repo}@{revision}: moved while it was fetched; try again")
    if entry.lfs and entry.lfs.sha256 != (sha256 := sha256_of(file)):
        if not was_cached:  # it must not count as a model
            file.resolve().unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        raise FetchError(
            f"{file}: has sha256 {sha256}, and {repo} lists {name} with {entry.lfs.sha256}; it was "
            "damaged on the way or in the cache, delete it and fetch anew"
        )
    return file


def _shards(name: str, file: Path) -> list[str]:
    """Names in the repository of the files that an index lists."""
    folder = name.rpartition("/")[0]
    return [f"{folder}/{shard.name}".lstrip("/") for shard in files_of(file)[1:]]


def _pin(commit: str, name: str, file: Path) -> Pin:
    parts = files_of(file)
    return Pin(commit, name, sum(part.stat().st_size for part in parts), sha256_of(*parts))


def get_pinned(repo: str, commit: str, name: str) -> Path:
    """A file of the hub at a commit, its shards, and the preprocessor file if there is one.

    Raises:
        FetchError: as `get`.
    """
    file = get(repo, commit, name)
    for shard in _shards(name, file):
        get(repo, commit, shard)
    if try_to_load_from_cache(repo, PREPROCESSOR_FILE, revision=commit) is None:
        with suppress(FetchError):  # most repositories have none
            get(repo, commit, PREPROCESSOR_FILE)
    return file


def get(repo: str, commit: str, file: str) -> Path:
    """A file of the hub at a commit, from the client's cache or the network.

    Raises:
        OfflineError: not in the cache, and the network must not be used or can't be.
        AccessError: the repository wants a login or is gated.
        CacheError: there is no place for the client's cache.
        FetchError: no such repository, commit or file; an interruption; a full disk.
    """
    if str(constants.HF_HUB_CACHE).startswith("~"):
        raise CacheError(  # the client would make a directory named ~
            "no home directory is known for the hub's cache; set HF_HOME to a directory"
        )
    with explained(f"{repo}@{commit[:12]}: {file}"):
        return Path(hf_hub_download(repo, file, revision=commit, library_name="birefnet-ort"))


def files_at(source: HubSource) -> tuple[str, list[str]]:
    """The commit that a revision stands for, and the names of its files as far as known.

    Raises:
        FetchError: as `get`.
    """
    commit, files = _resolve(source)
    return commit, [entry.rfilename for entry in files]


def _resolve(source: HubSource) -> tuple[str, Sequence[RepoSibling]]:
    """The commit, and the files; no files where only the cache could be asked."""
    with explained(source.reference):
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
    if not info.sha or not info.siblings:
        raise FetchError(f"{source.reference}: the repository is empty")
    return info.sha, info.siblings


def _known_commit(source: HubSource) -> str | None:
    """The commit that the client's cache last saw at this revision, if the weights are there."""
    name = source.file or WEIGHTS_FILE
    cached = try_to_load_from_cache(source.repo, name, revision=source.revision)
    if not isinstance(cached, str):
        return None
    snapshot = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", cached)
    return snapshot[1] if snapshot else None


def _choose_weights(source: HubSource, names: Sequence[str]) -> str:
    if source.file:
        fitting = [source.file] if source.file in names else []
    else:
        fitting = choose_weights(names)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FetchError(
            f"{source.reference}: holds several files of weights ({shortened(fitting)}); give the "
            f"one to use as {constants.ENDPOINT}/{source.repo}/resolve/{source.revision}/FILE"
        )
    held = shortened(names)
    if not source.file and any(name.endswith(".onnx") for name in names):
        held += f"; its .onnx needs no export: birefnet cutout --model {source.repo}"
    raise FetchError(f"{source.reference}: holds no {source.file or 'weights'}; it holds {held}")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise the client's errors as one line each that says what to do."""
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
        raise _not_in_cache(what, error) from error
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
        raise FetchError(f"{what}: {first_line(error)}") from error
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"{what}: the download was interrupted or can't be stored: {first_line(error)}"
        ) from error
    except _TRANSPORT_ERRORS as error:
        raise OfflineError(
            f"{what}: {constants.ENDPOINT} can't be reached: {first_line(error)}"
        ) from error


def _not_in_cache(what: str, error: Exception) -> FetchError:
    cause = error.__cause__
    if isinstance(cause, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return OfflineError(f"{what}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        return FetchError(f"{what}: the hub failed (HTTP {status}); try again later")
    if isinstance(cause, _TRANSPORT_ERRORS):
        return OfflineError(f"{what}: {constants.ENDPOINT} can't be reached: {first_line(cause)}")
    return FetchError(
        f"{what}: {constants.ENDPOINT} does not answer as a hub does; check HF_ENDPOINT and any "
        "proxy"
    )
