"""Facts of a model: any text or value gives one in bounds, or a ValueError."""

import math

import pytest
from birefnet_runtime.model.validate import (
    LARGEST_FACT,
    LARGEST_INPUT_SIDE,
    as_amount,
    as_channels,
    as_side,
    read_json,
)
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(VALUES)
def test_a_side_is_a_whole_number_of_pixels(value):
    try:
        side = as_side(value)
    except ValueError:
        return
    assert type(side) is int
    assert 1 <= side <= LARGEST_INPUT_SIDE
    assert side == value


@pytest.mark.parametrize(
    "value", [0, -32, LARGEST_INPUT_SIDE + 1, 64.5, math.inf, math.nan, True, "64"]
)
def test_what_is_no_side(value):
    with pytest.raises(ValueError, match="to 16,384 pixels"):
        as_side(value)


def test_what_is_a_side():
    assert (as_side(1), as_side(LARGEST_INPUT_SIDE), as_side(64.0)) == (1, LARGEST_INPUT_SIDE, 64)


@given(VALUES)
def test_channels_are_three_numbers_in_bounds(value):
    try:
        channels = as_channels(value, 1e-6)
    except ValueError:
        return
    assert [type(number) for number in channels] == [float] * 3
    assert all(1e-6 <= number <= 1000 for number in channels)


@pytest.mark.parametrize(
    "value",
    [
        [0, 0, 0],
        [math.nan, 1, 1],
        [math.inf, 1, 1],
        [1, 1],
        [1, 1, 1, 1],
        ["1", 1, 1],
        [True, 1, 1],
        {"a": 1, "b": 2, "c": 3},
        "123",
        None,
        [10**400, 1, 1],
    ],
)
def test_what_is_no_deviation(value):
    with pytest.raises(ValueError, match=r"no (list of three )?numbers"):
        as_channels(value, 1e-6)


def test_a_mean_may_be_zero_or_below():
    assert as_channels([0, -1, 0.5], -1000) == (0.0, -1.0, 0.5)


@given(st.text())
def test_an_amount_is_finite_and_above_zero(text):
    try:
        amount = as_amount(text)
    except ValueError:
        return
    assert 0 < amount < 1e9


@pytest.mark.parametrize("text", ["abc", "nan", "-1e12", "inf", "0", "1e9", ""])
def test_what_is_no_amount(text):
    with pytest.raises(ValueError):  # noqa: PT011, float's own message among others
        as_amount(text)


@given(st.text())
def test_json_is_a_value_or_a_value_error(text):
    try:
        read_json(text)
    except ValueError:
        return


@pytest.mark.parametrize("text", ["[" * 100_000, " " * (LARGEST_FACT + 1), "{", "1" * 5000])
def test_json_in_bounds(text):
    with pytest.raises(ValueError):  # noqa: PT011, json's own message among others
        read_json(text)
