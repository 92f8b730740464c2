import json
from pathlib import Path

import numpy as np
from birefnet_runtime import Clean
from studies.pictures.clean import case, markdown_table, spoiled
from studies.pictures.composites import make_composite

RESULTS = Path(__file__).parents[4] / "benchmarks" / "results" / "clean.json"


def test_a_drawn_subject_is_spoiled_and_cleaned():
    alpha = make_composite("fur", 1, (480, 640)).alpha

    dirty, specks, holes = spoiled(alpha, 1)
    row = case(alpha, dirty, specks, holes, Clean())

    assert (row["specks"], row["holes"]) == (len(specks), len(holes))
    assert min(row["specks"], row["holes"]) >= 6
    assert all(dirty[spot].max() > alpha[spot].max() + 0.3 for spot in specks)
    assert all(dirty[spot].min() < alpha[spot].min() - 0.3 for spot in holes)
    assert row["before_mae"] > 1
    assert row["clean_mae"] < 0.01
    assert case(alpha, dirty, specks, holes, Clean(0.0))["specks_gone"] == 0
    assert np.array_equal(spoiled(alpha, 1)[0], dirty), "from a seed"


def test_hair_glass_and_veils_stayed_where_it_was_measured():
    stored = json.loads(RESULTS.read_text())
    kinds = stored["ways"][0]["kinds"]

    assert set(kinds) >= {"hair", "fur", "soft", "broken hair", "glass", "veil"}
    for kind, row in kinds.items():
        assert row["clean_edge_mae"] < 0.01, kind
        assert row["specks_gone"] >= 0.85 * row["specks"] > 0, kind
        assert row["holes_gone"] >= 0.95 * row["holes"] > 0, kind
    assert markdown_table(stored).count("\n") == len(kinds) + 3
