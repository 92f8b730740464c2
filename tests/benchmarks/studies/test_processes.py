"""Rows in processes of their own, those that fail among them."""

import os

import birefnet_models
import pytest
from birefnet_runtime.machine import peak_rss_bytes
from studies import processes
from studies.graphs.graph_row import GraphRow
from studies.graphs.lowerings import markdown_table

NANO = str(birefnet_models.embedded_path(birefnet_models.all_cards()[0]))


def test_a_configuration_reports_times_and_its_own_peak():
    measured = processes.run_graph(GraphRow(NANO, (64, 96), batch=2, runs=2))

    assert measured["row"]["size"] == [64, 96]
    assert len(measured["times_s"]) == 2
    assert 0 < min(measured["times_s"]) <= measured["first_s"] * 10
    assert 50e6 < measured["peak_rss_bytes"] < 1e9
    assert sum(measured["operators"]["CPUExecutionProvider"].values()) > 100


def test_two_graphs_take_turns():
    measured = processes.run_graph(GraphRow(NANO, (64, 64), runs=2, rival=NANO))

    assert len(measured["paired_s"]) == len(measured["rival_s"]) == 2


def test_a_configuration_that_crashes_is_a_result():
    measured = processes.run_graph(GraphRow("nowhere.onnx", (64, 64)))

    assert "exit code 1" in measured["error"]
    assert "nowhere.onnx" in measured["error"]
    assert measured["row"]["file"] == "nowhere.onnx"


def test_a_configuration_that_takes_too_long_is_a_result():
    measured = processes.run_graph(GraphRow(NANO, (64, 64)), timeout_s=0.01)

    assert measured["error"] == "took longer than 0 s"


def test_a_command_reports_what_it_took_and_how_it_ended():
    done = processes.run_command("models")
    failed = processes.run_command("cutout", "nowhere.jpg", "-o", "nowhere.png")

    assert done.exit_code == 0
    ours = peak_rss_bytes()  # where Linux begins to count for a process that we start
    assert 20e6 < done.peak_rss_bytes < max(1e9, 1.1 * ours)
    assert done.took_s > 0
    assert failed.exit_code != 0
    assert "nowhere.jpg" in failed.said or "0 cutouts" in failed.said


def test_a_command_beyond_its_limit_is_killed():
    if not processes.can_limit():
        pytest.skip(f"{processes.MEMORY_GROUPS} can't be written to by user {os.getuid()}")
    done = processes.run_command("models", limit_bytes=12_000_000)

    assert done.exit_code == -9


def test_the_table_of_lowerings_shows_failures_too():
    facts = {"backbone": "swin_v1_t", "size": 1024, "opset": 23, "nodes": 1638}
    stored = {
        "environment": {"processor": "CPU", "cores": 2, "packages": {"onnxruntime": "1.31.1"}},
        "records": [
            {
                **facts,
                "lowering": "rows",
                "load_s": 0.5,
                "times_s": [2.0, 4.0],
                "peak_rss_bytes": 762_000_000,
            },
            {**facts, "lowering": "native", "error": "exit code -9: killed"},
        ],
    }

    table = markdown_table(stored)

    assert "| swin_v1_t | 1024x1024 | rows | 23 | 1,638 | 500 ms | 3 s | 762 MB |" in table
    assert "| swin_v1_t | 1024x1024 | native | 23 | 1,638 |  | exit code -9: killed |  |" in table
