"""Why a request gets no picture, and how that is said: in remove.bg's form or in rembg's.

And how errors get from threads and tasks to it, without the pictures of the frames they were in.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.pipeline import bare

Value = TypeVar("Value")

HUNG_UP = 499
"""In logs and metrics, the status of a request whose client left before it had the whole answer
(nginx's)."""
BUSY = frozenset({"queue_full", "busy"})
"""Codes of refusals that say no more than that there is too much to do."""


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


def too_busy(what: str) -> Refusal:
    """A request whose body isn't read any more, since there is too much of something."""
    title = f"{what}; try again later"
    return Refusal(503, "busy", title, retry_after_s=2, close=True)


def url_refused(name: str) -> Refusal:
    """An address to fetch from: never, whoever asks."""
    return Refusal(
        400, "url_not_supported", f"{name}: this server fetches no addresses; send the file itself"
    )


class Outcome(Generic[Value]):
    """A value or an error, given out once.

    For futures and tasks, which should hold neither. An exception keeps the frames it passed
    through, and these their variables, such as a decoded picture. A future keeps the exception, and
    the frame that waits for the future is soon among the exception's: a reference cycle that only
    the cyclic collector frees. It counts objects and not bytes, so gigabytes may wait for it. An
    outcome's error has no frames, and an outcome that was taken holds nothing.

    Attributes:
        value: what the work returned, until it is taken; None of work that failed.
        error: what it raised, as `bare` leaves it, until it is taken.
    """

    __slots__ = ("error", "value")

    def __init__(self, value: Value | None = None, error: Exception | None = None) -> None:
        self.value = value
        self.error = error

    @classmethod
    def of(cls, work: Callable[..., Value], *arguments: Any) -> "Outcome[Value]":
        """Do some work."""
        try:
            return cls(work(*arguments))
        except Exception as error:  # noqa: BLE001  raised where the outcome is taken
            return cls(error=bare(error))

    @classmethod
    def later(cls, work: Callable[..., Value], *arguments: Any) -> "Callable[[], Outcome[Value]]":
        """What does some work when it is called, once, for an executor's thread.

        An executor holds on to what it was handed until its future is done, and a little longer.
        Of this nothing is left by then.
        """
        parcel = [(work, arguments)]
        return lambda: cls.of(*_unpacked(parcel))

    def forget(self) -> None:
        """Hold nothing from now on: nobody takes it any more."""
        self.value = self.error = None

    def taken(self) -> Value:
        """The value, which the outcome then forgets.

        Raises:
            Exception: what the work raised, which the outcome then forgets, too.
        """
        value, error = self.value, self.error
        self.forget()
        if error is None:
            return cast(Value, value)
        try:
            raise error
        finally:
            del error  # the traceback has this frame


async def outcome_of(work: Coroutine[Any, Any, Value]) -> Outcome[Value]:
    """Wait for some work, as a task that keeps no frames of it.

    Raises:
        CancelledError: it was cancelled.
    """
    try:
        return Outcome(await work)
    except Exception as error:  # noqa: BLE001  raised where the outcome is taken
        return Outcome(error=bare(error))
    except asyncio.CancelledError:
        pass
    raise asyncio.CancelledError  # another one: the task keeps it, and the first has the frames


def _unpacked(parcel: list[tuple[Callable[..., Value], tuple[Any, ...]]]) -> tuple[Any, ...]:
    work, arguments = parcel.pop()
    return work, *arguments
