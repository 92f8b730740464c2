"""Make docs/pictures/serve.jpg: the page of `birefnet serve`, on a desk and on a phone.

.venv/bin/python docs/pictures/serve_picture.py, with Chromium on the path
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from studies.platforms import browser

ROOT = Path(__file__).parents[2]
HEIGHT = 760
GAP = 24
SERVE = "from birefnet_apps.cli.main import main; main()"


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server with the embedded model."""
    command = [sys.executable, "-c", SERVE, "serve", "--model", "nano", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        listening = re.search(r"http://\S+", process.stderr.readline())
        try:
            assert listening, process.stderr.read()
            yield listening[0]
        finally:
            process.terminate()
            process.stderr.read()


def shot(tab: browser.Tab, url: str, file: Path, *, width: int, scheme: str) -> Image.Image:
    """The page after the photograph is cut out, HEIGHT pixels high."""
    tab.open(url, width=width, phone=width < 600, scheme=scheme, still=True)
    tab.choose_files("#files", [ROOT / "examples/photos/flower.jpg"])
    tab.wait_for("document.querySelector('[data-state=done]')")
    tab.screenshot(file)
    image = Image.open(file).convert("RGB")
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.LANCZOS)


def main() -> None:
    found = browser.find()
    if found is None:
        raise SystemExit(f"no Chromium on the path: none of {', '.join(browser.NAMES)}")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving() as url,
        browser.tab(found, Path(folder) / "profile") as tab,
    ):
        desk = shot(tab, url, Path(folder) / "desk.png", width=1200, scheme="light")
        phone = shot(tab, url, Path(folder) / "phone.png", width=360, scheme="dark")
    picture = Image.new("RGB", (desk.width + GAP + phone.width, HEIGHT), "white")
    picture.paste(desk, (0, 0))
    picture.paste(phone, (desk.width + GAP, 0))
    picture.save(ROOT / "docs/pictures/serve.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    main()
