"""The proof that a file carries: pictures that a formula draws, and what the model answers to them.

`birefnet export` computes the answer in float64, by the checkpoint's definition, and writes it into
the file's metadata as `birefnet.known_answer`. docs/reference/known-answer.md
describes the format, so that any language can run it.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..errors import ModelError
from .validate import as_side, read_json

KEY = f"{METADATA_PREFIX}known_answer"
PICTURES = ((73, 105), (45, 31))
"""(height, width): one is enlarged on the way back, one shrunk; sides are odd; both are one
batch."""
SIZE = (64, 96)
"""(height, width) of the network: half of it is not a multiple of 32."""
STEP = 3
"""Of rows and columns, one in so many is kept. The way back reads two rows on either side, so a
fault in any row shows."""
_UNIT = 65535
"""Alpha is kept in so many parts."""


class Tolerance(NamedTuple):
    """How far an answer may be off."""

    largest: float
    mean: float


class Difference(NamedTuple):
    """How far an answer is off; NaN where it holds NaN."""

    largest: float
    mean: float

    def within(self, tolerance: Tolerance) -> bool:
        """Whether that is allowed; NaN never is."""
        return self.largest <= tolerance.largest and self.mean <= tolerance.mean


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answers to some pictures."""

    alphas: tuple[NDArray[np.floating[Any]], ...]
    """For each picture (H, W), in [0, 1], at its own size."""
    logits: NDArray[np.floating[Any]] | None
    """(pictures, height, width) at the model's size; None of a model that gives alpha."""

    def kept(self, step: int) -> "Answer":
        """One in `step` of the rows and columns."""
        logits = None if self.logits is None else self.logits[:, ::step, ::step]
        return Answer(tuple(alpha[::step, ::step] for alpha in self.alphas), logits)

    def off(self, expected: "Answer") -> dict[str, Difference]:
        """Differences of `alpha`, and of `logits` where both have some, divided by 1 + |logit|.

        An answer of another shape is infinitely far off.
        """
        pairs = {"alpha": (self.alphas, expected.alphas)}
        if self.logits is not None and expected.logits is not None:
            pairs["logits"] = ((self.logits,), (expected.logits,))
        return {name: _difference(name, *pair) for name, pair in pairs.items()}


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a file says that it answers."""

    pictures: tuple[tuple[int, int], ...]
    """(height, width) of each; `draw` makes them."""
    size: tuple[int, int]
    """(height, width) at which the network runs."""
    step: int
    answer: Answer
    """One in `step` of the rows and columns."""
    tolerance: Mapping[str, Tolerance]
    """Of `alpha`, and of `logits` where there are some, for arithmetic as exact as float32."""

    def describe(self) -> str:
        """`2 pictures at 64x96, alpha within 0.002 and 0.0002 on average`."""
        number = f"{len(self.pictures)} picture{'s' if len(self.pictures) > 1 else ''}"
        largest, mean = self.tolerance["alpha"]
        at = format_size(self.size)
        return f"{number} at {at}, alpha within {largest:g} and {mean:g} on average"

    def off(self, answer: Answer) -> dict[str, Difference]:
        """How far an answer, with all its rows and columns, is off."""
        return answer.kept(self.step).off(self.answer)


def draw(height: int, width: int) -> NDArray[np.uint8]:
    """A picture: a bright, reddish ellipse on dark ground, both under a texture.

    All is integer arithmetic, and no number goes beyond 2**31 up to sides of 150 pixels.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    y = np.arange(height, dtype=np.int64)[:, None, None]
    x = np.arange(width, dtype=np.int64)[None, :, None]
    c = np.arange(3, dtype=np.int64)[None, None, :]
    down, right = (2 * y - height + 1) * width, (2 * x - width + 1) * height
    inside = 2 * (down * down + right * right) < (height * width) ** 2
    texture = (7 * x + 13 * y + 29 * c + x * y * (c + 1)) % 41
    return np.asarray(np.where(inside, 190 - 30 * c, 40 + 15 * c) + texture, np.uint8)


def encoded(known: KnownAnswer) -> str:
    """The text of the metadata's entry."""
    facts: dict[str, Any] = {
        "pictures": known.pictures,
        "size": known.size,
        "step": known.step,
        "alpha": _text(
            np.concatenate([np.rint(alpha.ravel() * _UNIT) for alpha in known.answer.alphas]), "<u2"
        ),
        "tolerance": known.tolerance,
    }
    if known.answer.logits is not None:
        unit = max(float(np.abs(known.answer.logits).max()), 1e-3) / 32767
        facts["logit_unit"] = unit
        facts["logits"] = _text(np.rint(known.answer.logits.ravel() / unit), "<i2")
    return json.dumps(facts)


def read_known_answer(properties: Mapping[str, str]) -> KnownAnswer | None:
    """What a file's metadata_props say that it answers; None if they don't.

    Raises:
        ModelError: the entry can't be read.
    """
    if (text := properties.get(KEY)) is None:
        return None
    try:
        facts = read_json(text)
        pictures = tuple(_size(each) for each in facts["pictures"])
        if not pictures:
            raise ValueError("no pictures")
        size, step = _size(facts["size"]), as_side(facts["step"])
        shapes = [(len(range(0, h, step)), len(range(0, w, step))) for h, w in pictures]
        alphas = _arrays(facts["alpha"], "<u2", shapes, 1 / _UNIT)
        logits = None
        if "logits" in facts:
            shape = (len(range(0, size[0], step)), len(range(0, size[1], step)))
            unit = float(facts["logit_unit"])
            logits = np.stack(_arrays(facts["logits"], "<i2", [shape] * len(pictures), unit))
        tolerance = {
            name: Tolerance(float(largest), float(mean))
            for name, (largest, mean) in facts["tolerance"].items()
        }
        if not {"alpha"} <= tolerance.keys() <= {"alpha", "logits"}:
            raise ValueError("no tolerance")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the model's metadata is damaged: {KEY} can't be read") from error
    return KnownAnswer(pictures, size, step, Answer(alphas, logits), tolerance)


def _difference(
    name: str, found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]
) -> Difference:
    if [each.shape for each in found] != [each.shape for each in expected]:
        return Difference(float("inf"), float("inf"))
    off = []
    for one, other in zip(found, expected, strict=True):
        apart = np.abs(np.asarray(one, np.float64) - other).ravel()
        off.append(apart / (1 + np.abs(other).ravel()) if name == "logits" else apart)
    every = np.concatenate(off)
    return Difference(float(every.max()), float(every.mean()))


def _size(value: Any) -> tuple[int, int]:
    height, width = value
    return as_side(height), as_side(width)


def _text(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def _arrays(
    text: str, dtype: str, shapes: Sequence[tuple[int, int]], unit: float
) -> tuple[NDArray[np.float64], ...]:
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype) * unit
    ends = np.cumsum([height * width for height, width in shapes])
    if len(values) != ends[-1]:
        raise ValueError("another number of values than the pictures have")
    parts = np.split(values, ends[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
