"""The backbone's index arithmetic against brute force."""

import itertools

import pytest
import torch
from birefnet_export.network.backbone.swin_v1 import (
    MASKED,
    partition,
    relative_position_index,
    reverse,
    shift_mask,
)


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


def test_partition_and_reverse_are_inverse():
    x = torch.arange(2 * 8 * 12 * 3.0).view(2, 8, 12, 3)

    windows = partition(x, 4)

    assert windows.shape == (2 * 2 * 3, 16, 3)
    torch.testing.assert_close(windows[1].view(4, 4, 3), x[0, :4, 4:8])
    torch.testing.assert_close(reverse(windows, 4, 8, 12), x)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12)])
def test_tokens_that_the_roll_brought_together_do_not_see_each_other(height, width):
    window, shift = 4, 2
    mask = shift_mask(height, width, window, shift)

    # How far the roll moved each token: those that it carried around the border moved otherwise.
    y, x = torch.arange(height), torch.arange(width)
    moved = torch.stack(torch.meshgrid(y.roll(-shift) - y, x.roll(-shift) - x, indexing="ij"), -1)
    windows = partition(moved[None], window)
    assert len(mask) == len(windows)
    for where, tokens in zip(mask, windows, strict=True):
        together = (tokens[:, None] == tokens[None, :]).all(-1)
        assert torch.equal(where == 0, together)
        assert torch.equal(where == MASKED, ~together)
