"""Process of one configuration: it opens the backend and answers requests, one line each.

`python -m birefnet_benchmarks.bench.measure.worker` reads JSON lines from standard input, first the
configuration, then requests; it answers each request with one line: a JSON object, with `error` in
it on failure. Whatever libraries print goes to standard error.
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
from birefnet_export.verify.logits import sample_image
from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.machine import peak_rss_bytes

from ..backends.base import Backend, backend_class
from ..configuration import Configuration
from .timing import time_round

Answer = dict[str, Any]


class Worker:
    """A configuration, and the requests that it answers."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._image = sample_image((configuration.batch, *configuration.size))
        self._backend: Backend | None = None

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("a request before `open`")
        return self._backend

    def open(self) -> Answer:
        """Load, and run for the first time."""
        make = backend_class(self._configuration.backend)
        imported = time.perf_counter()
        self._backend = make(self._configuration)
        loaded = time.perf_counter()
        self.backend.logits(self._image)
        first = time.perf_counter()
        return {
            "load_s": loaded - imported,
            "first_s": first - loaded,
            "facts": self.backend.facts(),
        }

    def round(self, least_s: float) -> Answer:
        """Warm runs for about `least_s`, and the processor time that they took."""
        busy = time.process_time()
        times = time_round(lambda: self.backend.logits(self._image), least_s)
        return {"times_s": times, "busy_s": time.process_time() - busy}

    def logits(self, file: str) -> Answer:
        """Write the logits of the sample, float32 (batch, 1, height, width), to a `.npy` file."""
        np.save(file, self.backend.logits(self._image))
        return {}

    def alpha(self, image: str, file: str) -> Answer:
        """Write the alpha of an image file, float32 (H, W), to a `.npy` file."""
        np.save(file, self.backend.alpha(Path(image)))
        return {}


def answer_requests(requests: IO[str], answers: IO[str]) -> None:
    """Answer each request until there are no more."""
    lines = iter(requests)
    stored = json.loads(next(lines))
    worker = Worker(Configuration(**{**stored, "size": tuple(stored["size"])}))
    handlers: dict[str, Callable[..., Answer]] = {
        "open": worker.open,
        "round": worker.round,
        "logits": worker.logits,
        "alpha": worker.alpha,
    }
    for answer in _answers(lines, handlers):
        answers.write(json.dumps(answer | {"peak_rss_bytes": peak_rss_bytes()}) + "\n")
        answers.flush()


def _answers(lines: Iterator[str], handlers: dict[str, Callable[..., Answer]]) -> Iterator[Answer]:
    for line in lines:
        name, arguments = json.loads(line)
        try:
            yield handlers[name](**arguments)
        except BirefnetError as error:
            yield {"error": str(error)}
        except Exception as error:  # noqa: BLE001  a backend may raise anything: that is a result
            text = str(error).strip().partition("\n")[0]
            yield {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}


def main() -> None:
    """Serve on standard input and output. Out of memory, the kernel ends this process first."""
    with suppress(OSError):  # not Linux, or not allowed to
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not reach the answers
    answer_requests(sys.stdin, answers)


if __name__ == "__main__":
    main()
