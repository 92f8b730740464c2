"""One browser for all tests of pages."""

import time

import pytest
from studies.platforms import browser


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    """An open tab; its page and its width are the last test's."""
    found = browser.find()
    if found is None:
        pytest.skip(f"no Chromium on the path: none of {', '.join(browser.NAMES)}")
    with browser.tab(found, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def downloaded(tab, tmp_path):
    """Wait for the next file that the page downloads: its name and content."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    tab.keep_downloads(folder)

    def wait():
        for _ in range(600):
            done = [path for path in folder.iterdir() if path.suffix in (".png", ".zip")]
            if done:
                name, content = done[0].name, done[0].read_bytes()
                done[0].unlink()
                return name, content
            time.sleep(0.05)
        raise TimeoutError(sorted(folder.iterdir()))

    return wait
