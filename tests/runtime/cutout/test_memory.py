"""The estimates are held against measured peaks in `benchmarks/studies/runs/memory_limits.py`."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime import Blur, Canvas, Clean, Encoding, ImageError, Style
from birefnet_runtime.cutout.memory import SLACK_BYTES, check_fits, peak_bytes
from birefnet_runtime.images.write import JPEG, PNG, WEBP
from PIL import Image

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "memory_limits.json"


def opened(mode: str = "RGB", size: tuple[int, int] = (4000, 3000)) -> Image.Image:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return Image.open(stream)


def per_pixel(mode: str = "RGB", style: Style | None = None, form=PNG) -> float:
    return peak_bytes(opened(mode), style or Style(), Encoding(form)) / 12e6


def test_a_photograph_takes_some_bytes_a_pixel():
    """Its pixels 3, alpha 4, the cutout 4, and a little to write it."""
    assert 11 <= per_pixel() <= 14


@pytest.mark.parametrize(
    ("mode", "style", "form"),
    [
        ("RGBA", Style(), PNG),
        ("RGB", Style(depth=16), PNG),
        ("RGB", Style(shadow="drop"), PNG),
        ("RGB", Style(foreground="pymatting"), PNG),
        ("RGB", Style(background=Blur()), JPEG),
        ("RGB", Style(), WEBP),
    ],
)
def test_what_costs_more_counts_more(mode, style, form):
    assert per_pixel(mode, style, form) > per_pixel() + 3


def test_a_canvas_counts_its_pixels_however_the_picture_is_turned():
    plain, cleaned = per_pixel(), per_pixel(style=Style(clean=Clean()))
    small, large = (per_pixel(style=Style(layout=Canvas((s, s)))) for s in (500, 8000))
    upright = peak_bytes(opened(size=(3000, 4000)), Style(layout=Canvas(2.0)), Encoding(PNG))

    assert plain + 8 < cleaned < plain + 16
    assert plain < small < plain + 24 < large
    assert large > 5 * 8, "five times the picture's pixels, a cutout and scaled colors of each"
    assert upright == 12e6 * per_pixel(style=Style(layout=Canvas(2.0)))


def test_a_mask_counts_less():
    assert per_pixel(style=Style(mask=True)) < per_pixel()


def test_what_does_not_fit_is_refused_with_the_numbers():
    image = opened()

    check_fits("a.png", (image.height, image.width), 200e6 - SLACK_BYTES, 200e6)
    with pytest.raises(ImageError) as caught:
        check_fits("a.png", (image.height, image.width), 200e6 - SLACK_BYTES, 150e6)
    assert str(caught.value).startswith(
        "a.png: 4000 x 3000 pixels take up to 200 MB, and beside the model the memory limit leaves "
        "150 MB; "
    )


def test_estimates_lie_above_what_was_measured():
    rows = json.loads(RESULTS.read_text())["pictures"]

    assert len(rows) >= 20
    for row in rows:
        assert row["taken_bytes"] <= row["estimate_bytes"], row


def test_limits_held_where_they_were_measured():
    rows = json.loads(RESULTS.read_text())["limits"]

    assert {row["model"] for row in rows} == {"lite", "nano"}
    assert {row["input"].split()[0] for row in rows} >= {"12", "50", "100"}
    for row in rows:
        assert row["peak_rss_bytes"] <= row["limit_bytes"], row
        done = row["exit_code"] == 0
        assert done or any("the memory limit leaves" in line for line in row["said"]), row


PROGRAM = """
import sys
from birefnet_apps.cli.main import main
from birefnet_runtime.machine import peak_rss_bytes
try:
    main()
except SystemExit as end:
    print(peak_rss_bytes(), end.code, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of a process are read on Linux")
@pytest.mark.parametrize(("megapixels", "code"), [(6, 0), (60, 1)])
def test_a_limit_holds_with_model_and_picture(tmp_path, megapixels, code):
    pixels = np.random.default_rng(1).integers(0, 256, (1000, 1000 * megapixels, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png", compress_level=0)
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, "cutout", tmp_path / "in.png"]

    done = subprocess.run(
        [*command, "-o", tmp_path / "out.png", "-m", "nano", "--max-memory", "400MB"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    *lines, measured = done.stderr.splitlines()
    peak, exit_code = map(int, measured.split())
    assert exit_code == code
    assert peak < 400e6
    if code:
        assert "60000 x 1000 pixels take up to " in lines[-2]
        assert "the memory limit leaves " in lines[-2]
