import pytest
from studies.graphs import precision

TIMED = {
    "backbone": "swin_v1_t",
    "nodes": 1542,
    "file_bytes": 178_000_000,
    "load_s": 0.7,
    "times_s": [3.0, 2.9, 3.2],
    "peak_rss_bytes": 838_000_000,
}
JUDGED = {
    "ious": [1.0, 1.0],
    "errors": [0.0, 0.0],
    "parity": {"mask_mean_abs": 1e-6},
}
STORED = {
    "environment": {
        "processor": "Some Processor",
        "cores": 2,
        "packages": {"onnxruntime": "1.31.1"},
    },
    "timed": {
        "fp32": TIMED,
        "int8, calibrated": TIMED
        | {"file_bytes": 46_500_000, "paired_s": [2.0, 2.2, 1.9], "rival_s": [3.0, 3.0, 4.0]},
    },
    "judged": {
        "rows": {
            "fp32": JUDGED,
            "int8, calibrated": {
                "ious": [0.99, 0.998],
                "errors": [0.0004, 0.0006],
                "parity": {"mask_mean_abs": 0.002},
            },
        },
        "roundings": [
            {
                "kind": "weights",
                "nodes": 0,
                "mask_mean_abs": 4.8e-5,
                "mask_max_abs": 5.1e-3,
                "largest": 0.0,
            },
            {
                "kind": "MatMul",
                "nodes": 62,
                "mask_mean_abs": 7.2e-6,
                "mask_max_abs": 7.2e-4,
                "largest": 875.4,
            },
        ],
        "size": "192",
        "images": 2,
    },
}


def test_the_table():
    rows = precision.markdown_table(STORED).splitlines()

    assert rows[2:5] == [
        "| fp32 | 178 MB (1.00) | 1.00 of fp32's | 838 MB | 1.0000 (1.0000) | 0.00000 | 1.0e-06 |",
        "| int8, calibrated | 46 MB (0.26) | 0.67 of fp32's | 838 MB | 0.9940 (0.9900) | 0.00050 | "
        "2.0e-03 |",
        "",
    ]
    assert "nano on 2 photographs, of which every other" in rows[5]


def test_with_kernels_there_is_a_row_more_of_the_last_export(monkeypatch):
    reports = {"fp32": {"file": "a"}, "int8": {"file": "b"}}
    monkeypatch.setattr(precision, "plugin_of", lambda _: None)

    assert [run[2] for run in precision.runs_of(reports)] == ["cpu:plain", "cpu:plain"]
    monkeypatch.setattr(precision, "plugin_of", lambda name: name)
    assert list(precision.runs_of(reports))[2:] == [
        ("int8, birefnet-ort-kernels", {"file": "b"}, "cpu:kernels")
    ]
    rows = {**STORED["judged"]["rows"], "int8, birefnet-ort-kernels": JUDGED}
    table = precision.markdown_table({**STORED, "judged": {**STORED["judged"], "rows": rows}})
    assert "int8, birefnet-ort-kernels: IoU 1.0000 (1.0000), MAE 0.00000" in table


def test_the_table_of_roundings():
    assert precision.roundings_table(STORED).splitlines()[2:] == [
        "| weights | 0 | 4.8e-05 | 5.1e-03 |  |",
        "| MatMul | 62 | 7.2e-06 | 7.2e-04 | 875 |",
        "",
        "nano on 2 photographs at 192, against fp32's masks.",
    ]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([0.6, 0.2], [0.9, 0.1], 1), ([0.6, 0.6], [0.6, 0.4], 0.5), ([0], [0], 1)],
)
def test_overlap(a, b, expected):
    assert precision.overlap(precision.np.array(a), precision.np.array(b)) == expected
