"""DINOv3: how patches are rotated, what a gate does, and which tokens become maps."""

import numpy as np
from birefnet_export.network.backbone.dino_v3 import REGISTERS, DinoV3, GatedMLP, periods
from birefnet_export.reference.dino_v3 import dino_v3, feed_forward, rotated, rotation
from birefnet_export.reference.layers import linear

from ..conftest import with_values


def test_a_score_depends_on_where_patches_are_to_each_other():
    height, width = 6, 10
    by = rotation((height, width), 16)
    q, k = np.random.default_rng(0).standard_normal((2, 16))

    def everywhere(x):
        repeated = np.broadcast_to(x, (1, 1, height * width, 16))
        return rotated(repeated, by)[0, 0].reshape(height, width, -1)

    queries, keys = everywhere(q), everywhere(k)
    scores = np.einsum("yxc,yxc->yx", queries[2:, 3:], keys[:-2, :-3])
    assert np.allclose(scores, scores[0, 0])
    assert abs(scores[0, 0] - queries[0, 0] @ keys[0, 0]) > 0.1
    # Rows turn the first quarter of the channels, and its partners; columns the second.
    assert np.array_equal(queries[0, 0, 4:8], queries[5, 0, 4:8])
    assert not np.array_equal(queries[0, 0, :4], queries[5, 0, :4])


def test_coordinates_run_from_edge_to_edge_at_any_size():
    small, large = rotation((2, 2), 8), rotation((6, 6), 8)

    # The center of the first of two is the center of the second of six.
    assert np.allclose(small.cos[0], large.cos[7])
    assert np.allclose(small.sin[0], large.sin[7])
    assert periods(8).tolist() == [1, 10]


def test_class_token_and_registers_do_not_turn():
    by = rotation((2, 3), 8)
    x = np.random.default_rng(0).standard_normal((2, 3, 1 + REGISTERS + 6, 8))

    turned = rotated(x, by)

    assert np.array_equal(turned[:, :, :5], x[:, :, :5])
    assert np.allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1))
    assert (turned[:, :, 5:] != x[:, :, 5:]).any(-1).all()


def test_a_gate_is_the_silu_of_another_layer():
    mlp = with_values(GatedMLP(3, 4))
    x = np.random.default_rng(0).standard_normal((2, 5, 3))

    gate = linear(x, mlp.fc1_g)
    expected = linear(gate / (1 + np.exp(-gate)) * linear(x, mlp.fc1_x), mlp.fc2)

    np.testing.assert_allclose(feed_forward(x, mlp), expected, atol=1e-12)


def test_maps_are_of_the_patches_alone_at_their_places():
    """A patch that differs changes itself most, in every map."""
    net = with_values(DinoV3(16, 24, True, 8, (0, 1, 2, 4)).module())
    image = np.random.default_rng(0).standard_normal((1, 48, 80, 3))
    other = image.copy()
    other[0, 16:32, 48:64] += 1

    maps, changed = dino_v3(image, net), dino_v3(other, net)

    assert [x.shape for x in maps] == [(1, 3, 5, 16)] * 4
    first = abs(changed[0] - maps[0])[0].sum(-1)
    assert np.unravel_index(first.argmax(), first.shape) == (1, 3)
    assert not np.array_equal(maps[2], maps[3])
