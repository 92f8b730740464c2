"""A row's own process: it opens one backend and does what it is told, one line at a time.

`python -m birefnet_benchmarks.bench.measure.worker` reads requests from standard input, a JSON
object a line, the first of them the row, and answers each with one line: a JSON object, with
`error` in it if it could not be done. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from birefnet_models.errors import BirefnetError
from birefnet_runtime.machine.process_memory import peak_rss_bytes

from ..backends.base import Backend, backend_class
from ..configuration import Row
from .inputs import sample_tensor
from .timing import time_turn

Answer = dict[str, Any]


class Worker:
    """The row, opened, and what can be asked of it."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._image = sample_tensor(row.batch, row.size)
        self._backend: Backend | None = None

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("asked before it was opened")
        return self._backend

    def open(self) -> Answer:
        """Load, and run for the first time. Who started this process knows since when."""
        make = backend_class(self._row.backend)
        imported = time.perf_counter()
        self._backend = make(self._row)
        loaded = time.perf_counter()
        self.backend.logits(self._image)
        first = time.perf_counter()
        return {
            "load_s": loaded - imported,
            "first_s": first - loaded,
            "facts": self.backend.facts(),
        }

    def turn(self, least_s: float) -> Answer:
        """Warm runs for about `least_s`, and the processor time that they took."""
        busy = time.process_time()
        times = time_turn(lambda: self.backend.logits(self._image), least_s)
        return {"times_s": times, "busy_s": time.process_time() - busy}

    def logits(self, file: str) -> Answer:
        """Write the logits of the sample, float32 (batch, 1, height, width), to a `.npy` file."""
        np.save(file, self.backend.logits(self._image))
        return {}

    def alpha(self, image: str, file: str) -> Answer:
        """Write the alpha of an image file, float32 (H, W), to a `.npy` file."""
        np.save(file, self.backend.alpha(Path(image)))
        return {}


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer each request until there are no more."""
    lines = iter(requests)
    worker = Worker(_row(json.loads(next(lines))))
    verbs: dict[str, Callable[..., Answer]] = {
        "open": worker.open,
        "turn": worker.turn,
        "logits": worker.logits,
        "alpha": worker.alpha,
    }
    for answer in _answers(lines, verbs):
        answers.write(json.dumps(answer | {"peak_rss_bytes": peak_rss_bytes()}) + "\n")
        answers.flush()


def _answers(lines: Iterator[str], verbs: dict[str, Callable[..., Answer]]) -> Iterator[Answer]:
    for line in lines:
        verb, arguments = json.loads(line)
        try:
            yield verbs[verb](**arguments)
        except BirefnetError as error:
            yield {"error": str(error)}
        except Exception as error:  # noqa: BLE001  a backend may raise anything: that is a result
            text = str(error).strip().partition("\n")[0]
            yield {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}


def _row(stored: dict[str, Any]) -> Row:
    return Row(**{**stored, "size": tuple(stored["size"])})


def main() -> None:
    """Serve on standard input and output, and be the first that the kernel ends if memory lacks."""
    with suppress(OSError):  # not Linux, or not allowed to
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not reach the answers
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
