"""`birefnet bench report` and `birefnet bench compare`, as they are typed."""

import dataclasses
import json
import subprocess
import sys

import click
import pytest
from birefnet_benchmarks.bench.results import write_report
from birefnet_benchmarks.cli.report import compare, report, write_documents
from birefnet_benchmarks.errors import ReportError
from click.testing import CliRunner, Result

from ..report.sample import make_report, rounds


def invoke(command: click.Command, arguments: list[str]) -> Result:
    """As below `birefnet`, which has `-h` too; a command keeps what it was first asked with."""
    return CliRunner().invoke(command, arguments, help_option_names=["-h", "--help"])


@pytest.fixture
def slower(tmp_path):
    """The same run, a configuration of it slower."""
    found = make_report()
    results = list(found.results)
    results[1] = dataclasses.replace(results[1], rounds=rounds(3.5, 3.6, 3.7))
    write_report(tmp_path / "slower", dataclasses.replace(found, results=tuple(results)))
    return tmp_path / "slower"


def test_both_documents_are_made_anew(run):
    (run / "report.md").write_text("old")

    done = invoke(report, [str(run)])

    assert done.exit_code == 0
    assert done.output.split() == [str(run / f"report.{kind}") for kind in ("md", "html", "csv")]
    assert (run / "report.md").read_text(encoding="utf-8").startswith("# lite and swin, measured\n")
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>\n")


def test_a_folder_without_a_report_is_said(tmp_path):
    with pytest.raises(ReportError, match=r"report\.json: can't be read"):
        write_documents(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_documents_need_no_torch(run):
    program = (
        "import sys; from pathlib import Path; "
        "from birefnet_benchmarks.cli.report import write_documents; "
        "write_documents(Path(sys.argv[1])); "
        "assert not {'torch', 'onnx', 'transformers'} & set(sys.modules); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", program, str(run)], check=True)


def test_the_command_behind_bench_needs_no_torch_either(run):
    program = (
        "import sys; from birefnet_apps.cli.main import main; "
        "main(['bench', 'report', sys.argv[1]], standalone_mode=False); "
        "assert not {'torch', 'onnx', 'transformers'} & set(sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(run)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert str(run / "report.csv") in done.stdout.splitlines()


def test_help_meets_neither_matplotlib_nor_jinja():
    program = (
        "import sys; import birefnet_benchmarks.cli.report; "
        "assert not {'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_two_configurations_of_one_run_are_compared_by_their_words(run):
    for words, how in (("native", "fits several"), ("swift", "fits none")):
        done = invoke(compare, [str(run), "--of", words, "pytorch"])
        assert how in str(done.exception)
        assert "lite onnxruntime native fp32 cpu" in str(done.exception)

    done = invoke(compare, [str(run), "--of", "lite,onnxruntime,native", "lite,pytorch", "--json"])

    found = json.loads(done.stdout)["configurations"]
    assert {each["before"]["variant"] for each in found} == {"native"}
    assert {each["configuration"]["backend"] for each in found} == {"pytorch"}
    assert all(each["time"]["ratio"] > 1 for each in found)
    assert invoke(compare, [str(run)]).exit_code == 2


def test_no_regression_is_exit_code_0(run):
    done = invoke(compare, [str(run), str(run / "report.json")])

    assert done.exit_code == 0, done.output
    assert "\nNo regression in 13 configurations.\n" in done.output


def test_a_regression_is_exit_code_1(run, slower):
    done = invoke(compare, [str(run), str(slower)])

    assert done.exit_code == 1
    assert "REGRESSION: time worse\n" in done.output
    assert f"B  {slower}, " in done.output


def test_the_threshold_is_in_percent(run, slower):
    done = invoke(compare, [str(run), str(slower), "--threshold", "50"])

    assert done.exit_code == 0
    assert "above 1 + 50%" in done.output


@pytest.mark.parametrize(
    "arguments", [[], ["nowhere", "nowhere"], ["{run}", "{run}", "--threshold", "-1"]]
)
def test_usage_errors_are_exit_code_2(run, arguments):
    done = invoke(compare, [each.format(run=run) for each in arguments])

    assert done.exit_code == 2


def test_the_json_says_the_same(run, slower):
    done = invoke(compare, [str(run), str(slower), "--json"])

    found = json.loads(done.output)
    assert done.exit_code == 1
    assert found["regressed"] is True
    assert [
        configuration["regressions"]
        for configuration in found["configurations"]
        if configuration["regressions"]
    ] == [["time"]]
