"""`birefnet bench` as a group whose default command is `run`."""

import pytest
from birefnet_apps.cli.main import main
from birefnet_benchmarks.bench.run import Run
from click.testing import CliRunner


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture
def requested(monkeypatch):
    """The models of each run, which ends before anything is measured."""
    models = []

    def measure(run, request, settings):
        models.append(request.models)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "measure", measure)
    return models


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (("nano", "-o", "out"), ("nano",)),
        (("-o", "out", "nano"), ("nano",)),
        (("run", "nano", "lite", "-o", "out"), ("nano", "lite")),
        (("run", "report", "-o", "out"), ("report",)),
        (("-o", "out", "compare"), ("compare",)),
    ],
)
def test_models_are_measured_with_or_without_naming_run(
    tmp_path, monkeypatch, requested, arguments, models
):
    monkeypatch.chdir(tmp_path)

    bench(*arguments)

    assert requested == [models]


def test_the_help_names_the_commands():
    done = bench("--help")

    assert done.exit_code == 0
    assert all(f"\n  {name} " in done.output for name in ("run", "report", "compare"))
    assert "--providers" in bench("run", "--help").output


def test_without_a_model_it_is_a_usage_error():
    done = bench()

    assert done.exit_code == 2
    assert "Missing argument 'MODEL...'" in done.stderr
