"""The documentation is true: its code runs, its tables are their sources', its links lead on."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
    *sorted(DOCS.rglob("*.md")),
]
LINKING = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    *(ROOT / f"{folder}/README.md" for folder in ("benchmarks", "models/nano", "tests")),
    ROOT / "examples/photos/README.md",
]
MADE_ELSEWHERE = {"benchmarks/results/official.json", "benchmarks/results/gpu"}
"""Results that need the hub or a GPU: pages say so as long as there are none."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def generate():
    """The names of docs/generate.py, which writes the generated blocks."""
    return runpy.run_path(str(DOCS / "generate.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def code(text, language):
    """The blocks of code in a language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def test_generated_blocks_are_up_to_date(generate):
    assert generate["DOCUMENTS"] == tuple(PAGES)
    for document in PAGES:
        text = document.read_text(encoding="utf-8")
        assert generate["render"](text) == text, f"{document.name}: run python docs/generate.py"


def test_there_are_blocks_of_every_kind(generate):
    texts = "".join(document.read_text(encoding="utf-8") for document in PAGES)

    assert {kind for kind, _ in generate["BLOCK"].findall(texts)} == set(generate["BLOCKS"])


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_first_python_prints_the_answer_that_is_shown():
    program = code(README, "python")[0]
    shown = [line[2:] for line in program.splitlines() if line.startswith("# ")]
    assert shown

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == shown, done.stderr


def test_the_first_command_says_what_is_shown(tmp_path):
    line, shown = code(README, "sh")[1].splitlines()  # the first: test_one_line.py
    install, command = line.partition("#")[0].split(" && ")
    assert install == "pip install '.[cpu]'"
    program, *arguments = shlex.split(command)
    assert (program, arguments[-2:]) == ("birefnet", ["--output", "cutouts"])
    arguments[-1] = str(tmp_path / "cutouts")

    start = "from birefnet_apps.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    def timeless(text):
        return re.sub(r"[\d.]+ m?s\b", "TIME", text)

    said = done.stderr.splitlines()[-1].replace(arguments[-1], "cutouts")
    assert done.returncode == 0
    assert timeless(said) == timeless(shown.removeprefix("# "))
    assert len(list((tmp_path / "cutouts").iterdir())) == 2


def headings(page):
    """Anchors of a page's headings, as they are made from their text."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKING, ids=relative)
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_every_page_is_in_the_index_and_the_sites_navigation():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}

    listed = re.findall(r"\]\(([a-z][\w/-]*\.md)\)", index)
    assert sorted(listed) == sorted(pages - {"README.md"})
    navigation = re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_results_file_that_is_named_exists(page):
    for file in re.findall(r"benchmarks/results/[\w./-]*\w", page.read_text(encoding="utf-8")):
        assert file in MADE_ELSEWHERE or (ROOT / file).exists(), file


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_file_of_the_project_that_is_named_exists(page):
    names = r"`((?:benchmarks|docs|examples|models|runtime|export|tests)/[\w./-]+\.\w+)`"

    for file in re.findall(names, page.read_text(encoding="utf-8")):
        assert file in MADE_ELSEWHERE or (ROOT / file).exists(), file


def test_every_results_file_has_the_script_that_wrote_it():
    files = sorted((ROOT / "benchmarks/results").glob("*.json"))

    answered = (ROOT / "benchmarks/results/README.md").read_text(encoding="utf-8")

    assert files
    for file in files:
        name = file.name.partition(".")[0]  # NAME.PROCESSOR.json: the same script elsewhere
        scripts = list((ROOT / "benchmarks/studies").glob(f"*/{name}.py"))
        assert len(scripts) + (f"| [{file.name}]" in answered) == 1, file.name


def test_every_verb_of_make_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    verbs = set(re.findall(r"`make ([\w-]+)`", texts))
    assert {"demo", "test"} <= verbs
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_that_are_shown_have_their_options(page, generate):
    """Not run, but parsed as far as the names of commands and options."""
    for block in code(page.read_text(encoding="utf-8"), "sh"):
        for line in block.splitlines():
            for call in re.findall(r"(?:^|&& |\| )birefnet ([^|#&]+)", line):
                words = shlex.split(call)
                context = generate["command_context"]("birefnet")
                path = "birefnet"
                while words and words[0] in generate["subcommands"](context):
                    path = f"{path} {words.pop(0)}"
                    context = generate["command_context"](path)
                if path == "birefnet bench":  # short for `bench run`
                    context = generate["command_context"]("birefnet bench run")
                known = {name for option in context.command.params for name in option.opts}
                used = {word for word in words if re.match(r"--?[a-z]", word)}
                assert path != "birefnet", line
                assert used <= known, line
