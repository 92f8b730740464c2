"""What lies below a URL, page by page: millions of names in the memory of a thousand.

fsspec's own `find`, `ls` and `walk` return lists: of s3 and gs a folder's million names would take
a gigabyte. So their pages are asked for here, through the drivers' public calls of the stores' own
interfaces (ListObjectsV2 of S3, Objects: list of Google Cloud Storage).
"""

from collections.abc import Callable, Iterator
from typing import Any

from birefnet_runtime.errors import ImageError

_PER_PAGE = 1000
"""What both stores give at most."""


def pages_below(fs: Any, path: str, protocol: str) -> Iterator[list[str]]:
    """Names of objects below a path, relative to it, some at a time.

    Args:
        fs: fsspec's file system.
        path: a folder there, as the file system names it.
        protocol: `s3` and `gs` are listed page by page and in the order of their names' bytes,
            which is checked; others folder by folder, each in order.

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
            if (encoded := name.encode("utf-8", "surrogateescape")) <= last:
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


def _folders(fs: Any, path: str) -> Iterator[list[str]]:
    """Folder by folder, those of a folder behind its files: in the memory of the largest."""
    top = path.rstrip("/")
    for folder, below, names in fs.walk(path, detail=False, on_error="raise"):
        below.sort()
        place = folder.rstrip("/").removeprefix(top).lstrip("/")
        yield [f"{place}/{name}" if place else name for name in sorted(names)]


_PAGERS: dict[str, Callable[[Any, str, str], Iterator[list[str]]]] = {
    "s3": _s3_pages,
    "gs": _gs_pages,
}
