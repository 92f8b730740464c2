"""The page: whole, of itself alone, the same every time, and safe from what it shows."""

import base64
import dataclasses
import io
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from birefnet_benchmarks.bench.results import ConfigurationResult, Round, read_report
from birefnet_benchmarks.report import plots
from birefnet_benchmarks.report import statistics as statistics
from birefnet_benchmarks.report.html import page
from birefnet_benchmarks.report.previews import amplification, preview_strips
from PIL import Image

from .sample import BASELINE, HOSTILE, NATIVE, ROWS, preview, rounds

VOID = {"br", "hr", "img", "input", "link", "meta"}
EMPTY_SVG = {"path", "rect", "use", "circle", "line"}
REFERENCES = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}


class Checked(HTMLParser):
    """Tags that close in the order that they opened in, and everything that is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in REFERENCES]
        self.ids += [found["id"] or ""] if "id" in found else []
        if tag == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def checked(text: str) -> Checked:
    parser = Checked()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def shown(run) -> str:
    return page(read_report(run), run)


def test_the_page_is_whole_and_refers_to_itself_alone(shown):
    found = checked(shown)

    inside = [each for each in found.references if each.startswith("#")]
    assert set(found.references) - set(inside) == {
        each for each in found.references if each.startswith("data:")
    }
    assert {each[1:] for each in inside} <= set(found.ids)
    assert "script" not in found.tags
    assert not re.search(r"@import|url\((?!#)|https?:", shown)


def test_every_id_is_one_of_a_kind(shown):
    ids = checked(shown).ids

    assert len(ids) == len(set(ids))


def test_every_picture_and_plot_says_what_it_shows(shown):
    images = checked(shown).images

    assert (
        len(images) == 8
    )  # the image, the baseline's mask, and of three configurations mask and difference
    assert all(image["alt"] for image in images)
    plots_there = re.findall(r'<svg class="plot" role="img" aria-label="([^"]*)"', shown)
    assert len(plots_there) == 2 * 5 + 2
    assert "PyTorch, eager, fp32, cpu: 8.23 s" in "".join(plots_there)


def test_hostile_text_stays_text(shown):
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;|x:Mine") >= 3


def test_hostile_text_everywhere_stays_text(run, report):
    nasty = f"\"'><img src=x onerror=alert(1)>{HOSTILE}"
    configuration = dataclasses.replace(
        ROWS, model=nasty, variant=nasty, source=nasty, provider=nasty
    )
    sample = preview("rows", 1, nasty)
    result = ConfigurationResult(
        configuration,
        rounds=rounds(1.0),
        facts={nasty: nasty},
        previews=(dataclasses.replace(sample, image=nasty, mask=nasty),),
        error=nasty,
    )
    bigger = dataclasses.replace(
        result, configuration=dataclasses.replace(configuration, size=(64, 64))
    )
    environment = dataclasses.replace(report.environment, processor=nasty, packages={nasty: nasty})
    hostile = dataclasses.replace(
        report,
        results=(result, bigger),
        environment=environment,
        notes=(nasty,),
        command=(nasty,),
        started=nasty,
    )

    found = checked(page(hostile, run))

    assert "script" not in found.tags
    assert all((image["src"] or "").startswith("data:") for image in found.images)


def test_the_same_run_gives_the_same_page(run, shown):
    assert page(read_report(run), run) == shown


def test_the_summary_and_the_two_parities_are_there(shown):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))

    assert "Fastest 2.6 s ONNX Runtime, rows, fp32, cpu 3.2 times as fast as the baseline" in text
    assert "Graph Absolute differences to the baseline" in text
    assert "Pipeline Whole images; of several the worst." in text
    assert "differs: disc.jpg: 60 levels off, and 8 are allowed" in text
    assert "at most 60 levels of 255, shown times 4" in text
    assert "took longer than 60 s" in text
    assert "OpenVINO was left out: its plugin isn't installed." in text.replace("&#39;", "'")


def test_what_was_not_varied_has_no_part(run, report):
    one = dataclasses.replace(report, results=report.results[:2], operation_counts=(), notes=())

    found = checked(page(one, run))

    assert {"scaling", "roofline", "failures", "notes"}.isdisjoint(found.ids)
    assert {"latency", "memory", "accuracy", "masks", "environment"} <= set(found.ids)


def test_a_run_of_nothing_is_still_a_page(run, report):
    checked(page(dataclasses.replace(report, results=()), run))


def test_a_picture_that_is_not_there_is_said(run, report):
    (run / "pictures/disc-rows.png").unlink()
    (run / "pictures/disc-int8-off.png").write_bytes(b"no picture")

    text = page(report, run)

    checked(text)
    assert "pictures/disc-rows.png can&#39;t be read: No such file or directory" in text
    assert "pictures/disc-int8-off.png can&#39;t be read" in text


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "report.json", "a\0.png", "x" * 5000 + ".png", "pipe.png"],
)
def test_only_pictures_of_the_run_are_shown(run, name):
    (run.parent / "secret.png").write_bytes(b"secret")
    os.mkfifo(run / "pipe.png")
    result = ConfigurationResult(
        ROWS, previews=(dataclasses.replace(preview("rows", 1), mask=name),)
    )

    (strip,) = preview_strips([result], run)

    assert strip.configurations[0][1][0].uri is None
    assert strip.configurations[0][1][0].text.startswith(f"{name} ")


def test_differences_are_brightened_by_the_factor_that_is_stated(run, report):
    (strip,) = preview_strips(report.results[:4], run)

    name, (_, difference), agrees = strip.configurations[2]
    assert (name, agrees) == ("ONNX Runtime, rows, int8, cpu", False)
    assert difference.text == "at most 60 levels of 255, shown times 4"
    assert difference.uri
    content = base64.b64decode(difference.uri.partition(",")[2])
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(content))))) == {0, 240}


@pytest.mark.parametrize(("largest", "factor"), [(0, 1), (1, 128), (2, 64), (3, 64), (128, 1)])
def test_the_factor_is_a_power_of_two_that_fits(largest, factor):
    assert amplification(largest) == factor


def test_names_that_a_plot_could_stumble_over():
    names = ("$x$ and $", "日本語", "a" * 80, "<b>&")
    results = [
        ConfigurationResult(
            dataclasses.replace(ROWS, variant=name), rounds=rounds(float(index + 1))
        )
        for index, name in enumerate(names)
    ]

    drawn = plots.time_bars(results).svg

    assert "$x$ and $" in drawn
    assert "日本語" in drawn
    assert "&lt;b&gt;&amp;" in drawn
    assert "a" * 60 not in drawn.partition(">")[2]


def test_many_runs_make_no_large_plot():
    many = Round(0, 0, tuple(1 + index / 1e5 for index in range(20_000)), 0.0)

    assert len(plots.time_bars([ConfigurationResult(ROWS, rounds=(many,))]).svg) < 20_000


def test_a_few_slow_runs_do_not_shorten_the_bars():
    times = (*(1.0,) * 8, 50.0, 60.0)

    drawn = plots.time_bars([ConfigurationResult(ROWS, rounds=(Round(0, 0, times, 0.0),))]).svg

    assert "2 slower ›" in drawn
    assert "20 s" not in drawn


def test_one_slow_configuration_does_not_hide_the_others(run, report):
    """18 s beside .14 s: its bar is broken, the others stay as long, and the page says so."""
    fast = [
        ConfigurationResult(ROWS, rounds=rounds(0.14)),
        ConfigurationResult(NATIVE, rounds=rounds(0.07)),
    ]
    slow = ConfigurationResult(BASELINE, rounds=rounds(18.0))

    alone, beside = plots.time_bars(fast), plots.time_bars([*fast, slow])

    assert not alone.cut
    assert beside.cut
    assert bar_lengths(beside.svg)[:2] == pytest.approx(bar_lengths(alone.svg))
    parts = bar_lengths(beside.svg, "--baseline")
    assert len(parts) == 2
    assert sum(parts) < 1.25 * bar_lengths(beside.svg)[0]  # within the axis
    shown = page(dataclasses.replace(report, results=(*fast, slow)), run)
    assert "A bar with a gap is longer than the axis" in shown
    assert "A bar with a gap" not in page(dataclasses.replace(report, results=tuple(fast)), run)


def test_bars_that_can_be_compared_are_whole():
    bars = plots.time_bars(
        [ConfigurationResult(ROWS, rounds=rounds(s)) for s in (10.9, 7.0, 2.8, 3.1, 2.27)]
    )

    assert not bars.cut


def bar_lengths(svg: str, color: str = "--bar") -> list[float]:
    """Lengths of the bars in the plot's own units, read off the paths."""
    bars = re.findall(rf'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+)[^"]*"[^>]*{color}\)', svg)
    return [float(end) - float(start) for start, end in bars]


def test_bars_are_as_long_as_the_statistics_say():
    results = [ConfigurationResult(ROWS, rounds=rounds(median)) for median in (1.0, 2.0)]

    short, long = bar_lengths(plots.time_bars(results).svg)

    assert long == pytest.approx(2 * short)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(0.2, 3.0, {"200 ms", "500 ms", "1 s", "2 s"}), (2.1, 4.2, {"2.1 s", "4.2 s"})],
)
def test_the_axis_of_times_always_has_labels(low, high, labels):
    fit = statistics.Fit(1.0, 1e-6, ((1.0, low), (2.0, high)))

    drawn = plots.scaling([("a", fit)], "images", {1.0: "one", 2.0: "two"})

    assert set(re.findall(r">([\d.]+ m?s)</text>", drawn)) == labels


def test_lines_keep_apart_by_color_and_marker():
    fit = statistics.Fit(1.0, 1e-6, ((1e5, 0.1), (1e6, 1.0)))

    drawn = plots.scaling([(str(i), fit) for i in range(9)], "pixels", {1e5: "a", 1e6: "b"})

    assert all(f"var(--line-{index})" in drawn for index in range(plots.LINES))
    assert len(plots.MARKERS) == plots.LINES
