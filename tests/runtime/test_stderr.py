"""What is logged while something takes long."""

import logging
import time

import pytest
from birefnet_runtime.stderr import ticking


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "birefnet")
    return lambda: caplog.messages


def test_progress_goes_on_while_it_runs(logged, capfd):
    with ticking("building", "this takes minutes, once", every_s=0.01):
        while len(logged()) < 3:
            time.sleep(0.005)

    assert logged()[0] == "building; this takes minutes, once"
    assert all(line.startswith("building: ") for line in logged()[1:])
    assert ": took " in logged()[-1]
    assert capfd.readouterr() == ("", "")


def test_what_is_soon_done_says_nothing(logged):
    with ticking("comparing"):
        pass

    assert logged() == []
