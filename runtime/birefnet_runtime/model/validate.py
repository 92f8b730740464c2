"""Single facts of a model, as files state them: in bounds, or no fact."""

import json
import math
from typing import Any

LARGEST_INPUT_SIDE = 16_384
"""Of a network's input: nobody trained at more than 2,560, and memory grows with the square."""
LARGEST_FACT = 1_000_000
"""Characters that are read: anything longer is no fact."""


def read_json(text: str) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: it is none, too long, or nested too deeply.
    """
    if len(text) > LARGEST_FACT:
        raise ValueError(f"more than {LARGEST_FACT:,} characters")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def as_side(value: object) -> int:
    """A height or width in pixels, from 1 to `LARGEST_INPUT_SIDE`.

    Raises:
        ValueError: it is no such number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 1 <= value <= LARGEST_INPUT_SIDE
    ):
        raise ValueError(f"no side from 1 to {LARGEST_INPUT_SIDE:,} pixels")
    return value


def as_channels(value: object, least: float) -> tuple[float, float, float]:
    """One number for each of red, green and blue, from `least` to 1,000.

    Raises:
        ValueError: it is something else.
    """
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
        raise ValueError("no list of three numbers")
    if not all(least <= number <= 1000 for number in numbers):  # NaN is not, either
        raise ValueError(f"no numbers from {least:g} to 1,000")
    red, green, blue = map(float, numbers)
    return red, green, blue


def as_amount(text: str) -> float:
    """A number above 0 and below 1e9.

    Raises:
        ValueError: it is something else.
    """
    value = float(text)
    if not (math.isfinite(value) and 0 < value < 1e9):
        raise ValueError("no number between 0 and 1e9")
    return value


LEAST_STD = 1e-6
"""Of a channel's standard deviation: pixels are divided by it."""
LEAST_MEAN = -1000.0
