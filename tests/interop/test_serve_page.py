"""The page of `birefnet serve` in a real browser, under the policy that it is served with."""

import importlib.util
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from . import stub_server
from .screens import SCREENS, WIDTHS

pytestmark = pytest.mark.interop

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
EVIL = "<img src=x onerror=alert(1)>.png"
DONE = "document.querySelectorAll('[data-state=done]').length"


@pytest.fixture(scope="module")
def running():
    with stub_server.serving() as server:
        yield server


@pytest.fixture
def server(running):
    running.forget()
    yield running
    running.go_on.set()


@pytest.fixture
def files(tmp_path):
    """Picture files by name, each of a color of its own."""

    def make(*names):
        paths = []
        for place, name in enumerate(names):
            image = Image.new("RGB", (90, 60), (200, 40 * (place % 6), 60))
            image.save(tmp_path / name, format="PNG")
            paths.append(tmp_path / name)
        return paths

    return make


@pytest.fixture
def page(tab, server):
    """Open the page, once it knows the server."""

    def load(width=1200, scheme="light", **info):
        server.info |= info
        tab.open(server.url, width=width, phone=width < 600, scheme=scheme, still=True)
        tab.wait_for("document.querySelector('#info').textContent")
        return tab

    return load


def states(tab):
    return tab.value("[...document.querySelectorAll('.state')].map(e => e.textContent)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_it_is_quiet_and_fits_empty_and_full(page, server, files, device, scheme):
    width = WIDTHS[device]
    tab = page(width, scheme)
    assert tab.value("document.documentElement.scrollWidth") <= width
    tab.screenshot(SCREENS / f"serve-{device}-{scheme}-empty.png")

    tab.choose_files("#files", files("one.png", "a-name-without-an-end-" * 6 + ".png", "three.png"))
    tab.wait_for(f"{DONE} === 3")

    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    paths = {url.removeprefix(server.url) for url in tab.requests}
    assert paths == {"", "v1/info", "v1.0/removebg"}
    shot = SCREENS / f"serve-{device}-{scheme}.png"
    tab.screenshot(shot)
    pixels = np.asarray(Image.open(shot).convert("L"))
    paper = np.bincount(pixels.ravel()).argmax()
    assert paper > 240 if scheme == "light" else paper < 45


def test_everything_has_a_name_and_its_place(page, files):
    tab = page()
    tab.choose_files("#files", files("one.png", "two.png"))
    tab.wait_for(f"{DONE} === 2")

    met = tab.names()
    for role in ("button", "slider", "radio", "image", "ColorWell", "heading", "list"):
        names = [name for kind, name in met if kind == role]
        assert names, role
        assert all(names), (role, names)
    assert ("slider", "Before and after: one.png") in met
    assert ("image", "two.png, cut out") in met
    assert ("status", "") in met

    order = []
    tab.value("document.activeElement.blur()")
    for _ in range(8):
        tab.press("Tab")
        order.append(
            tab.value(
                "(({id, classList, name}) => id || classList[0] || name)(document.activeElement)"
            )
        )
    assert order == ["files", "background", "color", "clear", "all", "slider", "main", "remove"]
    outlined = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.value(outlined) == "solid"


def test_the_slider_moves_by_keyboard(page, files):
    tab = page()
    tab.choose_files("#files", files("one.png"))
    tab.wait_for(f"{DONE} === 1")
    tab.value("document.querySelector('.slider').focus()")

    tab.press("ArrowLeft", times=20)

    slider = "document.querySelector('.slider')"
    assert tab.value(f"{slider}.getAttribute('aria-valuetext')") == "30 % before, 70 % after"
    clip = tab.value("getComputedStyle(document.querySelector('.before')).clipPath")
    assert "70%" in clip


def test_what_cannot_be_cut_out_says_so_as_text(page, files):
    tab = page()
    tab.choose_files("#files", files(EVIL, "good.png"))
    tab.wait_for(f"{DONE} === 1 && document.querySelector('[data-state=failed]')")

    assert states(tab)[0] == f"{EVIL} is not a picture"
    assert tab.value("document.querySelector('.name').textContent") == EVIL
    assert tab.value("document.querySelectorAll('img[src=x]').length") == 0
    again = "getComputedStyle(document.querySelector('.again')).display"
    assert tab.value(again) == "none", "it would be no picture the next time, too"
    assert tab.named("Page.javascriptDialogOpening") == []


def test_two_at_a_time_and_one_can_be_taken_out(page, server, files):
    tab = page()
    tab.choose_files("#files", files(*(f"slow-{number}.png" for number in range(4))))
    tab.wait_for("document.querySelectorAll('[data-state=running]').length === 2")
    assert states(tab)[2:] == ["Waiting", "Waiting"]

    tab.value("document.querySelectorAll('.remove')[0].click()")
    tab.wait_for("document.querySelectorAll('.picture').length === 3")
    tab.wait_for("document.querySelectorAll('[data-state=running]').length === 2")
    tab.value("document.querySelectorAll('.remove')[2].click()")
    server.go_on.set()

    tab.wait_for(f"{DONE} === 2")
    assert "slow-3.png" not in server.asked
    focused = tab.value(
        "document.activeElement.closest('.picture').querySelector('h2').textContent"
    )
    assert focused == "slow-2.png"


def test_a_busy_server_is_asked_again_when_it_said(page, server, files):
    tab = page()
    tab.choose_files("#files", files("busy.png", "other.png"))
    tab.wait_for("document.querySelector('[data-state=retrying]')")
    assert states(tab)[0] == "The server is busy; again in 1 s"

    tab.wait_for(f"{DONE} === 2")
    assert server.asked.count("busy.png") == 2


def test_a_key_is_asked_for_and_kept_nowhere(page, server, files):
    tab = page(needs_key=True)
    tab.choose_files("#files", files("one.png"))
    assert states(tab) == ["Waiting for the key, above"]
    give = (
        "document.querySelector('#key').value = {!r};"
        "document.querySelector('#key-form').requestSubmit()"
    )

    tab.value(give.format("wrong"))
    tab.wait_for("document.querySelector('[data-state=failed]')")
    assert states(tab) == ["the key is wrong"]
    assert tab.value("document.activeElement.id") == "key"

    tab.value(give.format("secret"))
    tab.wait_for(f"{DONE} === 1")
    assert tab.value("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_a_file_that_is_too_large_is_not_sent(page, server, files):
    tab = page(max_upload_bytes=100)
    tab.choose_files("#files", files("large.png"))
    tab.wait_for("document.querySelector('[data-state=failed]')")

    assert "this server takes up to" in states(tab)[0]
    assert server.asked == []


def test_what_the_browser_cannot_show_has_a_placeholder(page, server, tmp_path, monkeypatch):
    whole = io.BytesIO()
    Image.new("RGBA", (40, 30)).save(whole, "PNG")
    monkeypatch.setattr(stub_server, "cutout", lambda picture: whole.getvalue())
    (tmp_path / "photo.heic").write_bytes(b"ftypheic")
    tab = page()
    tab.choose_files("#files", [tmp_path / "photo.heic"])
    tab.wait_for(f"{DONE} === 1")

    assert tab.value("document.querySelector('.before').hidden")
    assert "can’t show" in tab.value("document.querySelector('.unseen').textContent")
    assert states(tab)[0].startswith("40 × 30 pixels")


def test_one_is_downloaded_as_it_came_or_on_a_color(page, server, files, downloaded):
    tab = page()
    (file,) = files("one.png")
    tab.choose_files("#files", [file])
    tab.wait_for(f"{DONE} === 1")
    tab.value("document.querySelector('.download').click()")
    assert downloaded() == ("one.png", stub_server.cutout(file.read_bytes()))

    tab.value("document.querySelector('[value=\"#ffffff\"]').click()")
    shown = "getComputedStyle(document.querySelector('.backdrop')).backgroundColor"
    assert tab.value(shown) == "rgb(255, 255, 255)"
    tab.value("document.querySelector('.download').click()")

    _, content = downloaded()
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (90, 60)
        pixels = np.asarray(image.convert("RGBA"))
    assert tuple(pixels[0, 0]) == (255, 255, 255, 255)
    assert tuple(pixels[30, 45]) == (200, 0, 60, 255)
    assert server.asked == ["one.png"], "another request for a color"


def test_all_are_downloaded_as_a_zip(page, files, tmp_path, downloaded):
    tab = page()
    pictures = files("one.png", "zwei-ü.png")
    again = tmp_path / "again"
    again.mkdir()
    (again / "one.png").write_bytes(pictures[0].read_bytes())
    tab.choose_files("#files", [*pictures, again / "one.png"])
    tab.wait_for(f"{DONE} === 3")

    tab.value("document.querySelector('#all').click()")

    name, content = downloaded()
    assert name == "cutouts.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["one.png", "zwei-ü.png", "one (2).png"]
        assert archive.read("one.png") == stub_server.cutout(pictures[0].read_bytes())


def test_dropped_and_pasted_files_are_taken(page, files):
    tab = page()
    tab.value(
        """(() => {
        const canvas = Object.assign(document.createElement('canvas'), {width: 8, height: 8});
        const bytes = Uint8Array.from(atob(canvas.toDataURL().split(',')[1]), c => c.charCodeAt(0));
        for (const [kind, field] of [['drop', 'dataTransfer'], ['paste', 'clipboardData']]) {
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], `${kind}.png`, {type: 'image/png'}));
          const Kind = kind === 'drop' ? DragEvent : ClipboardEvent;
          const about = {[field]: transfer, bubbles: true, cancelable: true};
          document.body.dispatchEvent(new Kind(kind, about));
        }
        })()"""
    )
    tab.wait_for(f"{DONE} === 2")

    names = tab.value("[...document.querySelectorAll('.name')].map(e => e.textContent)")
    assert names == ["drop.png", "paste.png"]


def test_removed_pictures_leave_no_address_behind(page, files):
    tab = page()
    tab.choose_files("#files", files("one.png", "two.png"))
    tab.wait_for(f"{DONE} === 2")
    tab.value("window.urls = pictures.flatMap(({urls}) => urls); 0")
    alive = """Promise.all(urls.map(src => new Promise(resolve => Object.assign(
        new Image(), {src, onload: () => resolve(true), onerror: () => resolve(false)}))))"""
    assert tab.value(alive) == [True] * 4

    tab.value("document.querySelector('#clear').click()")

    assert tab.value(alive) == [False] * 4
    assert tab.value("document.activeElement.id") == "files"
    assert tab.value("document.querySelector('#bar').hidden")


def test_the_policy_holds(page):
    """Else the quiet of the tests above would say little."""
    tab = page()
    tab.value("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">')")

    assert "Content Security Policy" in str(tab.complaints)


@pytest.fixture(scope="module")
def address():
    """Of `birefnet serve`, running."""
    if not all(map(importlib.util.find_spec, ("birefnet_apps.cli.serve", "starlette"))):
        pytest.skip("`birefnet serve` is not installed here")
    start = "from birefnet_apps.cli.main import main; main()"
    command = [sys.executable, "-c", start, *("serve", "--model", "nano", "--port", "0")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        listening = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert listening, line
        yield f"{listening[0]}/"
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("device", WIDTHS)
def test_the_real_server_shows_it_and_cuts_out(tab, address, device, tmp_path, downloaded):
    from birefnet_runtime import Segmenter

    photo = PHOTOS / "flower.jpg"
    tab.open(address, width=WIDTHS[device], phone=device == "phone", scheme="light", still=True)
    tab.wait_for("document.querySelector('#info').textContent")
    assert tab.value("document.querySelector('#info').textContent") == "nano · cpu · 192 × 192"

    tab.choose_files("#files", [photo])
    tab.wait_for(f"{DONE} === 1")

    assert tab.complaints == []
    paths = {url.removeprefix(address) for url in tab.requests}
    assert paths == {"", "v1/info", "v1.0/removebg"}
    tab.screenshot(SCREENS / f"serve-real-{device}.png")
    tab.value("document.querySelector('.download').click()")
    name, content = downloaded()
    with Image.open(io.BytesIO(content)) as cutout:
        alpha = np.asarray(cutout)[..., 3]
    assert name == "flower.png"
    assert abs(alpha - 255 * Segmenter("nano")(photo)).max() <= 1

    (tmp_path / "broken.png").write_bytes(b"no picture")
    tab.choose_files("#files", [tmp_path / "broken.png"])
    tab.wait_for("document.querySelector('[data-state=failed]')")
    assert states(tab)[1]
