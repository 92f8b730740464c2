"""Memory that is left: the machine's, or the container's."""

import os
from types import SimpleNamespace

import psutil
import pytest
from birefnet_benchmarks.bench.measure import memory


@pytest.fixture
def machine(monkeypatch):
    """A machine of 1000 bytes of which 600 are free; processes take 100 each."""
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(total=1000, available=600)
    )
    monkeypatch.setattr(memory, "process_rss_bytes", lambda pid: 100)


@pytest.mark.parametrize(
    ("limit", "left", "total"),
    [
        (None, 600, 1000),
        (1000, 600, 1000),
        (5000, 600, 1000),
        (300, 200, 300),  # this process has taken 100 of them
        (900, 600, 900),  # more than the machine has left
        (50, 0, 50),
    ],
)
def test_a_container_has_what_it_may_take_and_no_more(monkeypatch, machine, limit, left, total):
    monkeypatch.setattr(memory, "memory_limit_bytes", lambda: limit)
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [])

    assert memory.memory_left_bytes() == (left, total)


def test_what_children_take_counts(monkeypatch, machine):
    monkeypatch.setattr(memory, "memory_limit_bytes", lambda: 500)
    children = [SimpleNamespace(pid=2), SimpleNamespace(pid=3)]
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: children)

    assert memory.memory_left_bytes() == (200, 500)


def test_a_process_that_has_ended_takes_none():
    assert memory.process_rss_bytes(os.getpid()) > 10_000_000
    assert memory.process_rss_bytes(2**22 + 12345) is None
