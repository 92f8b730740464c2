"""Which requests are let in, and which pictures are worked on: bounds by count, pixels, bytes."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from .errors import Refusal, too_busy

LONGEST_RETRY_S = 60


class Slot:
    """A request's slot in the queue."""

    def __init__(self, queue: "RequestQueue") -> None:
        self._queue = queue
        self._counted = True

    def answered(self) -> None:
        """The answer is made: the next request may come. Its pixels count until it is sent."""
        if self._counted:
            self._counted = False
            self._queue.count -= 1


class RequestQueue:
    """Bounds the requests whose body has arrived.

    Args:
        most: how many may be under way.
        most_pixels: how many pixels their pictures may have; one that is larger goes alone.
    """

    def __init__(self, most: int, most_pixels: int) -> None:
        self._most = most
        self._most_pixels = most_pixels
        self._usual_s = 1.0
        self.count = 0
        self.pixels = 0

    @contextmanager
    def slot(self, pixels: int) -> Iterator[Slot]:
        """Take a slot for a picture of so many pixels, until the block ends.

        Raises:
            Refusal: there is none.
        """
        if self.count >= self._most or (self.pixels and self.pixels + pixels > self._most_pixels):
            raise Refusal(
                503,
                "queue_full",
                "the server has as much to do as it takes on; try again later",
                retry_after_s=self.retry_after_s,
            )
        self.count += 1
        self.pixels += pixels
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.answered()
            self.pixels -= pixels

    def took(self, seconds: float) -> None:
        """Learn how long one picture keeps the server busy."""
        self._usual_s += 0.2 * (seconds - self._usual_s)

    @property
    def retry_after_s(self) -> int:
        """About when half of what is under way will be done, in whole seconds."""
        return min(LONGEST_RETRY_S, max(1, math.ceil(self.count / 2 * self._usual_s)))


class UploadBudget:
    """Counts the bytes of bodies and answers that are in memory.

    Args:
        most: from which on new bodies are refused.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self.bytes = 0

    def add(self, count: int) -> None:
        """Count more of a body.

        Raises:
            Refusal: it would be too much.
        """
        if self.bytes + count > self._most:
            raise too_busy("too many uploads at once")
        self.bytes += count

    @contextmanager
    def answer(self, count: int) -> Iterator[None]:
        """Count an answer until it is sent."""
        self.bytes += count
        try:
            yield
        finally:
            self.bytes -= count


class PictureBudget:
    """Lets pictures be worked on in the order they came, by count and by the bytes they take.

    Args:
        most: how many at once.
        capacity: how many bytes together; a picture that takes more goes alone.
    """

    def __init__(self, most: int, capacity: float) -> None:
        self._most = most
        self._capacity = capacity
        self._waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        self._inside = 0
        self._load = 0.0

    @asynccontextmanager
    async def entered(self, load: float) -> AsyncIterator[None]:
        """Wait for room, and take it until the block ends."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, load))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in as it was given up
                self._leave(load)
            else:
                if (turn, load) in self._waiting:
                    self._waiting.remove((turn, load))
                self._let_in()
            raise
        try:
            yield
        finally:
            self._leave(load)

    def _let_in(self) -> None:
        while self._waiting:
            turn, load = self._waiting[0]
            if turn.cancelled():  # given up, and its request hasn't been told yet
                self._waiting.popleft()
                continue
            fits = self._inside < self._most and self._load + load <= self._capacity
            if self._inside and not fits:
                return
            self._waiting.popleft()
            self._inside += 1
            self._load += load
            turn.set_result(None)

    def _leave(self, load: float) -> None:
        self._inside -= 1
        self._load -= load
        self._let_in()
