"""What is printed, to the letter."""

import dataclasses
from pathlib import Path

import pytest
from birefnet_benchmarks.bench.results import (
    ColdStart,
    ConfigurationResult,
    GraphParity,
    TensorDifference,
)
from birefnet_benchmarks.errors import ReportError
from birefnet_benchmarks.report import wording
from birefnet_benchmarks.report.columns import cells
from birefnet_benchmarks.report.markdown import document, escaped, headline_table, summary_table
from birefnet_benchmarks.report.summary import findings, main_workloads
from markdown_it import MarkdownIt

from .sample import BASELINE, HOSTILE, INT8, NATIVE, ROWS, close, preview, rounds

EXPECTED = Path(__file__).parent / "expected"


def test_the_whole_document(report):
    assert document(report) == (EXPECTED / "report.md").read_text(encoding="utf-8")


def test_the_table_for_a_readme(report):
    lite = dataclasses.replace(report, results=report.results[:4])

    assert summary_table(lite) == (
        "| configuration | median | time / baseline's | peak RSS | largest mask error |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| PyTorch, eager, fp32, cpu | 8.23 s | baseline | 2.9 GB |  |\n"
        "| ONNX Runtime, rows, fp32, cpu | 2.6 s | 0.32 x | 820 MB | 1 level |\n"
        "| ONNX Runtime, native, fp32, cpu | ~2.81 s | 0.34 x | 1.8 GB | 1 level |\n"
        "| ONNX Runtime, rows, int8, cpu | 1.96 s | 0.24 x\\* | 700 MB | differs: 60 levels |\n"
        "\n"
        "lite, 1024x1024, batch 1, 2 threads. Imaginary CPU, 2 cores, Imaginary GPU (9.0); "
        "onnxruntime 1.31.1, torch 2.13.0, Python 3.11.7. ~: times varied, or the machine was "
        "busy. \\*: not interleaved."
    )


def test_several_models_are_named_in_the_table_for_a_readme(report):
    head = summary_table(report).splitlines()[0]

    assert head.startswith("| model | size | configuration | median |")


def test_a_run_of_nothing_is_still_a_document(report):
    empty = dataclasses.replace(report, results=(), notes=())

    assert document(empty).startswith("# Nothing, measured\n")


def test_hostile_names_stay_text(report):
    rendered = MarkdownIt("commonmark").enable("table").render(document(report))

    assert "<script" not in rendered
    assert rendered.count("&lt;script&gt;alert(1)&lt;/script&gt;|x:Mine, plain, fp32, cpu") == 1


@pytest.mark.parametrize(
    "text", [HOSTILE, "a*b*", "_c_", "`d`", "[e](f)", "\\|", "g\nh", "![i](j)"]
)
def test_plain_text_comes_out_as_it_went_in(text):
    row = MarkdownIt("commonmark").enable("table").parse(f"| a |\n| - |\n| {escaped(text)} |\n")

    cells = [token.children for token in row if token.type == "inline"]
    assert len(cells) == 2
    assert all(child.type in ("text", "text_special") for child in cells[1])
    assert "".join(child.content for child in cells[1]) == " ".join(text.split())


def test_the_workload_that_says_most_comes_first(report):
    assert main_workloads(report) == [("lite", (1024, 1024), 1, 2), ("swin", (1024, 1024), 1, 2)]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (
            [
                ConfigurationResult(BASELINE, rounds=rounds(1.0)),
                ConfigurationResult(ROWS, rounds=rounds(0.99)),
            ],
            "1 s: About as fast as",
        ),
        (
            [
                ConfigurationResult(BASELINE, rounds=rounds(1.0)),
                ConfigurationResult(ROWS, rounds=rounds(0.5)),
            ],
            "500 ms: 2 times as fast as the baseline, PyTorch, eager, fp32, cpu (1 s), round by",
        ),
        (
            [
                ConfigurationResult(BASELINE, error="crashed"),
                ConfigurationResult(ROWS, rounds=rounds(2.0)),
            ],
            "2 s: The baseline, PyTorch, eager, fp32, cpu, gave no times.",
        ),
        ([ConfigurationResult(BASELINE, rounds=rounds(1.0))], "1 s: It is the baseline itself."),
        (
            [ConfigurationResult(ROWS, rounds=rounds(1.0))],
            "1 s: There is no baseline to compare it with.",
        ),
        ([ConfigurationResult(ROWS, error="crashed")], "nothing: Nothing could be timed."),
        (
            [ConfigurationResult(INT8, rounds=rounds(1.0), graph=close(1, "off"))],
            "nothing: Every configuration that ran differs from the baseline.",
        ),
    ],
)
def test_what_is_fastest(results, expected):
    fastest = findings(results)[0]

    assert f"{fastest.figure}: {fastest.text}".replace("990 ms", "1 s").startswith(expected)


def test_configurations_that_are_not_slower_beyond_noise_are_named():
    fast, close, slow = (
        ConfigurationResult(row, rounds=rounds(median))
        for row, median in ((ROWS, 1.0), (NATIVE, 1.01), (BASELINE, 1.2))
    )

    assert findings([fast, close, slow])[0].text.endswith(
        "Not slower beyond its spread: ONNX Runtime, native, fp32, cpu."
    )


def test_whether_the_answer_is_the_same():
    right = ConfigurationResult(ROWS, graph=close(1e-6))
    wrong = ConfigurationResult(INT8, graph=close(0.1, "off"))

    def answer(*results: ConfigurationResult) -> tuple[str, bool | None]:
        found = findings(results)[2]
        return found.figure, found.good

    assert answer(right, ConfigurationResult(BASELINE)) == ("yes", True)
    assert answer(right, wrong) == ("not all", False)
    assert answer(wrong) == ("no", False)
    assert answer(ConfigurationResult(NATIVE)) == ("unknown", False)


def test_what_is_not_quite_equal_is_not_rounded_to_it():
    assert wording.share(0.99999) == "0.9999"
    assert wording.share(0.9964) == "0.9964"
    assert wording.share(1.0) == "1.0000"


def test_the_table_of_a_readmes_first_screen_explains_its_columns(report):
    assert headline_table(report) == (
        "| lite on the CPU | median time of one 1024x1024 image | time relative to PyTorch, "
        "median of the rounds | peak memory of the process | "
        "largest error of the mask, of 255 gray levels |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| PyTorch (eager, float32) | 8.23 s | 1 | 2.9 GB | reference |\n"
        "| ONNX Runtime, float32 | 2.6 s | 0.32 | 820 MB | 1 |\n"
        "| ONNX Runtime, int8 | 1.96 s | 0.24 | 700 MB | 60 |\n"
        "\n"
        "Batch 1, 2 threads; Imaginary CPU, 2 cores, Imaginary GPU (9.0); "
        "onnxruntime 1.31.1, torch 2.13.0, Python 3.11.7."
    )


def test_a_report_of_other_configurations_has_no_table_for_a_readmes_first_screen(report):
    with pytest.raises(ReportError, match=r"none of PyTorch \(eager, float32\)"):
        headline_table(dataclasses.replace(report, results=report.results[-1:]))


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (wording.multiple, 0.1, "0.10"),
        (wording.multiple, 0.0994, "0.099"),
        (wording.multiple, 12.5, "12.50"),
        (wording.rate, 0.3666, "0.367"),
        (wording.rate, 999.4, "999"),
        (wording.rate, 1250.0, "1250"),
        (wording.rate, 123456.0, "123456"),
        (wording.energy, 0.35, "350 mJ"),
        (wording.energy, 1.0, "1 J"),
        (wording.energy, 12.54, "12.5 J"),
        (wording.levels, 1.0, "1 level"),
        (wording.levels, 0.374, "0.37 levels"),
        (wording.levels, 9.96, "10 levels"),
        (wording.levels, 60.4, "60 levels"),
        (wording.levels, 0.0, "0 levels"),
    ],
)
def test_numbers_in_words(write, value, text):
    assert write(value) == text


def test_every_column_of_a_full_result():
    baseline = ConfigurationResult(BASELINE, rounds=rounds(4.0, 4.0))
    full = ConfigurationResult(
        dataclasses.replace(ROWS, batch=1),
        ColdStart(0.25, 0.5, 2.0),
        rounds(1.0, 2.0, other_cores=0.5, energy=6.0),
        1_500_000_000,
        2_500_000_000,
        graph=GraphParity(
            TensorDifference(1e-3, 1e-4, 1e-5), TensorDifference(2e-4, 2e-5, 2e-6), "off"
        ),
        previews=(preview("rows", 3, "off"),),
    )

    assert cells(full, [baseline, full]) == {
        "configuration": "ONNX Runtime, rows, fp32, cpu",
        "model": "lite",
        "size": "1024x1024",
        "median": "~1.5 s",
        "p95": "2.08 s",
        "quartiles": "1.01 s to 1.99 s",
        "runs": "6",
        "images/s": "0.667",
        "time / baseline's": "0.38 x",
        "ratio by round": "0.31 to 0.44 in 2 rounds",
        "other load, cores": "0.50",
        "cold start": "2.75 s",
        "import, load, first run": "250 ms, 500 ms, 2 s",
        "peak RSS": "1.5 GB",
        "device memory": "2.5 GB",
        "energy per image": "2 J",
        "graph: logits, mask": "differs: 1.0e-03, 2.0e-04",
        "largest mask error": "differs: 3 levels",
        "pipeline: levels, IoU, edge IoU": "differs: 3 levels, 0.9970, 0.9700",
    }
    assert set(cells(ConfigurationResult(ROWS), []).values()) == {
        *("ONNX Runtime, rows, fp32, cpu", "lite", "1024x1024", "")
    }
