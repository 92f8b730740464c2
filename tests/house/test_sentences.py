"""No test holds a whole sentence: class, named object and the word of advice say what is wrong.

A message may then be worded better without a test that fails. Counted are the literals of five
words and more that `pytest.raises` and `pytest.warns` are given to match, and that are asserted to
be in what a program said on stderr. Tables and documents, whose text is the result, are compared
whole.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
MOST_WORDS = 4


def words(text: str) -> int:
    """How many of its parts are plain words, not names of files, options, numbers or patterns."""
    parts = text.removeprefix("birefnet: ").split()
    return sum(re.fullmatch(r"[(]?[A-Za-z'’]+[,;:.)]?", part) is not None for part in parts)


def sentences(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each literal that is too long."""
    for node in ast.walk(ast.parse(source)):
        held: list[ast.expr] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".raises", ".warns")):
            held = [keyword.value for keyword in node.keywords if keyword.arg == "match"]
        elif isinstance(node, ast.Assert) and ".stderr" in ast.unparse(node.test):
            held = [node.test]
        for part in held:
            for text in ast.walk(part):
                literal = text.value if isinstance(text, ast.Constant) else None
                if isinstance(literal, str) and words(literal) > MOST_WORDS:
                    yield part.lineno, literal


def test_whole_sentences_are_seen():
    source = """
with pytest.raises(ValueError, match="the file is not an image"):
    read()
with pytest.raises(ValueError, match="not an image"):
    read()
assert "the file is not an image" in done.stderr
assert "the file is not an image" in page
"""

    assert sorted(line for line, _ in sentences(source)) == [2, 6]


def test_tests_assert_what_matters_of_a_message():
    found = [
        f"{file.relative_to(TESTS)}:{line}: {text}"
        for file in sorted(TESTS.rglob("*.py"))
        for line, text in sentences(file.read_text(encoding="utf-8"))
    ]

    assert found == []
