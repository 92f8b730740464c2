"""The table of targets, from records that are known."""

import pytest
from studies.graphs.targets import exponent, markdown_table, ratio, roofline_share

MACHINE = {"processor": "Some CPU", "cores": 2, "packages": {"onnxruntime": "1.31.1"}}


def test_the_exponent_is_that_of_the_power():
    sizes = [1.0, 4.0, 9.0, 16.0]

    assert exponent(sizes, [3 * size**1.25 for size in sizes]) == pytest.approx(1.25)


def test_the_share_of_the_roofline_is_speed_over_the_best_peak():
    record = {
        "multiply_adds": 100e9,
        "times_s": [1.0, 3.0],
        "paired_s": [2.0],
        "matmul_flops_per_s": [50e9, 200e9],
    }

    assert roofline_share(record) == pytest.approx(2 * 100e9 / 2.0 / 200e9)


def test_a_ratio_is_of_medians_taken_in_turn():
    assert ratio({"paired_s": [1.0, 2.0, 9.0], "pytorch_s": [8.0, 8.0, 1.0]}) == 0.25


def rows():
    graph = {
        "load_s": 0.5,
        "times_s": [2.0],
        "paired_s": [2.0],
        "pytorch_s": [10.0],
        "multiply_adds": 320e9,
        "matmul_flops_per_s": [400e9],
        "peak_rss_bytes": 700_000_000,
    }
    cutout = {"exit_code": 0, "took_s": 4.0, "peak_rss_bytes": 900_000_000, "said": ""}
    sizes = {
        f"growth {side}": {
            "row": {"size": [side, side], "batch": 1},
            "times_s": [side**2 / 1e6],
            "peak_rss_bytes": 10**9,
        }
        for side in (256, 512, 1024)
    }
    return {
        "lite": graph,
        "cutout": cutout,
        "cutout low": {**cutout, "took_s": 5.0, "peak_rss_bytes": 700_000_000},
        "cutout 2048": {**cutout, "exit_code": -9, "said": "killed"},
        "swin_l": {"error": "exit code 1: no memory"},
        **sizes,
    }


def test_every_target_has_a_line_whatever_became_of_it():
    table = markdown_table({"environment": MACHINE, "rows": rows()})

    assert "| lite: share of the roofline | >= .70 | 0.80 |" in table
    assert "| lite: time against PyTorch eager | <= 1/2.5 | 1/5.0 |" in table
    assert "| lite: peak RSS of `birefnet cutout` | <= 1.0 GB | 0.90 GB in 4 s |" in table
    assert "| lite: with `--memory low` | <= 0.75 GB, 1.3 x | 0.70 GB, 1.25 x the time |" in table
    assert "| lite: at 2048 x 2048 | <= 3.2 GB | failed: killed |" in table
    assert "| SwinL: share of the roofline | >= .70 | failed: exit code 1: no memory |" in table
    assert "| int8 against fp32 | <= .70, <= .35 | not measured here |" in table
    assert "time grows as pixels to the power of 1.00" in table
    assert "Some CPU, 2 threads, onnxruntime 1.31.1" in table
