"""A run on the disk: what goes in comes out, and what is not a report is told from one."""

import dataclasses

import pytest
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import (
    BenchReport,
    ColdStart,
    Configuration,
    ConfigurationResult,
    GraphParity,
    MatmulPeak,
    OperationCount,
    PipelineParity,
    Preview,
    Round,
    TensorDifference,
    baseline_of,
    read_report,
    write_report,
)
from birefnet_benchmarks.errors import ReportError

ROW = Configuration(
    "lite", "pytorch", "eager", "fp32", "cpu", (512, 768), 1, 2, "a.safetensors", True
)
OTHER = dataclasses.replace(ROW, backend="onnxruntime", variant="rows", baseline=False)
REPORT = BenchReport(
    started="2026-01-02T03:04:05+00:00",
    took_s=12.5,
    command=("birefnet", "bench", "lite"),
    seconds=10.0,
    environment=read_environment(),
    results=(
        ConfigurationResult(
            ROW,
            ColdStart(1.0, 0.5, 2.0),
            (Round(0, 0, (0.5, 0.25), 0.125), Round(0, 1, (0.5,), 0.0, 3.5)),
            1_000_000,
            facts={"torch": "2.13.0"},
        ),
        ConfigurationResult(
            OTHER,
            graph=GraphParity(
                TensorDifference(1e-5, 1e-6, 1e-7), TensorDifference(1e-6, 1e-7, 1e-8), None
            ),
            previews=(
                Preview(
                    "a.jpg",
                    "pictures/a.jpg",
                    "pictures/b.png",
                    "pictures/c.png",
                    PipelineParity(0.1, 3, 0.9, 0.2, 0.3, 4, 0.8, "too much"),
                ),
            ),
            error="crashed",
        ),
    ),
    matmul_peaks=(MatmulPeak(2, "torch", 2e11),),
    operation_counts=(OperationCount("lite", (512, 768), 1, 1e11),),
    notes=("said",),
)


def test_a_report_comes_back_as_it_was(tmp_path):
    path = write_report(tmp_path / "run", REPORT)

    assert read_report(tmp_path / "run") == read_report(path) == REPORT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no report of `birefnet bench`"),
        ('{"rows": []}', "holds something else 0"),
        ('{"schema": "birefnet-bench", "version": 99}', "holds birefnet-bench 99"),
        ('{"schema": "birefnet-bench", "version": 2}', "damaged report: .*`started`"),
    ],
)
def test_what_is_no_report_is_told(tmp_path, content, said):
    file = tmp_path / "report.json"
    file.write_text(content)

    with pytest.raises(ReportError, match=said) as caught:
        read_report(file)
    assert str(file) in str(caught.value)


def test_a_missing_report_is_told(tmp_path):
    with pytest.raises(ReportError, match=r"report\.json: .*No such file"):
        read_report(tmp_path)


def test_the_baseline_is_that_of_the_same_workload():
    elsewhere = dataclasses.replace(OTHER, batch=2)

    assert baseline_of(OTHER, REPORT.results) is REPORT.results[0]
    assert baseline_of(elsewhere, REPORT.results) is None
    assert baseline_of(ROW, REPORT.results) is None
