import os

import pytest
from birefnet_models.base.text import (
    aligned,
    first_line,
    format_bytes,
    format_seconds,
    format_size,
    joined,
    printable,
    shortened,
    shown_url,
    split_url,
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one\n"), "one"),
        (MemoryError(), "MemoryError"),
        (ValueError("a\x1b[2J"), r"a\x1b[2J"),
    ],
)
def test_an_error_is_one_line_and_never_an_empty_one(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_words_are_joined(words, text):
    assert joined(words) == text
    assert joined(words, ", then ") == text.replace(" and ", ", then ")


def test_a_long_list_is_shortened():
    assert shortened(str(i) for i in range(3)) == "0, 1, 2"
    assert shortened("abcde", most=2) == "a, b and 3 more"
    assert shortened(()) == ""
    assert shortened(["a\n", "b\x1b"]) == r"a\n, b\x1b"


def test_sizes_and_shapes_are_written_height_first():
    assert format_size((768, 1024)) == "768x1024"
    assert format_size((2, 3, 224, 160)) == "2x3x224x160"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo é 写真.jpg", "photo é 写真.jpg"),
        ("a\x1b[2Jb\r\n\t\x7f\x9b", r"a\x1b[2Jb\r\n\t\x7f\x9b"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("\udcff", r"\udcff"),
        ("Größe 👩\u200d🚀", "Größe 👩\u200d🚀"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown
    assert printable(text).encode("utf-8")
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a/x?y=1#z", "https://a/x?y=1#z"),
        ("https://me:pass@a:8080/x", "https://a:8080/x"),
        ("https://me@a/x@y", "https://a/x@y"),
        ("https://me:p@ss@a/x", "https://a/x"),
        ("https://me:pass@[::bad/x", "https://[::bad/x"),
        ("https://a/\x1b[2J", r"https://a/\x1b[2J"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert shown_url(url) == shown


def test_a_url_has_a_host_and_a_port_that_exists():
    assert split_url("https://a:443/x").port == 443
    for url in ("https://[::bad", "http://", "http://a:x/", "http://a:70000/", "file:///x", "x"):
        with pytest.raises(ValueError, match=r"."):
            split_url(url)


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
def test_names_of_files_are_escaped(text, shown):
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
