from birefnet_runtime.machine.processor import Processor, read_processor


def test_the_processor_is_read(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\n"
        "flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile\n\nprocessor\t: 1\nmodel name\t: other\n"
    )

    assert read_processor(file) == Processor("Intel(R) Xeon(R)", ("AVX2", "AVX-512", "VNNI", "AMX"))
    assert read_processor(tmp_path / "none").features == ()
