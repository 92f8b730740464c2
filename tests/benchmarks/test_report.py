from birefnet_benchmarks.case import Case
from birefnet_benchmarks.environment import Environment, read_environment
from birefnet_benchmarks.measure import Measurement
from birefnet_benchmarks.report import (
    Results,
    caption,
    markdown_table,
)

RESULTS = Results(
    environment=Environment(
        processor="Some Processor",
        cores=2,
        memory_bytes=24 * 2**30,
        system="Linux x86_64",
        python="3.11.7",
        packages={"onnxruntime": "1.31.1"},
    ),
    measurements=(
        Measurement(
            case=Case("nano", None, (1024, 1024), 2, 3),
            ran_size=(192, 192),
            cold_start_s=0.5,
            times_s=(0.1, 0.1, 0.101),
            peak_rss_bytes=123_456_789,
        ),
        Measurement(
            case=Case("exports/lite", (512, 1024), (1024, 1024), 2, 3),
            ran_size=(512, 1024),
            cold_start_s=3.21,
            times_s=(2.0, 3.0, 4.0),
            peak_rss_bytes=1_500_000_000,
        ),
    ),
)


def test_the_table():
    assert markdown_table(RESULTS.measurements) == (
        "| model | network's size | cold start | median | p95 | peak RSS |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| nano | 192x192 | 500 ms | 100 ms | 101 ms | 123 MB |\n"
        "| lite | 512x1024 | 3.21 s | ~3 s | 4 s | 1500 MB |\n"
    )


def test_the_caption():
    assert caption(RESULTS) == (
        "A 1024x1024 image in memory to alpha, batch 1; "
        "Some Processor, 2 threads, onnxruntime 1.31.1, Python 3.11.7. ~: times varied widely."
    )


def test_the_environment_of_this_machine():
    environment = read_environment()

    assert environment.cores >= 1
    assert environment.memory_bytes > 2**28
    assert environment.packages["birefnet-ort"]
