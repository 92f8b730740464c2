import json

import pytest
from birefnet_benchmarks.errors import BenchmarkError
from studies.graphs import exports

STORED = {
    "environment": {"processor": "Some Processor", "cores": 2},
    "exports": [
        {
            "backbone": "swin_v1_t",
            "nodes": 1542,
            "file_bytes": 178_500_000,
            "build_s": 7.61,
            "verify_s": 0.85,
            "peak_rss_bytes": 1_720_000_000,
            "parity": {
                "logits_max_abs": 1.49e-5,
                "mask_max_abs": 2.04e-6,
                "cases": [[1, 32, 32], [2, 224, 160]],
                "reference": "pytorch 2.13.0",
                "runtime": "onnxruntime 1.31.1",
            },
        }
    ],
}


def test_the_table():
    assert exports.markdown_table(STORED).splitlines()[2:] == [
        "| swin_v1_t | 178 MB | 1,542 | 7.61 s | 850 ms | 1.7 GB | 1.5e-05 | 2.0e-06 |",
        "",
        "Generated weights. Logits, mask: the largest difference to PyTorch at 1x32x32, 2x224x160. "
        "Some Processor, 2 cores, pytorch 2.13.0, onnxruntime 1.31.1.",
    ]


def test_the_file_is_what_the_table_is_made_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exports, "report_of", lambda _: STORED["exports"][0])

    exports.main([str(tmp_path / "results.json"), "model.safetensors"])

    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["exports"] == STORED["exports"]
    assert exports.markdown_table(stored) == capsys.readouterr().out.rstrip("\n")


@pytest.mark.slow
def test_an_export_that_fails_leaves_no_results(tmp_path):
    with pytest.raises(BenchmarkError, match=r"none\.safetensors"):
        exports.main([str(tmp_path / "results.json"), str(tmp_path / "none.safetensors")])

    assert not (tmp_path / "results.json").exists()
