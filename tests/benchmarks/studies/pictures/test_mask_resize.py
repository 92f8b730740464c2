import json
from pathlib import Path

import pytest
from studies.pictures import mask_resize

STORED = json.loads(
    (Path(mask_resize.__file__).parents[2] / "results/mask_resize.json").read_text()
)
BILINEAR, PILLOW, OURS, CARD = mask_resize.METHODS


def test_errors_are_of_the_whole_mask_and_of_each_kind_of_edge(monkeypatch):
    monkeypatch.setattr(mask_resize, "LARGE", (240, 320))
    monkeypatch.setattr(mask_resize, "NETWORK", (80, 80))
    monkeypatch.setattr(mask_resize, "SEEDS", range(1))

    errors = mask_resize.errors()

    assert errors[CARD]["from_card"] == 0
    assert errors[OURS]["from_card"] <= 2 < errors[BILINEAR]["from_card"]
    assert errors[OURS]["hair_edge_mae"] < errors[BILINEAR]["hair_edge_mae"]
    assert errors[OURS]["mae"] == pytest.approx(errors[PILLOW]["mae"], rel=0.02)


def test_the_stored_figures_say_what_the_code_says_of_them():
    methods = STORED["methods"]

    assert list(methods) == list(mask_resize.METHODS)
    assert methods[OURS]["from_card"] <= 2
    assert methods[PILLOW]["from_card"] == 15  # postprocess.resize_mask names it
    assert methods[OURS]["median_s"] < methods[PILLOW]["median_s"] / 3
    assert mask_resize.markdown_table(STORED).count("\n") == 7
