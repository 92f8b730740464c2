"""Requests that end badly, thousands of them: does the server's memory stay where it is?

Every kind of end: refusals before and after the network's run, bodies that are cut, too large or
never come whole, clients that leave before and during the answer, answers that take too long, and
good requests among them. In rounds of four clients; after each, once nothing is under way, the
resident memory is what the round left.
"""

import io
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studies.service.serve_load import PATIENCE_S, Tally, Target, bomb, jpeg, run_all
from studies.service.serve_processes import Plan, Server, ours, until

CLIENTS = 4
ROUNDS = 50
SLOW_EACH = 5
"""Rounds to one that ends with slow pictures."""
SIDE = 600
"""Of most pictures: one is 1 MB decoded, so that what a thousand leave is well seen."""
SLOW_SIDE = 7000
"""Of four pictures at once that take longer than the timeout; 49 megapixels each."""
TIMEOUT_S = 2.0
MOST_UPLOAD = 5_000_000
FLAT = 0.1
"""Share by which the memory may move after the first tenth and still be called flat."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request.

    Attributes:
        share: how often it comes, beside the others' shares.
        act: does it; the status, or what became of it.
        wanted: outcomes that are right.
    """

    share: int
    act: Callable[[random.Random], object]
    wanted: frozenset[object]


class BadPaths:
    """Makes bad requests of every kind.

    Args:
        target: whom they meet.
        tally: where their ends are noted.
    """

    def __init__(self, target: Target, tally: Tally) -> None:
        self._target = target
        self._tally = tally
        black = png(np.zeros((SIDE, SIDE, 3), np.uint8))
        self._noise = png(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
        self._photo = jpeg((SIDE, SIDE))
        self._slow = target.form(png(np.zeros((SLOW_SIDE, SLOW_SIDE, 3), np.uint8)))
        self._whole = target.form(self._noise)
        self._good = target.form(self._photo)
        self._expected = target.post(self._good)
        outside = {"roi": b"99999 99999 999999 999999"}
        broken = {"bg_image_file": self._noise[:-20_000]}
        refused = {
            "no subject": (4, target.form(black), 400),
            "region outside": (3, target.form(self._photo, outside), 400),
            "cut file": (4, target.form(self._noise[:-20_000]), 400),
            "cut background": (4, target.form(self._photo, broken), 400),
            "not an image": (2, target.form(self._noise[100:]), 400),
            "unknown parameter": (2, target.form(self._noise, {"sise": b"full"}), 400),
            "not a form": (2, self._noise, 400),
            "too many pixels": (2, target.form(bomb()), 413),
            "body too large": (2, bytes(MOST_UPLOAD + 1), 413),
        }
        self.kinds = {
            name: Kind(share, self._posts(body), frozenset({status}))
            for name, (share, body, status) in refused.items()
        } | {
            "silent after half": Kind(1, self._silent, frozenset({408})),
            "gone after half": Kind(3, self._gone, frozenset({"left"})),
            "gone before the answer": Kind(4, self._left, frozenset({"left"})),
            "gone within the answer": Kind(2, self._left_within, frozenset({"left"})),
            "good": Kind(3, self._posts_good, frozenset({"as ever"})),
        }

    def act(self, draw: random.Random) -> None:
        """Be bad, or good, once. A queue that is full, or too slow, may be the answer to each."""
        shares = [kind.share for kind in self.kinds.values()]
        (name,) = draw.choices([*self.kinds], shares)
        self._note(name, self.kinds[name].act, draw, self.kinds[name].wanted | {503})

    def act_slow(self, draw: random.Random) -> None:
        """Send a picture that takes longer than there is time; a fast machine may refuse it."""
        self._note("slow", self._posts(self._slow), draw, frozenset({400, 503}))

    def _note(
        self,
        name: str,
        act: Callable[[random.Random], object],
        draw: random.Random,
        wanted: frozenset[object],
    ) -> None:
        try:
            outcome = act(draw)
        except OSError as error:
            outcome = type(error).__name__
        self._tally.add(name, outcome, right=outcome in wanted)

    def _posts(self, body: bytes) -> Callable[[random.Random], object]:
        return lambda _: self._target.post(body)[0]

    def _posts_good(self, _: random.Random) -> object:
        answer = self._target.post(self._good)
        return "as ever" if answer == self._expected else answer[0]

    def _half(self) -> socket.socket:
        connection = self._target.begin(len(self._whole))
        connection.sendall(self._whole[: len(self._whole) // 2])
        return connection

    def _silent(self, _: random.Random) -> object:
        with self._half() as connection:
            line = connection.recv(100).partition(b"\r\n")[0]
            return int(line.split()[1])

    def _gone(self, _: random.Random) -> object:
        self._half().close()
        return "left"

    def _left(self, draw: random.Random) -> object:
        with self._target.begin(len(self._good)) as connection:
            connection.sendall(self._good)
            time.sleep(draw.uniform(0, 0.1))
        return "left"

    def _left_within(self, _: random.Random) -> object:
        with self._target.begin(len(self._good), receive_bytes=4096) as connection:
            connection.sendall(self._good)
            connection.settimeout(PATIENCE_S)
            connection.recv(1000)
        return "left"


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of uint8 (H, W, 3) RGB."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def measure_bad_paths(plan: Plan, side: int) -> dict[str, Any]:
    """Resident memory over many bad requests to `nano`, at rest after each round.

    Args:
        plan: how many requests, and the threads.
        side: of the network.
    """
    bounds = ("--timeout", str(TIMEOUT_S), "--max-upload", str(MOST_UPLOAD))
    tally = Tally()
    samples: list[int] = []
    with ours(plan, "nano", side, *bounds) as server:
        paths = BadPaths(server.target, tally)
        started = time.perf_counter()
        per_round = max(CLIENTS, plan.requests // ROUNDS)
        for number in range(ROUNDS):
            run_all(CLIENTS, per_round, paths.act, seed=number)
            if number % SLOW_EACH == 0:
                run_all(CLIENTS, CLIENTS, paths.act_slow, seed=number)
            samples.append(rss_at_rest(server))
        lines = server.log.read_text()
        return {
            "requests": sum(tally.outcomes.values()),
            "seconds": time.perf_counter() - started,
            "outcomes": dict(sorted(tally.outcomes.items())),
            "wrong": len(tally.wrong),
            "wrong_kinds": sorted(set(tally.wrong)),
            "tracebacks": lines.count("Traceback"),
            "rss_bytes_by_round": samples,
            "peak_rss_bytes": server.peak_rss_bytes(),
            **flatness(samples),
        }


def rss_at_rest(server: Server) -> int:
    """Resident bytes once nothing is under way."""
    idle = (b"birefnet_queue_depth 0.0", b"birefnet_pixels 0.0", b"birefnet_held_bytes 0.0")

    def rests() -> bool:
        status, text = server.target.get("/metrics")
        return status == 200 and all(line in text for line in idle)

    with suppress(TimeoutError):  # what is never given back is seen in the memory
        until(rests, 30)
    rss = server.rss_bytes()
    assert rss is not None
    return rss


def flatness(samples: list[int]) -> dict[str, Any]:
    """How memory moves after the first tenth, in which everything is loaded.

    Args:
        samples: bytes at rest, in order; at least ten.

    Returns:
        `rss_bytes_by_tenth`, medians; `drift`, the last one beside the second; `flat`, whether all
        from the second on lie within `FLAT` of it.
    """
    tenths = [int(np.median(part)) for part in np.array_split(np.array(samples), 10)]
    moved = [tenth / tenths[1] - 1 for tenth in tenths[1:]]
    return {
        "rss_bytes_by_tenth": tenths,
        "drift": moved[-1],
        "flat": max(map(abs, moved)) <= FLAT,
    }
