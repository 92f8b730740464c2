import json
from pathlib import Path

import numpy as np
from birefnet_apps.video import smoothing as steady
from studies.pictures import steadiness

STORED = json.loads((Path(steadiness.__file__).parents[2] / "results/steadiness.json").read_text())


def test_flicker_falls_and_a_moving_edge_stays_where_it_is(monkeypatch):
    """With masks that are the truth and some noise."""
    monkeypatch.setattr(steadiness, "SIZE", (72, 96))
    monkeypatch.setattr(steadiness, "FRAMES", 14)
    random = np.random.default_rng(0)
    figures = {}
    for speed in (0.0, 2.0):
        frames = [
            (picture, np.clip(truth + random.normal(0, 0.03, truth.shape), 0, 1), truth)
            for picture, truth in steadiness.film("soft", 4.0, speed)
        ]
        for name, make in steadiness.FILTERS.items():
            figures[name, speed] = steadiness.measure([frames], make)

    def figure(name, speed, key):
        return figures[name, speed][key]

    still, moving = (0.0, "flicker_levels"), (2.0, "mae_levels")
    assert figure("--smooth", *still) < figure("as they are", *still) / 3
    assert (
        figure("--smooth", *moving) < figure("as they are", *moving) < figure("plain mean", *moving)
    )


def test_the_stored_figures_say_what_the_code_says_of_them():
    assert STORED["settings"] == {
        "slowest": steady.SLOWEST,
        "around": steady.AROUND,
        "still_moved": [steady.STILL, steady.MOVED],
    }
    for speed, by_noise in STORED["films"].items():
        for found in by_noise.values():
            plain, smooth = found["as they are"], found["--smooth"]
            if speed == "0":
                assert smooth["flicker_levels"] < plain["flicker_levels"] / 8  # docs/video.md
            else:
                assert smooth["mae_levels"] <= plain["mae_levels"]
    assert steadiness.markdown_table(STORED).count("\n") == 2 + len(steadiness.NOISES) + 1
