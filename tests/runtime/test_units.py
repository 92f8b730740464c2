import os

import pytest
from birefnet_runtime.units import aligned, format_bytes, format_seconds, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00123, "1.23 ms"),
        (0.85, "850 ms"),
        (0.99951, "1 s"),
        (2.449, "2.45 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
    ],
)
def test_seconds_as_text(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Größe 写真 👩\u200d🚀.png", "Größe 写真 👩\u200d🚀.png"),
        ("a\nbirefnet: 9 cutouts", "a\\nbirefnet: 9 cutouts"),
        ("\x1b[2Kb\r\x07\x7f\x9b", "\\x1b[2Kb\\r\\x07\\x7f\\x9b"),
        ("gpj.\u202etxt\u2028", "gpj.\\u202etxt\\u2028"),
        (os.fsdecode(b"\xff.jpg"), "\\udcff.jpg"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("count", "text"),
    [(740e6, "740 MB"), (999.4e6, "999 MB"), (999.6e6, "1 GB"), (1.24e9, "1.2 GB")],
)
def test_amounts_of_memory_as_text(count, text):
    assert format_bytes(count) == text


def test_columns_are_as_wide_as_their_longest_entry():
    rows = [("name", "", "size"), ("nano", "here", "9"), ("a", "b", "")]

    assert list(aligned(rows)) == ["name        size", "nano  here  9", "a     b"]
    assert list(aligned([])) == []
