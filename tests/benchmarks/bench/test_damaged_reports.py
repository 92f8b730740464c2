"""Whatever stands in a report.json, it is read as a report or refused in one line, and shown."""

import contextlib
import dataclasses
import json
import os

import pytest
from birefnet_apps.cli.main import main
from birefnet_benchmarks.bench.results import REPORT_FILE, read_report, write_report
from birefnet_benchmarks.errors import ReportError
from birefnet_benchmarks.report.comparison import compare
from birefnet_benchmarks.report.comparison_text import text
from birefnet_benchmarks.report.html import page
from birefnet_benchmarks.report.markdown import document, headline_table, summary_table
from birefnet_models.base.errors import BirefnetError
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..report.sample import make_report

ODD = (
    *(None, True, False, 0, -1, 1, 3, 1e-9, 5e-324, -0.0, 1e18, 1e19, 1e308, 2**63, 10**400),
    *("", "x", "\x1b[31m", "a" * 5000, "\u202e", "\x00", "../../etc/passwd", "auto"),
    *([], {}, [[]], {"": None}, [0, 0], [1e9, 1], [32, 32], ["a"]),
)
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read(folder, content):
    """The report, or None where it is refused, in one line that names the file."""
    (folder / REPORT_FILE).write_bytes(content)
    try:
        return read_report(folder)
    except ReportError as error:
        message = str(error)
    assert message.startswith(str(folder / REPORT_FILE))
    assert "\n" not in message
    return None


@settings(QUICK, max_examples=300)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_report_or_an_error(tmp_path, content):
    assert read(tmp_path, content) is None


def stored():
    return json.loads(json.dumps(dataclasses.asdict(make_report())))


def places(value, path=()):
    """Paths to everything inside a JSON value."""
    if not isinstance(value, (dict, list)):
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        yield from places(part, (*path, key))


@pytest.mark.slow
@QUICK
@given(data=st.data())
def test_a_report_with_odd_values_is_refused_or_shown(tmp_path, data):
    changed = stored()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(changed))))
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        odd = data.draw(st.sampled_from(ODD))
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[path[-1]]
        else:
            holder[path[-1]] = odd

    report = read(tmp_path, json.dumps(changed).encode())

    if report is not None:
        assert document(report)
        assert summary_table(report)
        assert page(report, tmp_path)
        for one, other in ((report, make_report()), (make_report(), report)):
            try:
                shown = text(compare(one, other), one, other, ("a", "b"))
            except BirefnetError:
                continue
            assert "\x1b" not in shown
        with contextlib.suppress(ReportError):
            headline_table(report)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "no report"),
        (b'{"a":' * 100_000, "no report of `birefnet bench`: maximum recursion depth"),
        (b'{"schema":"\xff"}', "no report"),
        (b'{"version": 1e400}', "no report"),
        (b'{"version": ' + b"9" * 10_000 + b"}", "no report"),
        (rb'{"schema": "\u001b[31m", "version": 1}', r"holds \\x1b\[31m 1, and this version"),
    ],
)
def test_what_could_end_a_reader_is_refused(tmp_path, content, said):
    (tmp_path / REPORT_FILE).write_bytes(content)

    with pytest.raises(ReportError, match=said):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("times_s", (0.0,)), ("times_s", (-1.0,)), ("number", -1), ("other_cores", 1e19)],
)
def test_a_number_that_nothing_can_have_measured_is_named(tmp_path, field, value):
    report = make_report()
    first = report.results[0]
    runs = dataclasses.replace(first.rounds[0], **{field: value})
    broken = dataclasses.replace(report, results=(dataclasses.replace(first, rounds=(runs,)),))
    write_report(tmp_path, broken)

    with pytest.raises(ReportError, match=f"a damaged report: `{field}` is out of range"):
        read_report(tmp_path)


def test_a_pipe_in_the_place_of_a_report_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / REPORT_FILE)

    with pytest.raises(ReportError, match="no regular file"):
        read_report(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "nowhere"])
def test_a_name_that_can_not_be_a_file_is_an_error(tmp_path, name):
    with pytest.raises(ReportError, match="can't be read"):
        read_report(tmp_path / name)


def test_where_nothing_can_be_written_is_one_line_before_anything_is_measured(tmp_path):
    (tmp_path / "file").touch()

    done = CliRunner().invoke(main, ["bench", "nano", "-o", str(tmp_path / "file" / "run")])

    assert done.exit_code == 1
    assert done.stderr.startswith(f"birefnet: {tmp_path / 'file' / 'run' / REPORT_FILE}: can't be")
    assert done.stderr.count("\n") == 1


def test_a_page_that_can_not_be_written_is_one_line(tmp_path):
    write_report(tmp_path, make_report())
    (tmp_path / "report.html").mkdir()

    done = CliRunner().invoke(main, ["bench", "report", str(tmp_path)])

    assert done.exit_code == 1
    assert done.stderr.startswith(f"birefnet: {tmp_path / 'report.html'}: can't be written")
