"""Why a request gets no picture, and how that is said: in remove.bg's form or in rembg's."""

from typing import Any

from birefnet_models.base.errors import BirefnetError

HUNG_UP = 499
"""In logs and metrics, the status of a request whose client left before the answer (nginx's)."""


class Refusal(BirefnetError):
    """A request that isn't answered with a picture.

    Args:
        status: of HTTP.
        code: for programs.
        title: for people; never a path or an inner detail.
        retry_after_s: when it may be worth another try.
        close: whether the connection ends, as where the body was not read to its end.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        *,
        retry_after_s: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.retry_after_s = retry_after_s
        self.close = close

    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.close:
            headers["Connection"] = "close"
        return headers

    def as_removebg(self) -> dict[str, Any]:
        """As remove.bg's clients read it."""
        return {"errors": [{"title": self.title, "code": self.code}]}

    def as_rembg(self) -> dict[str, Any]:
        """As rembg's clients read it."""
        return {"detail": self.title}


class HungUp(Exception):
    """The client is gone; nobody reads an answer."""


def bad_parameter(name: str, what: str) -> Refusal:
    """A parameter whose value isn't understood or isn't supported."""
    return Refusal(400, "invalid_parameter", f"{name}: {what}")


def url_refused(name: str) -> Refusal:
    """An address to fetch from: never, whoever asks."""
    return Refusal(
        400, "url_not_supported", f"{name}: this server fetches no addresses; send the file itself"
    )
