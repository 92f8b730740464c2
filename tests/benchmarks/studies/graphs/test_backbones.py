from dataclasses import replace

import pytest
from birefnet_benchmarks.bench.configuration import Configuration
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import (
    BenchReport,
    MatmulPeak,
    OperationCount,
    Result,
    Round,
)
from studies.graphs import backbones, golden_checkpoints


def result(model: str, backend: str, seconds: float, peak: int) -> Result:
    configuration = Configuration(
        model=model,
        backend=backend,
        variant="eager" if backend == "pytorch" else "rows",
        precision="fp32",
        provider="cpu",
        size=(512, 512),
        batch=1,
        threads=2,
        source=f"{model}.safetensors",
        baseline=backend == "pytorch",
    )
    rounds = tuple(Round(0, i, (seconds,) * 3, 0.0) for i in range(3))
    return Result(configuration, rounds=rounds, peak_rss_bytes=peak)


REPORT = BenchReport(
    started="2026-01-01T00:00:00+00:00",
    took_s=60.0,
    command=("birefnet", "bench"),
    seconds=5.0,
    environment=read_environment(),
    results=(
        result("swin_v1_t", "pytorch", 2.0, 1_800_000_000),
        result("swin_v1_t", "onnxruntime", 0.8, 400_000_000),
        result("pvt_v2_b0", "pytorch", 1.0, 1_500_000_000),
        result("pvt_v2_b0", "onnxruntime", 0.4, 300_000_000),
    ),
    matmul_peaks=(MatmulPeak(2, "onnxruntime", 200e9),),
    operation_counts=(OperationCount("pvt_v2_b0", (512, 512), 1, 24e9),),
)


TURNS = {512: {"swin_v1_t": [0.8, 1.0, 1.0], "pvt_v2_b0": [0.4, 0.5, 0.9]}}


def test_a_report_is_condensed_to_what_a_choice_needs():
    rows = {row["backbone"]: row for row in backbones.condensed(REPORT, TURNS)}

    assert set(rows) == {"swin_v1_t", "pvt_v2_b0"}
    pvt = rows["pvt_v2_b0"]
    assert pvt["median_s"] == pytest.approx(0.4)
    assert pvt["of_pytorch"] == pytest.approx(0.4)
    assert pvt["of_lite"] == pytest.approx(0.5)
    assert pvt["roofline_share"] == pytest.approx(2 * 24e9 / 200e9 / 0.4)
    assert (pvt["peak_rss_bytes"], pvt["pytorch_peak_rss_bytes"]) == (300_000_000, 1_500_000_000)
    assert rows["swin_v1_t"]["roofline_share"] is None


def test_the_table_leaves_out_what_failed():
    failed = replace(REPORT.results[3], rounds=(), error="out of memory")
    report = replace(REPORT, results=(*REPORT.results[:3], failed))
    stored = {
        "environment": {
            "processor": "Some Processor",
            "cores": 2,
            "packages": {"onnxruntime": "1.0", "torch": "2.0"},
        },
        "threads": 2,
        "rows": backbones.condensed(report, TURNS),
    }

    assert backbones.markdown_table(stored).splitlines()[2:] == [
        "| swin_v1_t | 512x512 | 800 ms | 1.00 | 0.40 | 400 MB | 1.8 GB |  |  |",
        "",
        "Generated weights, float32, batch 1, 2 threads; lite is swin_v1_t. Some Processor, 2 "
        "cores; onnxruntime 1.0, torch 2.0.",
    ]


def test_a_backbone_without_names_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError):
        golden_checkpoints.write_checkpoint(tmp_path, "none")
