import pytest
from birefnet_models.text import first_line, format_size, joined, shortened


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one\n"), "one"),
        (MemoryError(), "MemoryError"),
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


def test_sizes_and_shapes_are_written_height_first():
    assert format_size((768, 1024)) == "768x1024"
    assert format_size((2, 3, 224, 160)) == "2x3x224x160"
