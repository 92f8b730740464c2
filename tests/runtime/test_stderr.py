"""What is said on stderr while something takes long."""

import time

from birefnet_runtime import stderr
from birefnet_runtime.stderr import ticking


def test_progress_goes_on_while_it_runs(monkeypatch):
    said = []
    monkeypatch.setattr(stderr, "write_line", said.append)

    with ticking("building", "this takes minutes, once", every_s=0.01):
        while len(said) < 3:
            time.sleep(0.005)

    assert said[0] == "birefnet: building; this takes minutes, once"
    assert all(line.startswith("birefnet: building: ") for line in said[1:])
    assert ": took " in said[-1]


def test_what_is_soon_done_says_nothing(monkeypatch):
    said = []
    monkeypatch.setattr(stderr, "write_line", said.append)

    with ticking("comparing"):
        pass

    assert said == []
