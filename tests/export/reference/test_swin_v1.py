"""Swin's windows against brute force."""

import numpy as np
import pytest
from birefnet_export.network.backbone.swin_v1 import MASKED, PatchMerging, SwinBlock
from birefnet_export.reference.layers import layer_norm, linear
from birefnet_export.reference.swin_v1 import (
    joined_windows,
    merged,
    shift_mask,
    window_attention,
    windows_of,
)

from ..conftest import with_values


def test_windows_are_cut_and_joined():
    x = np.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)

    windows = windows_of(x, 4)

    assert windows.shape == (2 * 2 * 3, 16, 3)
    assert np.array_equal(windows[1].reshape(4, 4, 3), x[0, :4, 4:8])
    assert np.array_equal(joined_windows(windows, 4, (8, 12)), x)


@pytest.mark.parametrize("size", [(4, 4), (8, 12)])
def test_tokens_that_the_roll_brought_together_do_not_see_each_other(size):
    height, width = size
    mask = shift_mask(size, 4, 2)

    # How far the roll moved each token: those that it carried around the border moved otherwise.
    y, x = np.arange(height), np.arange(width)
    moved = np.stack(np.meshgrid(np.roll(y, -2) - y, np.roll(x, -2) - x, indexing="ij"), -1)
    windows = windows_of(moved[None], 4)
    assert len(mask) == len(windows)
    for where, tokens in zip(mask, windows, strict=True):
        together = (tokens[:, None] == tokens[None, :]).all(-1)
        assert np.array_equal(where == 0, together)
        assert np.array_equal(where == MASKED, ~together)


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (8, 9)])
def test_a_token_attends_to_those_of_its_own_window(size, shift):
    """Token by token: windows lie on a grid that begins `shift` tokens down and right.

    Beyond the map's last row and column there is padding, whose tokens are zeros and attend too.
    """
    block = with_values(SwinBlock(6, 2, 4, shift, 8))
    attn = block.attn
    height, width = size
    x = np.random.default_rng(0).standard_normal((1, height, width, 6))
    tall, wide = (side + -side % 4 for side in size)
    padded = np.zeros((tall, wide, 6))
    padded[:height, :width] = x[0]
    q, k, v = np.split(linear(padded, attn.qkv), 3, -1)
    bias = attn.position_bias()

    def home(y, at):
        """The window of a token. What is before the grid's first line is the last band."""
        return (y - shift) // 4 if y >= shift else -1, (at - shift) // 4 if at >= shift else -1

    found = window_attention(x, block)

    for y, at in np.ndindex(height, width):
        others = [p for p in np.ndindex(tall, wide) if home(*p) == home(y, at)]
        place = [((r - shift) % tall % 4) * 4 + (c - shift) % wide % 4 for r, c in others]
        own = ((y - shift) % tall % 4) * 4 + (at - shift) % wide % 4
        heads = []
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            scores = [q[y, at, part] @ k[r, c, part] / 3**0.5 for r, c in others]
            shares = softmax(np.array(scores) + bias[head, own, place])
            heads.append(shares @ np.array([v[r, c, part] for r, c in others]))
        expected = linear(np.concatenate(heads), attn.proj)
        np.testing.assert_allclose(found[0, y, at], expected, atol=1e-10)


def test_an_odd_side_is_merged_with_zeros():
    merging = with_values(PatchMerging(2))
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 2))

    found = merged(x, merging)

    assert found.shape == (1, 2, 3, 4)
    corner = np.concatenate((x[0, 2, 4], np.zeros(6)))
    expected = linear(layer_norm(corner[None], merging.norm), merging.reduction)[0]
    np.testing.assert_allclose(found[0, 1, 2], expected, atol=1e-12)
    inner = np.concatenate((x[0, 0, 0], x[0, 1, 0], x[0, 0, 1], x[0, 1, 1]))
    expected = linear(layer_norm(inner[None], merging.norm), merging.reduction)[0]
    np.testing.assert_allclose(found[0, 0, 0], expected, atol=1e-12)
