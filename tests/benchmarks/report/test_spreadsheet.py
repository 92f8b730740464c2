"""Rows of report.csv are the results of report.json."""

import csv
import dataclasses
import io

import pytest
from birefnet_benchmarks.report import statistics
from birefnet_benchmarks.report.spreadsheet import as_csv
from birefnet_benchmarks.report.summary import main_workloads

from .sample import ROWS, make_report


def test_a_row_for_each_configuration_with_its_numbers():
    report = make_report()
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))

    assert len(rows) == len(report.results)
    for row, result in zip(rows, report.results, strict=True):
        configuration, timing = result.configuration, statistics.timing(result)
        assert (row["height"], row["width"]) == tuple(map(str, configuration.size))
        assert row["variant"] == configuration.variant
        assert row["error"] == (result.error or "")
        if timing:
            assert float(row["median_s"]) == pytest.approx(timing.median_s, rel=1e-5)
        else:
            assert row["median_s"] == ""
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_what_a_spreadsheet_would_compute_is_text():
    report = make_report()
    hostile = dataclasses.replace(ROWS, model="=1+1")
    result = dataclasses.replace(report.results[1], configuration=hostile)
    (row,) = csv.DictReader(io.StringIO(as_csv(dataclasses.replace(report, results=(result,)))))

    assert row["model"] == "'=1+1"


def test_the_summary_is_of_the_size_that_a_model_was_trained_at():
    report = make_report()
    name, size, *_ = main_workloads(report)[0]
    sizes = {r.configuration.size for r in report.results if r.configuration.model == name}
    other = next(each for each in sorted(sizes) if each != size)

    trained = dataclasses.replace(report, trained_sizes={name: other})

    assert main_workloads(trained)[0][:2] == (name, other)
