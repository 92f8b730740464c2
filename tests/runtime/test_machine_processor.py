from birefnet_runtime.machine import Processor, has_arm_bf16, read_processor


def test_the_processor_is_read(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\n"
        "flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile\n\nprocessor\t: 1\nmodel name\t: other\n"
    )

    assert read_processor(file) == Processor(
        "Intel(R) Xeon(R)",
        ("AVX2", "AVX-512", "VNNI", "AMX"),
        ("amx_tile", "avx2", "avx512_vnni", "avx512f", "fpu"),
    )
    assert read_processor(tmp_path / "none").features == ()


def test_bfloat16_counts_on_arm_alone(tmp_path):
    """The entry that asks ONNX Runtime for it does nothing on another processor."""
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n")
    assert read_processor(file).features == ("BF16", "NEON", "DotProd", "I8MM")
    assert has_arm_bf16(file)

    file.write_text("processor\t: 0\nflags\t: avx2 avx512_bf16\n")
    assert not has_arm_bf16(file)
