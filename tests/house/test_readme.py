"""The README says what is true: its code runs, its tables and help are their sources'."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks():
    """docs/readme.py, which writes the generated blocks."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs/readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_blocks_are_up_to_date(blocks):
    for document in blocks.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert blocks.render(text) == text, f"{document.name}: run python docs/readme.py"


def test_there_are_blocks_of_every_kind(blocks):
    texts = "".join(document.read_text(encoding="utf-8") for document in blocks.DOCUMENTS)

    assert {kind for kind, _ in blocks.BLOCK.findall(texts)} == set(blocks.BLOCKS)


def test_the_first_code_prints_the_answer_that_is_shown():
    code = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert code
    shown = [line[2:] for line in code[1].splitlines() if line.startswith("# ")]
    assert shown

    done = subprocess.run(
        [sys.executable, "-c", code[1]], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == shown, done.stderr


def test_every_file_that_is_named_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert "docs/demo.jpg" in links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_verb_of_make_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()

    verbs = set(re.findall(r"`make (\w+)`", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"demo", "test"} <= verbs
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb
