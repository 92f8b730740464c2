"""What signals ask of a server: to drain, to end at once, to read its keys again."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

SIGHUP = getattr(signal, "SIGHUP", -1)
"""Windows has none."""
ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class EndedEarly(KeyboardInterrupt):
    """The server is told to end before it serves."""


class Signals:
    """Handles signals inside of a `with` block, in the main thread; elsewhere nothing comes.

    Before `serving` is set the first signal that asks for an end leaves the block, without an
    error. After that it is for the server to look at `ended_by`. A second one ends the process at
    once, with 128 and the signal's number as exit code: threads that are in the middle of a picture
    can't be stopped in another way.

    Attributes:
        ended_by: the number of the signal that asked for an end; 0 as long as none has.
        reload: SIGHUP came; set back by who reads the keys again.
        serving: whether a server looks at these.
    """

    def __init__(self) -> None:
        self.ended_by = 0
        self.reload = False
        self.serving = False
        self._before: dict[int, Any] = {}
        self._terminals = [number for number in range(3) if os.isatty(number)]

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*ENDING, *([SIGHUP] if SIGHUP > 0 else [])):
                if signal.getsignal(number) != signal.SIG_IGN or number == SIGHUP:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for number, handler in self._before.items():
            # The process is about to end; another Ctrl-C shall not show where it was.
            signal.signal(number, signal.SIG_DFL if self.ended_by else handler)
        # What was interrupted may have made another error of it.
        return bool(self.ended_by) and not self.serving and error is not None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == SIGHUP and not self._leave_terminal():
            self.reload = True
            return
        if self.ended_by:
            os._exit(128 + number)
        self.ended_by = number
        if not self.serving:
            raise EndedEarly

    def _leave_terminal(self) -> bool:
        """Do without the terminal that was there, if it is gone; whether it is."""
        gone = [number for number in self._terminals if not os.isatty(number)]
        for number in gone:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, number)
                os.close(nowhere)
        return bool(gone)
