"""Commands as a shell runs them: closed and full streams, names that would move the cursor."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from birefnet_apps.cli import cutout
from birefnet_apps.cli import main as cli
from birefnet_apps.cli.main import LISTED, with_patterns
from birefnet_models.base.extras import install_command, missing_extra
from birefnet_runtime.errors import ModelError
from click.testing import CliRunner
from PIL import Image

PROGRAM = [sys.executable, "-c", "from birefnet_apps.cli.main import main, with_patterns; main()"]


def run(*arguments: object):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def shell(redirection: str, *arguments: object, **environment: str):
    """Run a command under a redirection of `sh`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("what", ["models", "json", "image"])
def test_a_full_standard_output_is_one_line(model, photo, tmp_path, what, unbuffered):
    commands = {
        "models": ["models"],
        "json": ["cutout", photo, "-o", tmp_path / "out.png", "-m", model, "--json"],
        "image": ["cutout", photo, "-o", "-", "-m", model],
    }

    done = shell(">/dev/full", *commands[what], PYTHONUNBUFFERED=unbuffered)

    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "can't be written: no space left on device" in lines[0]
    assert lines[1:] == [] or lines[1].startswith("birefnet: 0 cutouts in ")


@pytest.mark.parametrize("option", ["--json", "-o-"])
def test_a_closed_standard_output_is_known_before_any_work(model, photo, tmp_path, option):
    output = () if option == "-o-" else ("-o", tmp_path / "out.png")

    done = shell(">&-", "cutout", photo, *output, "-m", model, option)

    assert done.returncode == 1
    assert done.stderr.startswith("birefnet: standard output is closed")
    assert not (tmp_path / "out.png").exists()


def test_other_commands_say_that_standard_output_is_closed():
    done = shell(">&-", "models")

    assert done.returncode == 1
    assert done.stderr.startswith("birefnet: standard output can't be")


def test_streams_that_nobody_needs_may_be_closed(model, photo, tmp_path):
    done = shell("<&- >&- 2>&-", "cutout", photo, "-o", tmp_path / "out.png", "-m", model)

    assert done.returncode == 0
    assert (tmp_path / "out.png").exists()


def test_a_closed_standard_input_is_an_empty_file(model, tmp_path):
    done = shell("<&-", "cutout", "-", "-o", tmp_path / "out.png", "-m", model)

    assert done.returncode == 1
    assert "input: the file is" in done.stderr


def test_pipes_are_read_once(model, photo, tmp_path):
    """`/dev/stdin` as a file and as a pipe, and process substitution's `/dev/fd/N`."""
    for redirection, source in (
        (f"< {photo}", "/dev/stdin"),
        (f"3< {photo}", "/dev/fd/3"),
    ):
        done = shell(redirection, "cutout", source, "-o", tmp_path / "out.png", "-m", model)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*PROGRAM, "cutout", "/dev/stdin", "-o", tmp_path / "piped.png", "-m", model],
        input=photo.read_bytes(), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "piped.png").read_bytes() == (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize("name", ["a\x1b[2K\rbirefnet: 1 cutout.png", "b\nc.png", "d\u202eg.png"])
def test_control_characters_of_names_are_escaped(model, tmp_path, name):
    (tmp_path / name).write_bytes(b"no image")

    done = CliRunner().invoke(
        cli.main,
        ["cutout", str(tmp_path / name), "-o", str(tmp_path / "out"), "-m", str(model), "--json"],
    )

    assert done.exit_code == 1
    assert not any(char in done.stderr + done.stdout for char in "\x1b\r\u202e")
    line, _ = done.stderr.splitlines()
    assert line.startswith(f"birefnet: {tmp_path}/")
    assert "\\" in line
    assert json.loads(done.stdout)["input"] == str(tmp_path / name)


def test_control_characters_of_errors_are_escaped():
    done = CliRunner().invoke(cli.main, ["cutout", "x.jpg", "-o", "y.\x1b[31m"])

    assert done.stderr.startswith("birefnet: y.\\x1b[31m: results are ")


TERMINATED = """
import os, signal, sys
from birefnet_runtime import segmenter
def run(self, tensors):
    os.kill(os.getpid(), signal.SIGTERM)
    return real(self, tensors)
real, segmenter.Segmenter.run = segmenter.Segmenter.run, run
from birefnet_apps.cli.main import main
main()
"""


def test_sigterm_finishes_what_is_in_hand(model, tmp_path, picture):
    for number in range(9):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "in" / f"{number}.png")

    done = subprocess.run(
        [sys.executable, "-c", TERMINATED, "cutout", tmp_path / "in", "-o", tmp_path / "out",
         "-m", model],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
    assert f"stopped before {tmp_path / 'in' / '1.png'}" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_elsewhere_is_an_interrupt(monkeypatch, number):
    before = signal.getsignal(number)

    @cli.click.command()
    def wait() -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")

    monkeypatch.setattr(cli.EntryPointGroup, "get_command", lambda *_: wait)

    done = CliRunner().invoke(cli.main, ["wait"])

    assert done.exit_code == 128 + number
    assert "Aborted!" in done.stderr
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("text", "count"), [("200M", 200e6), ("200mp", 200e6), ("5000", 5000)])
def test_numbers_of_pixels_are_read(monkeypatch, photo, text, count):
    recipes = []
    monkeypatch.setattr(cutout, "CutterSettings", lambda *given, **options: recipes.append(options))

    CliRunner().invoke(cli.main, ["cutout", str(photo), "-o", "x.png", "--max-pixels", text])

    assert recipes[0]["max_pixels"] == count


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "1e9", "nanM", "9" * 99])
def test_what_is_no_number_of_pixels_is_a_usage_error(photo, text):
    done = CliRunner().invoke(cli.main, ["cutout", str(photo), "-o", "x.png", "--max-pixels", text])

    assert done.exit_code == 2
    assert "not a number of" in done.stderr


@pytest.mark.parametrize(
    "option", [["--margin", "nan"], ["--threads", "99999999999999"], ["--batch", "99999999999"]]
)
def test_numbers_that_nobody_means_are_usage_errors(photo, option):
    done = CliRunner().invoke(cli.main, ["cutout", str(photo), "-o", "out.png", "--crop", *option])

    assert done.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in done.stderr


def entry_point(name: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, cli.COMMANDS)


@pytest.fixture
def registered(monkeypatch):
    """Replace the registered commands."""

    def register(*entries: importlib.metadata.EntryPoint) -> None:
        def entry_points(group: str, name: str | None = None):
            assert group == cli.COMMANDS
            found = [entry for entry in entries if name in (None, entry.name)]
            return importlib.metadata.EntryPoints(found)

        monkeypatch.setattr(cli, "entry_points", entry_points)

    return register


def test_a_command_whose_extra_is_missing_says_what_to_install(registered, monkeypatch, tmp_path):
    (tmp_path / "needs_onnx.py").write_text("import onnx")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    registered(entry_point("export", "needs_onnx:export"))

    result = run("export", "model.safetensors", "--output", "x")

    assert result.exit_code == 1
    assert result.stderr == f"birefnet: {missing_extra('onnx')}\n"
    assert "export      (onnx is not installed)" in run("--help").stdout


def test_an_import_inside_a_running_command_says_it_too(registered, monkeypatch):
    @click.command()
    def lazy() -> None:
        import onnx  # noqa: F401

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(cli.EntryPointGroup, "get_command", lambda *_: lazy)

    result = run("lazy")

    assert result.exit_code == 1
    assert install_command("export") in result.stderr


def test_a_broken_import_is_not_taken_for_a_missing_extra(registered, monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    registered(entry_point("broken", "broken:command"))

    result = run("broken")

    assert isinstance(result.exception, ModuleNotFoundError)


def test_an_error_of_the_library_is_one_line_from_any_command(monkeypatch):
    @click.command()
    def failing() -> None:
        raise ModelError("what was wrong")

    monkeypatch.setattr(cli.EntryPointGroup, "get_command", lambda *_: failing)

    result = run("failing")

    assert (result.exit_code, result.stderr) == (1, "birefnet: what was wrong\n")


def test_version():
    assert (
        run("--version").stdout
        == f"birefnet, version {importlib.metadata.version('birefnet-ort')}\n"
    )


def test_an_unknown_command_is_a_usage_error():
    assert run("cutuot").exit_code == 2


@pytest.mark.parametrize("command", sorted(cli.main.list_commands(click.Context(cli.main))))
def test_the_list_of_commands_says_what_each_says_of_itself(command):
    registered = importlib.metadata.entry_points(group=cli.COMMANDS, name=command)
    (entry_point,) = registered or cli.OWN_COMMANDS.select(name=command)

    own = entry_point.load().get_short_help_str(limit=1000)

    assert LISTED[entry_point.value] == own


def test_a_command_that_is_not_ours_is_listed_in_its_own_words(registered, monkeypatch, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import click\n@click.command()\ndef other():\n    '''Do another thing.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registered(entry_point("cutout", "theirs:other"))

    assert "  cutout      Do another thing." in run("--help").stdout


def test_patterns_of_windows_take_brackets_and_dollars_as_they_are(tmp_path, monkeypatch):
    """click's own expansion would take img[1].png for img1.png."""
    monkeypatch.chdir(tmp_path)
    for name in ("img1.png", "img[1].png", "a.jpg"):
        (tmp_path / name).touch()

    assert with_patterns(["cutout", "img[1].png", "$HOME-pics", "-o", "~x"]) == [
        "cutout", "img[1].png", "$HOME-pics", "-o", "~x"
    ]  # fmt: skip
    assert with_patterns(["img[1]*", "*.jpg", "none*"]) == ["img[1].png", "a.jpg", "none*"]


def test_click_expands_nothing_by_itself(monkeypatch):
    seen = {}
    monkeypatch.setattr(click.Group, "main", lambda self, *args, **options: seen.update(options))

    cli.main.main(["--help"])

    assert seen["windows_expand_args"] is False
