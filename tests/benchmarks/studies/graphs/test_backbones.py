import pytest
from studies.graphs import backbones

LITE = {
    "backbone": "swin_v1_t",
    "row": {"size": [512, 512]},
    "threads": 2,
    "times_s": [0.8, 0.8],
    "peak_rss_bytes": 400_000_000,
    "multiply_adds": 40e9,
    "matmul_flops_per_s": [190e9, 200e9, 210e9],
    "paired_s": [0.8, 1.0],
    "pytorch_s": [2.0, 2.0],
    "pytorch_peak_rss_bytes": 1_800_000_000,
}
PVT = LITE | {
    "backbone": "pvt_v2_b0",
    "times_s": [0.4, 0.4],
    "beside_rival_s": [0.4, 0.6],
    "rival_s": [0.8, 0.8],
}
STORED = {
    "environment": {
        "processor": "Some Processor",
        "cores": 2,
        "packages": {"onnxruntime": "1.0", "torch": "2.0"},
    },
    "instructions": ["AVX2"],
    "records": [LITE, PVT, {"backbone": "dino_v3_b", "error": "out of memory"}],
}


def test_a_record_is_condensed_to_what_a_choice_needs():
    row = backbones.condensed(PVT)

    assert row["of_lite"] == pytest.approx((0.5 + 0.75) / 2), "in turns with lite's"
    assert row["of_pytorch"] == pytest.approx((0.4 + 0.5) / 2)
    assert row["roofline_share"] == pytest.approx(2 * 40e9 / 200e9 / 0.4)
    assert backbones.condensed(LITE)["of_lite"] == 1


def test_the_table_leaves_out_what_failed():
    assert backbones.markdown_table(STORED).splitlines()[2:] == [
        "| swin_v1_t | 512x512 | 800 ms | 1.00 | 0.45 | 400 MB | 1.8 GB | 40 G | 0.50 |",
        "| pvt_v2_b0 | 512x512 | 400 ms | 0.62 | 0.45 | 400 MB | 1.8 GB | 40 G | 1.00 |",
        "",
        "Generated weights, float32, batch 1, 2 threads; lite is swin_v1_t. Some Processor, 2 "
        "cores, AVX2; onnxruntime 1.0, torch 2.0.",
    ]
