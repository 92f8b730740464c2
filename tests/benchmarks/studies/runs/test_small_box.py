"""Models for a small machine: what is measured, and the table of it."""

import json

from birefnet_models import embedded_path, find
from studies.runs import small_box

NANO = embedded_path(find("nano"))


def test_each_model_runs_on_one_core_and_on_two(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(small_box, "ROUNDS", 2)

    small_box.main([str(tmp_path / "small_box.json"), f"lite={NANO}@64x96", f"b={NANO}@32x32"])

    rows = json.loads((tmp_path / "small_box.json").read_text())["rows"]
    assert {name: (row["size"], row["file_bytes"]) for name, row in rows.items()} == {
        "lite": ("64x96", NANO.stat().st_size),
        "b": ("32x32", NANO.stat().st_size),
    }
    runs = [run for row in rows.values() for cores in ("1", "2") for run in row["runs"][cores]]
    assert len(runs) == 8
    assert all(run["run_s"] > 0 and 30e6 < run["peak"] < 1e9 for run in runs)
    assert "| lite | 64x96 | 10 MB |" in capsys.readouterr().out


def test_the_fastest_run_counts_and_the_largest_peak():
    def row(*times):
        runs = [{"run_s": time, "peak": 1e6 * time} for time in times]
        return {"size": "8x8", "file_bytes": 2_000_000, "runs": {"1": runs, "2": runs[:1]}}

    table = small_box.markdown_table(
        {
            "environment": {"processor": "X", "packages": {"onnxruntime": "1.32.0"}},
            "rows": {"lite": row(4, 2), "small": row(3, 1)},
        }
    )

    assert "| small | 8x8 | 2 MB | 3 MB | 1.00 s | 0.50 | 3.00 s | 0.75 |" in table
