"""What continuous integration runs is what a person types: the Makefile's verbs, nothing else."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
APT = "sudo apt-get update && sudo apt-get install -y "


def text(file):
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_calls_verbs_of_the_makefile(workflow):
    makefile = text(ROOT / "Makefile")
    commands = re.findall(r"- run: (.+)", text(workflow))
    listed = re.findall(r"verb: \[(.+)\]", text(workflow))
    called = [
        re.fullmatch(r'make ([\w-]+|"\$VERB")( .*)?', command)
        for command in commands
        if not command.startswith(APT)
    ]

    assert all(called), commands
    verbs = {match[1] for match in called if match} - {'"$VERB"'}
    for verb in verbs.union(*(names.split(", ") for names in listed)):
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(workflow):
    used = re.findall(r"uses: (.+)", text(workflow))

    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_tests_run_on_every_python_that_is_declared():
    declared = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: 3." in line}
    (listed,) = re.findall(r"python: \[(.+)\]", text(ROOT / ".github/workflows/test.yml"))

    assert set(re.findall(r"\d\.\d+", listed)) == declared


def test_the_citation_and_the_security_policy_name_the_version():
    version = PROJECT["version"]

    assert f"version: {version}\n" in text(ROOT / "CITATION.cff")
    assert f"| {version.rpartition('.')[0]} | yes |" in text(ROOT / "SECURITY.md")


def test_the_image_copies_every_package_and_its_context_has_them():
    copied = set(re.findall(r"^COPY (\w+/\w+) ", text(ROOT / "Dockerfile"), flags=re.MULTILINE))
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]

    assert copied == set(packages["targets"]["wheel"]["packages"])
    assert {f"!{folder}" for folder in copied} <= set(text(ROOT / ".dockerignore").splitlines())
