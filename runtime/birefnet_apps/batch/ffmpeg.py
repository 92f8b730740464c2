"""ffmpeg at the other end of a pipe."""

import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from birefnet_runtime.errors import MissingExtraError

_DAMAGE = re.compile(
    r"invalid data|error while decoding|error submitting packet|error splitting|corrupt"
    r"|partial file|ended prematurely|truncat",
    re.IGNORECASE,
)
"""What ffmpeg writes of damage that it reads past, ending with exit code 0."""


class Ffmpeg:
    """A running ffmpeg; ended with the block, however that ends.

    In a session of its own: Ctrl-C is for us, who finish the frame in hand first.

    Args:
        arguments: what follows the program's name.
        reads: whether it reads from the pipe; else it writes.
    """

    def __init__(self, arguments: list[str], *, reads: bool) -> None:
        # Not a pipe, which fills up when nobody reads it.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [tool("ffmpeg"), "-v", "error", *arguments],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._messages,
            start_new_session=True,
        )
        stream = self._process.stdin if reads else self._process.stdout
        assert stream is not None
        self.stream: IO[bytes] = stream

    def damage(self) -> str | None:
        """The first line that it has written of damage so far."""
        return next(filter(_DAMAGE.search, self._lines()), None)

    def finish(self, name: object, kind: type[Exception], problem: str) -> None:
        """Close the pipe and wait.

        Raises:
            kind: ffmpeg failed; the message ends with its last line.
        """
        with suppress(BrokenPipeError):
            self.stream.close()
        if self._process.wait() != 0:
            raise kind(f"{name}: {problem}: {last_line(chr(10).join(self._lines()))}")

    def _lines(self) -> list[str]:
        self._messages.seek(0)
        text = self._messages.read().decode(errors="replace")
        return re.sub(r" @ 0x[0-9a-f]+", "", text).splitlines()

    def __enter__(self) -> "Ffmpeg":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with suppress(BrokenPipeError):
            self.stream.close()
        self._messages.close()


def tool(name: str) -> str:
    """The path of ffmpeg or ffprobe.

    Raises:
        MissingExtraError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingExtraError(
            f"{name} is not installed; video needs ffmpeg (apt install ffmpeg, brew install ffmpeg)"
        )
    return path


def has_filter(name: str) -> bool:
    """Whether this ffmpeg was built with a filter."""
    command = [tool("ffmpeg"), "-v", "error", "-filters"]
    listed = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout
    return any(line.split()[1:2] == [name] for line in listed.splitlines())


def named(path: Path) -> str:
    """A path that ffmpeg takes for one, whatever it is called."""
    return f"file:{path}"


def last_line(text: str) -> str:
    """The last line that ffmpeg wrote."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"
