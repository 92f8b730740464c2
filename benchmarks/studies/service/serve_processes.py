"""The servers that `studies.service.serve` compares, each in a process of its own."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from birefnet_benchmarks.bench.inputs import COMMAND
from birefnet_runtime.machine import peak_rss_bytes, rss_bytes

from studies.service.serve_load import Target

REMBG_MODEL = "birefnet-general-lite"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        model: an `.onnx` file that takes any size.
        size: of the network; rembg's is 1024, whatever is asked for.
        threads: of both servers.
        seconds: of each trial.
        requests: of the drift part.
        rembg: its program.
    """

    model: Path
    size: int
    threads: int
    seconds: float
    requests: int
    rembg: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, and where its lines go."""

    target: Target
    process: subprocess.Popen[bytes]
    log: Path

    def peak_rss_bytes(self) -> int | None:
        return peak_rss_bytes(Path(f"/proc/{self.process.pid}/status"))

    def rss_bytes(self) -> int | None:
        return rss_bytes(Path(f"/proc/{self.process.pid}/status"))


@contextlib.contextmanager
def ours(plan: Plan, model: str, size: int, *more: str) -> Iterator[Server]:
    """`birefnet serve`, ready."""
    options = ("--model", model, "--size", str(size), "--threads", str(plan.threads))
    command = [sys.executable, "-c", COMMAND, "serve", "--port", "0", *options, *more]
    with _logged(command, {}) as (process, log):
        found = _waited(process, log, rb"listening on http://127.0.0.1:(\d+)")
        _waited(process, log, rb"ready: ")
        yield Server(Target(int(found[1])), process, log)
        process.terminate()
        assert process.wait(300) == 0, "it did not end well"


@contextlib.contextmanager
def rembgs(plan: Plan, port: int = 7123) -> Iterator[Server]:
    """`rembg s` on the same model file, ready: its first request opens the model."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(plan.model, Path(home) / f"{REMBG_MODEL}.onnx")
        data = plan.model.with_name(plan.model.name + "_data")
        if data.is_file():
            shutil.copy(data, Path(home) / data.name)
        environment = {
            "U2NET_HOME": home,
            "MODEL_CHECKSUM_DISABLED": "1",
            "OMP_NUM_THREADS": str(plan.threads),
        }
        command = [str(plan.rembg), "s", "--no-ui", "--host", "127.0.0.1", "--port", str(port)]
        with _logged(command, environment) as (process, log):
            target = Target(port, "/api/remove", "file", REMBG_MODEL)
            until(lambda: target.get("/openapi.json")[0] == 200)
            yield Server(target, process, log)
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def _logged(
    command: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=stream, env=os.environ | environment
            )
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], patience_s: float = 300) -> None:
    end = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError):
            if holds():
                return
        if time.monotonic() > end:
            raise TimeoutError("it never came about")
        time.sleep(0.05)


def _waited(process: subprocess.Popen[bytes], log: Path, pattern: bytes) -> re.Match[bytes]:
    until(lambda: re.search(pattern, log.read_bytes()) is not None or process.poll() is not None)
    found = re.search(pattern, log.read_bytes())
    assert found, log.read_text()
    return found
