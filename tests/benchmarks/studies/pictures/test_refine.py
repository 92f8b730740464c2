import json
from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime import Segmenter
from birefnet_runtime.cutout.refine import LEAST_AGREEMENT, MOST_WINDOW_SHARE, WINDOW_MARGIN
from studies.pictures import refine

STORED = json.loads((Path(refine.__file__).parents[2] / "results/refine.json").read_text())


def test_a_perfect_network_gains_at_small_subjects_and_nothing_at_large_ones(monkeypatch):
    monkeypatch.setattr(refine, "PATCH", (192, 256))
    perfect = Segmenter.from_session(refine.PerfectSession(64), refine=True)
    size = (240, 320)
    small, large = (refine.make_case("photograph", share, 0, size=size) for share in (0.05, 0.4))
    assert small[0].shape == (*size, 3)
    box = np.argwhere(small[1] > 0.1)
    height, width = box.max(axis=0) - box.min(axis=0) + 1
    assert height * width / small[1].size == pytest.approx(0.05, rel=0.1)

    found = [refine.compare(perfect, [refine.as_gray(each)]) for each in (small, large)]

    assert [each["looked_twice"] for each in found] == [1, 0]
    assert found[0]["two_mae_levels"] < found[0]["one_mae_levels"] / 1.3
    assert found[0]["two_boundary_iou"] > found[0]["one_boundary_iou"]
    assert found[1]["two_mae_levels"] == found[1]["one_mae_levels"]


def test_the_stored_figures_say_what_the_code_says_of_them():
    assert STORED["settings"] == {
        "margin": WINDOW_MARGIN, "largest": MOST_WINDOW_SHARE, "agreement": LEAST_AGREEMENT
    }  # fmt: skip
    nano = STORED["nano"]
    for by_share in (nano["fur"], nano["photograph"], STORED["perfect"]):
        for share in ("0.05", "0.1"):
            assert by_share[share]["two_mae_levels"] < by_share[share]["one_mae_levels"]
            assert by_share[share]["two_boundary_iou"] > by_share[share]["one_boundary_iou"]
    margins = {name: each["two_mae_levels"] for name, each in STORED["margins"].items()}
    assert min(margins, key=margins.__getitem__) == f"{WINDOW_MARGIN:g}"
    assert margins["0.2"] > STORED["margins"]["0.2"]["one_mae_levels"]  # docs/howto/cut-out.md
    for by_share in (*nano.values(), STORED["perfect"]):
        largest = by_share["0.4"]
        assert largest["looked_twice"] == 0
        assert largest["two_mae_levels"] == largest["one_mae_levels"]
        assert max(by_share["0.1"]["windows"]) <= MOST_WINDOW_SHARE
    assert refine.markdown_table(STORED).count("\n") == 2 + len(refine.SHARES) + 1
