import json

import pytest
from birefnet_benchmarks.errors import BenchmarkError
from studies.graphs import export

STORED = {
    "environment": {"processor": "Some Processor", "cores": 2},
    "photographs": 12,
    "remark": "",
    "exports": [
        {
            "backbone": "swin_v1_t",
            "precision": "int8",
            "calibrated": True,
            "took_s": 9.5,
            "processor_s": 9.1,
            "limit_bytes": 1_000_000_000,
            "nodes": 1542,
            "file_bytes": 178_500_000,
            "build_s": 7.61,
            "verify_s": 0.85,
            "peak_rss_bytes": 1_720_000_000,
            "parity": {
                "logits_max_abs": 1.49e-5,
                "mask_max_abs": 2.04e-6,
                "cases": [[1, 32, 32], [2, 224, 160]],
                "reference": "numpy 2.3.4 in float64",
                "runtime": "onnxruntime 1.31.1",
            },
        }
    ],
}


def test_the_table():
    assert export.markdown_table(STORED).splitlines()[2:] == [
        "| swin_v1_t | int8, calibrated | 178 MB | 1,542 | 7.61 s | 850 ms | 9.1 s | 1,720 MB "
        "| 1 GB | 1.5e-05 | 2.0e-06 |",
        "",
        "Generated weights, one core, one export at a time. Processor: seconds of the whole "
        "process, its start included. Limit: of memory, by a control group. Calibrated: on 12 "
        "photographs at 1024x1024. Logits, mask: the largest difference to the reference at "
        "1x32x32, 2x224x160. "
        "Some Processor, numpy 2.3.4 in float64, onnxruntime 1.31.1.",
    ]


def test_the_file_is_what_the_table_is_made_of(tmp_path, monkeypatch, capsys):
    asked = []

    def report_of(checkpoint, precision, calibrate=None):
        asked.append((checkpoint.name, precision, calibrate))
        return STORED["exports"][0]

    monkeypatch.setattr(export, "report_of", report_of)

    export.main([str(tmp_path / "results.json"), str(tmp_path), "a.safetensors", "b.safetensors"])

    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["exports"] == STORED["exports"] * 7
    assert asked[2:4] == [("a.safetensors", "int8", None), ("b.safetensors", "fp32", None)]
    assert asked[-1] == ("a.safetensors", "int8", tmp_path)
    assert export.markdown_table(stored) == capsys.readouterr().out.rstrip("\n")


@pytest.mark.slow
def test_an_export_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "limit_of", lambda *_: 1_000_000_000)

    with pytest.raises(BenchmarkError, match=r"none\.safetensors"):
        export.report_of(tmp_path / "none.safetensors", "fp32")
