"""Plain English: words that are avoided where users read, and what stands in their place.

Read are the pages of the documentation (with the help of every command), and the literals of the
packages: messages, help, what the server's page says. People of many countries read these.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "models/birefnet_models",
    "runtime/birefnet_runtime",
    "runtime/birefnet_apps",
    "export/birefnet_export",
    "benchmarks/birefnet_benchmarks",
)
COMPARED = r"longer\b|more\b|less\b|slower\b|faster\b|\|"
AVOIDED = {
    rf"(?<!there )\b(is|are|was|were) no (?!{COMPARED})": "is not a",
    r"\bwho(so)?ever\b": "the caller; users",
    r"\b(hold|holds|held|holding) [^.;|]{0,60}\bagainst\b": "compare with",
    r"\bblink\b": "under a second",
    r"\bdeaf\b": "not heeded; disconnected",
    r"\bkin\b": "related",
    r"\blook(s|ed)? twice\b|\b(one|two|second) looks?\b": "refine; run again",
    r"\bas the class says\b|\bas `\w+` has it\b": "the words themselves, repeated",
    r"\b(one's|its|their|his) own accord\b": "by itself",
    r"\bof one's own\b": "your own",
    r"\baffair\b": "decided by",
    r"\bno matter of\b": "not a part of",
    r"\bcomes? to mean\b": "mean",
    r"\bovernight\b": "later",
    r"\bhence\b": "so; therefore",
    r"\blikewise\b": "in the same way; too",
    r"\btruly\b": "really",
    r"(?<!\[)\banew\b(?! \|)": "again",
    r"\bstead(ied|ily|y)\b": "smooth; even",
    r"\bfor want of\b": "without",
    r"\ball but\b": "everything except; almost",
    r"\b(do|does|makes|builds|done|takes) \w* ?ahead\b|, ahead\b": "in advance",
    r"\b(is|are) told\b": "reported; set",
    r"\bwell read\b": "read",
    r"\bpatience\b": "time",
}
PAGES = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
CODE = re.compile(r"^```(?!text).*?^```$", flags=re.DOTALL | re.MULTILINE)


def found(text: str) -> Iterator[str]:
    """What is avoided and stands in a text, with what to write instead."""
    flat = " ".join(text.split())
    for pattern, instead in AVOIDED.items():
        for match in re.finditer(pattern, flat, flags=re.IGNORECASE):
            around = flat[max(0, match.start() - 40) : match.end() + 40]
            yield f"…{around}…  ->  {instead}"


def literals(source: str) -> Iterator[str]:
    """The string literals of a module that are not docstrings; those of one f-string together."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and not is_command(node):
            skipped |= {s.value for s in node.body if isinstance(s, ast.Expr)}
        if isinstance(node, ast.ClassDef | ast.Module):  # what stands below a field
            skipped |= {s.value for s in node.body if isinstance(s, ast.Expr)}
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= set(ast.walk(node)) - {node}
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        elif isinstance(node, ast.Constant) and node not in skipped | inside:
            yield str(node.value)


def is_command(node: ast.AST) -> bool:
    """Whether a function's docstring is the help of a command."""
    decorators = getattr(node, "decorator_list", [])
    return any(".command" in ast.unparse(decorator) for decorator in decorators)


def test_avoided_words_are_seen():
    advice = [line.rpartition("->  ")[2] for line in found("it is no image, whoever asks")]
    assert advice == ["is not a", "the caller; users"]
    assert not list(found("there is no image; it is no longer one"))
    source = 'def f():\n    """Held against."""\n    raise ValueError(f"{x} is held against y")\n'
    assert list(literals(source)) == ["X is held against y"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_in_plain_english(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))

    assert not (lines := list(found(text))), "\n".join(lines)


def test_messages_and_help_are_in_plain_english():
    lines = [
        f"{file.relative_to(ROOT)}: {line}"
        for file in SOURCES
        for literal in literals(file.read_text(encoding="utf-8"))
        for line in found(literal)
    ]

    assert not lines, "\n".join(lines)
