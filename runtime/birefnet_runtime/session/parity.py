"""Whether a provider answers as the CPU does: on one image, when it first runs a model here."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from birefnet_models.text import format_seconds, format_size
from numpy.typing import NDArray

from ..errors import ProviderError
from ..model.signature import OutputKind
from .ort_errors import say


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a mask may be from the CPU's, in [0, 1]. Far above rounding, and far below what a
    wrong kernel or an overflow does; not yet tuned on hardware."""

    largest: float
    mean: float


FP32 = Tolerance(largest=0.05, mean=0.001)  # TensorRT multiplies in TF32
FP16 = Tolerance(largest=0.2, mean=0.005)


def compare(output: Any, expected: Any, kind: OutputKind = "logits") -> dict[str, float]:
    """Differences of masks: `largest` and `mean`; NaN where one holds NaN.

    Args:
        output: of the provider, an array of any shape.
        expected: the CPU's, of the same shape.
        kind: what both hold.
    """
    difference = np.abs(_mask(output, kind) - _mask(expected, kind))
    return {"largest": float(difference.max()), "mean": float(difference.mean())}


def check(
    parity: dict[str, float],
    tolerance: Tolerance,
    size: tuple[int, int],
    *,
    whose: str,
    instead: str,
) -> None:
    """Refuse masks that aren't the CPU's.

    Args:
        parity: from `compare`.
        tolerance: what is allowed.
        size: (height, width) at which both ran.
        whose: who made the mask, with an apostrophe.
        instead: what else can be tried.

    Raises:
        ProviderError: beyond the tolerance, or not a number.
    """
    if parity["largest"] <= tolerance.largest and parity["mean"] <= tolerance.mean:
        return
    raise ProviderError(
        f"{whose} mask differs from the CPU's by {parity['largest']:.2g} at most and "
        f"{parity['mean']:.2g} on average, at {format_size(size)}; "
        f"{tolerance.largest:g} and {tolerance.mean:g} are allowed, so it is not used; "
        f"try {instead}"
    )


def sample_image(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """A bright disc on a dark ground under noise, the same each time.

    Args:
        shape: (batch, height, width).

    Returns:
        float32 (batch, 3, height, width), normalized RGB.
    """
    batch, height, width = shape
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    disc = np.where(np.hypot(y, x) < 0.6, 2.0, -1.5)
    noise = np.random.default_rng(0).standard_normal((batch, 3, height, width))
    return np.asarray(disc + 0.1 * noise, np.float32)


@contextmanager
def ticking(what: str, promise: str | None = None, every_s: float = 10.0) -> Iterator[None]:
    """Say on stderr how long `what` has taken, every so often until the block ends.

    With a promise of how long it may take, that is said at once, and at the end how long it was.
    """
    started, done = time.monotonic(), threading.Event()

    def tick(how: str = "") -> None:
        say(f"birefnet: {what}: {how}{format_seconds(time.monotonic() - started)}")

    def keep_ticking() -> None:
        while not done.wait(every_s):
            tick()

    if promise:
        say(f"birefnet: {what}; {promise}")
    ticker = threading.Thread(target=keep_ticking, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    if promise:
        tick("took ")


def _mask(answer: Any, kind: OutputKind) -> NDArray[np.float64]:
    values = np.asarray(answer, np.float64)
    if kind == "logits":
        return np.tanh(values / 2) / 2 + 0.5
    return values / 255 if kind == "alpha" else values
