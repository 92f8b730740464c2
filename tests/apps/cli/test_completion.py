"""Tab in a shell: commands are listed without being loaded, options, values and files with them."""

import shutil
import subprocess
import sys

import pytest
from birefnet_apps.cli import main as cli
from click.testing import CliRunner

SUPPORT = {"bash": "complete -o nosort -F", "zsh": "compdef", "fish": "complete --no-files"}


def completed(words: str, number: int | None = None) -> list[str]:
    """What bash would offer behind these words."""
    place = str(len(words.split()) - 1 if number is None else number)
    variables = {"_BIREFNET_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
    result = CliRunner().invoke(cli.main, env=variables, prog_name="birefnet")
    return result.stdout.splitlines()


@pytest.mark.parametrize("shell", SUPPORT)
def test_a_script_for_each_shell(shell):
    result = CliRunner().invoke(cli.main, ["completion", shell])

    assert result.exit_code == 0
    assert SUPPORT[shell] in result.stdout
    assert "_BIREFNET_COMPLETE" in result.stdout
    program = shutil.which(shell)
    if program:
        done = subprocess.run([program, "-n", "/dev/stdin"], input=result.stdout, text=True)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("birefnet cut", ["plain,cutout"]),
        ("birefnet comp", ["plain,completion"]),
        ("birefnet cutout --max-p", ["plain,--max-pixels"]),
        ("birefnet cutout --format w", ["plain,webp"]),
        ("birefnet cutout -m lite-2", ["plain,lite-2k"]),
        ("birefnet cutout -m ./sho", ["file,./sho"]),
        ("birefnet cutout pho", ["file,pho"]),
    ],
)
def test_what_is_offered(words, offered):
    assert completed(words) == offered


def test_commands_are_offered_without_being_loaded():
    program = (
        "import os, sys\n"
        "os.environ |= {'_BIREFNET_COMPLETE': 'bash_complete', 'COMP_WORDS': 'birefnet ',\n"
        "               'COMP_CWORD': '1'}\n"
        "from birefnet_apps.cli.main import main\n"
        "try: main(prog_name='birefnet')\n"
        "except SystemExit: print({'numpy', 'rich', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert {"plain,cutout", "plain,export"} <= {*done.stdout.splitlines()}


def test_a_command_that_is_mistyped_names_the_nearest():
    result = CliRunner().invoke(cli.main, ["cutuot", "photo.jpg"])

    assert result.exit_code == 2
    assert "did you mean cutout?" in result.stderr
