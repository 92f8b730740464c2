import numpy as np
import pytest
from studies.platforms.arm64 import PHOTOGRAPHS, compare, difference, markdown_table
from studies.platforms.arm64_machine import ROOT, Machine


def masks(offset=0):
    return {
        (model, photograph.name): np.full((2, 2), 100 + offset, np.uint8)
        for model in ("rows", "int8")
        for photograph in PHOTOGRAPHS
    }


def test_a_difference_is_taken_without_wrapping_around():
    row = difference("cpu", "m", "p.jpg", np.uint8([[0, 255]]), np.uint8([[255, 255]]))

    assert (row["largest"], row["mean"]) == (255, 127.5)


@pytest.mark.parametrize(("arithmetic", "required"), [("", {"rows"}), ("bf16", set())])
def test_float32_alone_is_held_to_a_level(arithmetic, required):
    rows = compare("cortex", arithmetic, {"masks": masks()}, {"masks": masks(2)})

    assert {row["largest"] for row in rows} == {2}
    assert {row["what"] for row in rows if row["required"]} == required


def test_the_table_has_a_row_a_model_and_a_column_a_processor():
    rows = compare("one", "", {"masks": masks()}, {"masks": masks(1)})
    rows += compare("two", "bf16", {"masks": masks()}, {"masks": masks(3)})
    arm = {"packages": {"onnxruntime": "1.32.0"}, "python": "3.13.5"}

    table = markdown_table({"rows": rows, "arm64": arm, "emulated": "QEMU 10"})

    assert "| masks | one | two |" in table
    assert "| rows | 1 (1.0000) |  |" in table
    assert "| rows bf16 |  | 3 (3.0000) |" in table


def test_arms_python_sees_nothing_of_this_environment(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    machine = Machine(ROOT / ".arm64")

    assert "PYTHONHOME" not in machine.environment()
    assert machine.command("max", "a.py")[-3:-2] == ["max"]
