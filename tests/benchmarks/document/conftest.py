"""A run as it might have been, read and on the disk."""

from pathlib import Path

import pytest
from birefnet_benchmarks.record import Report, write_report

from .sample import draw, make_report


@pytest.fixture
def report() -> Report:
    return make_report()


@pytest.fixture
def run(tmp_path, report) -> Path:
    """A run's folder, with its pictures."""
    draw(tmp_path / "run" / "pictures")
    write_report(tmp_path / "run", report)
    return tmp_path / "run"
