import json
from pathlib import Path

import pytest
from studies.graphs import end_to_end

RESULTS = Path(end_to_end.__file__).parents[2] / "results/end_to_end.json"
PRODUCTS, RESIZE = end_to_end.RESIZES


def test_masks_are_compared_with_the_runtimes():
    products, resize = end_to_end.differences((64,), ((90, 70), (30, 20)))

    assert (products["resize"], resize["resize"]) == (PRODUCTS, RESIZE)
    assert products["max"] <= 1
    assert resize["mean"] > products["mean"]


@pytest.mark.parametrize("name", end_to_end.RESIZES)
def test_cost_is_of_both_ends(name):
    cost = end_to_end.cost(name, (60, 80), network=64)

    assert cost["cpu_s"] > 0
    assert cost["grown_bytes"] >= 0


def test_the_stored_figures_say_what_the_code_says_of_them():
    stored = json.loads(RESULTS.read_text())
    off = {(d["resize"], d["network"]): d for d in stored["differences"]}

    for network in end_to_end.NETWORKS:
        assert off[PRODUCTS, network]["max"] <= 2
        assert off[PRODUCTS, network]["mean"] <= 0.1
    assert max(off[RESIZE, network]["max"] for network in end_to_end.NETWORKS) > 2
    assert end_to_end.markdown_table(stored).count("\n") == 5
