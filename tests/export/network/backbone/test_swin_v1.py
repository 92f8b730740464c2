"""Swin's table of position biases: a row for each displacement of two tokens."""

import itertools

from birefnet_export.network.backbone.swin_v1 import relative_position_index


def test_the_position_index_depends_on_the_displacement_alone():
    window = 4
    index = relative_position_index(window)
    rows: dict[tuple[int, int], set[int]] = {}
    for a, b in itertools.product(range(window * window), repeat=2):
        displacement = (a // window - b // window, a % window - b % window)
        rows.setdefault(displacement, set()).add(int(index[a, b]))

    assert all(len(found) == 1 for found in rows.values())
    assert sorted(row for found in rows.values() for row in found) == list(range(49))
    assert index[0, 0] == index[5, 5] == 24  # no displacement: the middle of the table
    assert index[4, 0] == 24 + 7  # one row down: the next line of the table
