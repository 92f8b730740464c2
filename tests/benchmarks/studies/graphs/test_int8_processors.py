from studies.graphs import int8_processors

FP32 = {
    "kind": "fp32",
    "weights": "",
    "mae_mean": 0.0,
    "mae_max": 0.0,
    "iou_mean": 1.0,
    "iou_min": 1.0,
}
INT8 = FP32 | {"kind": "products", "weights": "7 bits", "mae_mean": 0.001, "mae_max": 0.002}
HERE = {"model": "Some Processor", "features": ["AVX2", "VNNI"]}
STORED = {
    "environment": {"packages": {"onnxruntime": "1.31.1"}},
    "checkpoint": "nano",
    "images": 10,
    "rows": [
        FP32 | HERE | {"median_s": 0.02, "of_fp32": 1.0},
        INT8 | HERE | {"median_s": 0.01, "of_fp32": 0.5},
        FP32 | {"emulated": "qemu"},
        INT8 | {"emulated": "qemu", "iou_mean": 0.99, "iou_min": 0.9},
    ],
}


def test_the_table_names_the_processor_and_gives_no_times_of_an_emulated_one():
    lines = int8_processors.markdown_table(STORED).splitlines()

    assert lines[2:5] == [
        "| Some Processor, AVX2, VNNI | products | 7 bits | 1.0000 (1.0000) | 0.00100 (0.00200) | "
        "0.50 of fp32's |",
        "| emulated: `qemu` | products | 7 bits | 0.9900 (0.9000) | 0.00100 (0.00200) |  |",
        "",
    ]
    assert lines[5].startswith("nano on 10 photographs")


def test_seven_bits_end_at_64():
    values = int8_processors.np.array([[1, -3], [0.5, 1.5]], "f")
    weight = int8_processors.int8.LayerWeight("w", 1, 1, values.shape, lambda: values)
    rounded = int8_processors.seven_bits(weight)

    assert rounded.values.tolist() == [[64, -64], [32, 32]]
    assert rounded.scale.tolist() == int8_processors.np.float32([1 / 64, 3 / 64]).tolist()
