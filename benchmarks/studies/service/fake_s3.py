"""A stand-in for s3fs whose bucket has any number of keys, none of which is kept."""

from collections.abc import Callable
from typing import Any


class FakeS3:
    """Pages of ListObjectsV2, made up when they are asked for.

    Args:
        count: how many keys there are.
        name: the key of a number.
        breaks_at: the page that begins there is an error; None: all come.

    Attributes:
        asked: the prefix of each request.
    """

    def __init__(
        self,
        count: int,
        name: Callable[[int], str] = "in/{:08d}.jpg".format,
        breaks_at: int | None = None,
    ) -> None:
        self.count, self.name, self.breaks_at = count, name, breaks_at
        self.asked: list[str] = []
        self.req_kw = {"RequestPayer": "requester"}

    def _strip_protocol(self, url: str) -> str:
        return url.partition("://")[2].rstrip("/")

    def call_s3(self, method: str, **query: Any) -> dict[str, Any]:
        """One page, from the number that is its token."""
        assert method == "list_objects_v2"
        assert query["RequestPayer"] == "requester"
        self.asked.append(query["Prefix"])
        start = int(query.get("ContinuationToken", 0))
        if start == self.breaks_at:
            raise OSError("Please try again")
        stop = min(self.count, start + query["MaxKeys"])
        return {
            "Contents": [{"Key": self.name(n), "Size": 1} for n in range(start, stop)],
            "IsTruncated": stop < self.count,
            "NextContinuationToken": str(stop),
        }
