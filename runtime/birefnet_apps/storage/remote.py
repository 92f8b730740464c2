"""Files of object stores and other places that fsspec knows, with its credentials and settings."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any, NoReturn

from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.extras import naming_extras
from birefnet_models.base.text import first_line
from birefnet_runtime.errors import ImageError, MissingExtraError, OutputError
from birefnet_runtime.images.read import MOST_PIPE_BYTES

from .base import CredentialsError, Found, bounded
from .location import RemotePath, shown

_PER_PAGE = 1000
"""What both stores give at most."""


def pages_below(fs: Any, path: str, protocol: str) -> Iterator[list[str]]:
    """Names of objects below a path, relative to it, some at a time.

    fsspec's own `find`, `ls` and `walk` return lists: of s3 and gs a folder's million names would
    take a gigabyte. So their pages are asked for here, through the drivers' public calls of the
    stores' own interfaces (ListObjectsV2 of S3, Objects: list of Google Cloud Storage).

    Args:
        fs: fsspec's file system.
        path: a folder there, as the file system names it.
        protocol: `s3`, `gs` and Azure's are listed page by page and in the order of their names'
            bytes, which is checked (of Azure's, some sort each folder by itself); others folder by
            folder, each in order.

    Raises:
        ImageError: the names came in another order.
        Exception: what the driver raises.
    """
    pager = _PAGERS.get(protocol)
    if pager is None:
        yield from _folders(fs, path)
        return
    bucket, _, folder = path.partition("/")
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    last = b""
    for page in pager(fs, bucket, prefix):
        for name in page:
            encoded = name.encode("utf-8", "surrogateescape")
            by_folder = protocol in _AZURE and encoded.split(b"/") > last.split(b"/")
            if encoded <= last and not by_folder:
                raise ImageError(
                    f"{protocol}://{path}: is listed out of order, as directory buckets are; give "
                    "the files as a list (--files-from)"
                )
            last = encoded
        yield [name.removeprefix(prefix) for name in page if not name.endswith("/")]


def _s3_pages(fs: Any, bucket: str, prefix: str) -> Iterator[list[str]]:
    query = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": _PER_PAGE, **fs.req_kw}
    while True:
        page = fs.call_s3("list_objects_v2", **query)
        yield [entry["Key"] for entry in page.get("Contents", ())]
        if not page.get("IsTruncated"):
            return
        query["ContinuationToken"] = page["NextContinuationToken"]


def _gs_pages(fs: Any, bucket: str, prefix: str) -> Iterator[list[str]]:
    query: dict[str, Any] = {"prefix": prefix, "maxResults": _PER_PAGE}
    query["fields"] = "items/name,nextPageToken"
    while True:
        page = fs.call("GET", "b/{}/o", bucket, json_out=True, **query)
        yield [entry["name"] for entry in page.get("items", ())]
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def _azure_pages(fs: Any, container: str, prefix: str) -> Iterator[list[str]]:
    # Not by adlfs's `walk`, which leaves out what lies in a folder without a name, as dd//x.jpg.
    from fsspec.asyn import sync

    client = fs.service_client.get_container_client(container)
    pages = client.list_blobs(name_starts_with=prefix, results_per_page=_PER_PAGE).by_page()

    async def following() -> list[str] | None:
        async for page in pages:
            return [blob.name async for blob in page]
        return None

    while (page := sync(fs.loop, following)) is not None:
        yield page


def _folders(fs: Any, path: str) -> Iterator[list[str]]:
    """Folder by folder, those of a folder behind its files: in the memory of the largest."""
    top = path.rstrip("/")
    for folder, below, names in fs.walk(path, detail=False, on_error="raise"):
        below.sort()
        place = folder.rstrip("/").removeprefix(top).lstrip("/")
        yield [f"{place}/{name}" if place else name for name in sorted(names)]


_AZURE = ("az", "abfs", "abfss")
_PAGERS: dict[str, Callable[[Any, str, str], Iterator[list[str]]]] = {
    "s3": _s3_pages,
    "gs": _gs_pages,
    **dict.fromkeys(_AZURE, _azure_pages),
}

DRIVERS = {"s3": "s3fs", "gs": "gcsfs", **dict.fromkeys(_AZURE, "adlfs")}
"""Packages that bring fsspec's file systems of object stores; which the user installs."""
_ONE_PUT = {"s3": {"chunksize": 5 << 29}, "gs": {"chunksize": 5 << 29}}
"""Objects of up to 2.6 GB go in one request; the drivers would cut them at 50 or 100 MB."""
_MARKED = {"s3": "Metadata", "gs": "metadata"}
"""By which option `pipe_file` takes what is kept with an object."""
_ORIGIN = "birefnet-origin"
_PROBE = ".birefnet-write-test"
_CREDENTIALS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken"}
    | {"SignatureDoesNotMatch", "TokenRefreshRequired", "RequestExpired", "AuthFailure"}
    | {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
    | {"DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"}
)
"""Codes of stores' answers, and names of drivers' errors, that say the same of every request."""
_BUCKET = re.compile(r"\b(bucket|container)\b", re.IGNORECASE)
_VERSION_WORDS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_WRITES_WHOLE = frozenset({*DRIVERS, "adl", "memory", "oss", "cos", "oci", "hf"})
"""Where an object appears when all of it has come. Elsewhere a name is changed at the end."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """The object at a URL, or what lies below it.

    Every method asks the store: nothing is remembered, for others may write there.
    """

    place: RemotePath

    def found(self) -> Found | None:
        fs, path = self._opened()
        head = _HEADS.get(self.place.protocol)
        try:
            return head(fs, path) if head else _found_by_info(fs, path)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  drivers' errors share no base class
            self._failed(ImageError, "can't be asked for", error)

    def is_folder(self) -> bool:
        """Whether objects lie below it; one question, however many there are.

        Raises:
            ImageError: the store doesn't answer, or not to this user.
        """
        if self.place.url.endswith("/"):
            return True
        info = self._info()
        return info is not None and info.get("type") == "directory"

    def read(self) -> Path | bytes:
        fs, path = self._opened()
        try:
            content = fs.cat_file(path, start=0, end=MOST_PIPE_BYTES + 1)
        except Exception as error:  # noqa: BLE001  drivers' errors share no base class
            if _is_empty(fs, path):  # of which no range can be had
                content = b""
            else:
                self._failed(ImageError, "can't be read", error)
        return bounded(shown(self.place), content, "an object store")

    def check_writable(self) -> None:
        probe = RemoteFile(self.place / PurePath(_PROBE))
        probe.write(b"")
        fs, path = probe._opened()
        with suppress(Exception):  # a user may be allowed to write, and not to remove
            fs.rm_file(path)

    def write(self, content: bytes, origin: str = "") -> None:
        if self.place.version:
            raise OutputError(f"{shown(self.place)}: a version can't be written; leave it out")
        fs, path = self._opened()
        marked = _MARKED.get(self.place.protocol)
        try:
            if self.place.protocol in _WRITES_WHOLE:
                options: dict[str, Any] = _ONE_PUT.get(self.place.protocol, {})
                if origin and marked:
                    options = {**options, marked: {_ORIGIN: origin}}
                fs.pipe_file(path, content, **options)
            else:
                _write_and_rename(fs, path, content)
        except Exception as error:  # noqa: BLE001  as above
            self._failed(OutputError, "can't be written", error)

    def names_below(self) -> Iterator[str]:
        """Names of all that lies below, relative to it, in bounded memory where the store can.

        In the order of their bytes from s3 and gs; elsewhere folder by folder.

        Raises:
            ImageError: it can't be listed.
        """
        fs, path = self._opened()
        pages = pages_below(fs, path, self.place.protocol)
        count = 0
        while True:
            try:
                page = next(pages, None)
            except BirefnetError:
                raise
            except Exception as error:  # noqa: BLE001  as above
                rest = f"; {count} names came before that, the rest is unknown" if count else ""
                self._failed(ImageError, "can't be listed", error, rest)
            if page is None:
                return
            count += len(page)
            yield from page

    def fetch(self, target: Path) -> None:
        """Copy the object into a file of this machine, piece by piece.

        Raises:
            ImageError: it can't be read.
            OSError: the file can't be written.
        """
        fs, path = self._opened()
        try:
            fs.get_file(path, str(target))
        except Exception as error:  # noqa: BLE001  as above
            self._failed(ImageError, "can't be fetched", error)

    def version(self) -> str:
        """What changes when the object is replaced: its ETag or checksum, or size and time."""
        info = self._info() or {}
        return " ".join(str(info.get(word, "")) for word in ("size", *_VERSION_WORDS))

    def _info(self) -> dict[str, Any] | None:
        fs, path = self._opened()
        try:
            info: dict[str, Any] = fs.info(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  as above
            self._failed(ImageError, "can't be asked for", error)
        return info

    def _opened(self) -> tuple[Any, str]:
        """Its file system, and its path there."""
        scheme, mark, rest = self.place.url.partition("://")
        root, slash, _ = rest.partition("/")
        try:
            fs = _file_system(f"{scheme}{mark}{root}{slash}", bool(self.place.version))
            return fs, fs._strip_protocol(self.place.url)
        except MissingExtraError as error:
            raise MissingExtraError(f"{shown(self.place)}: {error}") from error
        except Exception as error:  # noqa: BLE001  as above
            self._failed(ImageError, "can't be opened", error)

    def _has_root(self) -> bool:
        """Whether its bucket is there, which drivers but that of s3 don't say."""
        with suppress(Exception):
            fs, path = self._opened()
            return self.place.protocol not in {"gs", *_AZURE} or fs.exists(path.split("/")[0])
        return True

    def _failed(
        self, kind: type[BirefnetError], what: str, error: Exception, rest: str = ""
    ) -> NoReturn:
        """Raise one line of ours for whatever a driver raised, without the URL's secrets."""
        if _is_about_credentials(error):
            kind = CredentialsError
        if isinstance(error, FileNotFoundError):
            is_object = kind is ImageError and not _BUCKET.search(str(error))
            reason = "no such object" if is_object and self._has_root() else "no such bucket"
        else:
            reason = f"{what}: {_without_secrets(self.place, first_line(error))}"
        raise kind(f"{shown(self.place)}: {reason}{rest}") from error


@cache
def _file_system(root: str, versions: bool = False) -> Any:
    """fsspec's file system for a scheme and bucket or host; its listings are not remembered.

    Args:
        root: up to the slash behind the bucket or host.
        versions: names end in the version that is meant.

    Raises:
        MissingExtraError: fsspec or the driver of this scheme is not installed.
    """
    with naming_extras():
        import fsspec

    protocol = RemotePath(root).protocol
    options = {"use_listings_cache": False} if protocol in DRIVERS else {}
    if versions:
        options["version_aware"] = True
    try:
        fs, _ = fsspec.core.url_to_fs(root, **options)
    except ImportError as error:
        driver = DRIVERS.get(protocol)
        advice = f"install it with: pip install {driver}" if driver else first_line(error)
        raise MissingExtraError(f"{protocol}:// needs {driver or 'a package'}; {advice}") from error
    return fs


def _found_on_s3(fs: Any, path: str) -> Found:
    """What is there by one request: `info` asks again, as for a folder, where nothing is."""
    bucket, key, version = fs.split_path(path)
    named = {"VersionId": version} if version else {}
    asked = {"Bucket": bucket, "Key": key, **named}
    try:
        head = fs.call_s3("head_object", **asked)
    except FileNotFoundError:
        raise
    except OSError:  # an answer to HEAD has no words
        head = fs.call_s3("get_object", **asked, Range="bytes=0-0")
    return Found(head.get("Metadata", {}).get(_ORIGIN, ""), head.get("ETag", "").strip('"'))


def _found_by_info(fs: Any, path: str) -> Found:
    info: dict[str, Any] = fs.info(path)
    kept = info.get("metadata") or {}
    version = next((str(info[word]) for word in ("ETag", "etag", "md5Hash") if info.get(word)), "")
    return Found(str(kept.get(_ORIGIN, "")), version.strip('"'))


_HEADS: dict[str, Callable[[Any, str], Found]] = {"s3": _found_on_s3}


def _is_about_credentials(error: BaseException) -> bool:
    """Whether a driver's error says that the credentials are missing, wrong or too old."""
    each: BaseException | None = error
    while each is not None:
        response = getattr(each, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if {str(code), type(each).__name__} & _CREDENTIALS or getattr(each, "code", 0) == 401:
            return True
        each = each.__cause__ or each.__context__
    return False


def _write_and_rename(fs: Any, path: str, content: bytes) -> None:
    folder, slash, name = path.rpartition("/")
    temporary = f"{folder}{slash}.birefnet-{secrets.token_hex(8)}-{name}"
    with suppress(OSError, NotImplementedError):
        fs.makedirs(folder, exist_ok=True)
    try:
        fs.pipe_file(temporary, content)
        fs.mv(temporary, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


def _is_empty(fs: Any, path: str) -> bool:
    ask: Callable[[str], dict[str, Any]] = fs.info
    with suppress(Exception):
        return ask(path).get("size") == 0
    return False


def _without_secrets(place: RemotePath, text: str) -> str:
    """A driver's text without what the URL must not give away."""
    text = text.replace(place.url, str(place))
    before, at, _ = place.url.partition("://")[2].rpartition("@")
    for secret in (before, before.partition(":")[2], place.url.partition("?")[2]):
        if secret and (at or "?" in place.url):
            text = text.replace(secret, "...")
    return text
