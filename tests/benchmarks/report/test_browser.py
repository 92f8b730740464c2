"""The page in a real browser: nothing complains, nothing is fetched, nothing sticks out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from birefnet_benchmarks.bench.results import ColdStart, ConfigurationResult
from birefnet_benchmarks.report.html import page
from PIL import Image
from studies.platforms import browser

from .sample import INT8, close, preview, rounds

pytestmark = pytest.mark.interop

SCREENS = Path(__file__).parents[3] / "out" / "screens"
"""Where the screenshots stay, to be looked at."""
WIDTHS = {"desktop": 1200, "phone": 375}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    found = browser.find()
    if found is None:
        pytest.skip(f"no Chromium on the path: none of {', '.join(browser.NAMES)}")
    with browser.tab(found, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def file(run, report) -> Path:
    path = run / "report.html"
    path.write_text(page(report, run), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_the_page_is_quiet_and_fits(tab, file, device, scheme):
    tab.open(file.as_uri(), width=WIDTHS[device], phone=device == "phone", scheme=scheme)

    assert tab.complaints == []
    assert tab.requests == [file.as_uri()]
    assert tab.value("document.documentElement.scrollWidth") <= WIDTHS[device]
    assert tab.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert tab.value("document.querySelectorAll('svg.plot').length") == 12

    shot = SCREENS / f"report-{device}-{scheme}.png"
    tab.screenshot(shot)
    pixels = np.asarray(Image.open(shot).convert("L"))
    paper = np.bincount(pixels.ravel()).argmax()
    assert paper > 240 if scheme == "light" else paper < 40
    assert len(np.unique(pixels)) > 100


def test_no_table_runs_out_of_the_page_at_1200_pixels(tab, run, report):
    """With every column that a table can have, and long names."""
    wide = dataclasses.replace(
        INT8, variant="model_with_a_long_name, gridsample", provider="cuda:1"
    )
    full = ConfigurationResult(
        wide,
        ColdStart(0.25, 0.6, 2.2),
        rounds(18.0, 18.5, 19.0, other_cores=1.5, energy=350.0),
        12_700_000_000,
        13_400_000_000,
        graph=close(0.02, "mask: 2.0e-02 off, and 1.0e-02 are allowed"),
        previews=(preview("int8", 60, "60 levels off, and 8 are allowed"),),
    )
    file = run / "report.html"
    widened = dataclasses.replace(report, results=(*report.results[:4], full))
    file.write_text(page(widened, run), encoding="utf-8")

    tab.open(file.as_uri(), width=1200, phone=False, scheme="light")

    assert tab.value("document.documentElement.scrollWidth") <= 1200
    too_wide = tab.value(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => `${e.ariaLabel}: ${e.scrollWidth} > ${e.clientWidth}`)"
    )
    assert too_wide == []
    heads = tab.value("[...document.querySelectorAll('thead th')].map(e => e.innerText)")
    assert {"other load, cores", "ratio by round", "device memory", "energy per image"} <= {*heads}


def test_a_page_that_fetches_and_complains_is_noticed(tab, tmp_path):
    """Else the test above could not fail."""
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="beside.png"><script>console.warn("no"); throw 1</script>')

    tab.open(bad.as_uri(), width=400, phone=False, scheme="light")

    assert (tmp_path / "beside.png").as_uri() in tab.requests
    assert len(tab.complaints) >= 3


def test_the_pages_own_policy_lets_nothing_in(tab, file):
    """What the page promises in its head, the browser holds it to."""
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("</main>", '<img src="beside.png"></main>'), encoding="utf-8")

    tab.open(file.as_uri(), width=400, phone=False, scheme="light")

    assert any("Content Security Policy" in str(each) for each in tab.complaints)
