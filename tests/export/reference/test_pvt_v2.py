"""PVT v2: reduced keys, neighbors in the map, upstream's epsilons, small images."""

import numpy as np
import pytest
from birefnet_export.network import nn
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.pvt_v2 import FeedForward, ReducedAttention
from birefnet_export.reference import layers
from birefnet_export.reference.pvt_v2 import feed_forward, pvt_v2, reduced_attention

from ..conftest import TINY_PVT, channels_last, golden, key_list, network, with_values


def norms_of(layer, prefix=""):
    """The LayerNorms of a tree, by their names."""
    for name, child in layer.children().items():
        if isinstance(child, nn.LayerNorm):
            yield prefix + name, child
        yield from norms_of(child, f"{prefix}{name}.")


def test_norms_have_upstreams_epsilons():
    """Each kind apart: with the other kind's epsilon a map is further off than rounding allows."""
    image, expected = golden("pvt_v2_b0", (1, 96, 160))
    bb = network(Architecture.from_shapes(key_list("pvt_v2_b0"))).bb
    norms = dict(norms_of(bb))
    kinds = {
        "embedding": {n for n in norms if n.startswith("patch_embed")},
        "reduction": {n for n in norms if n.endswith("attn.norm")},
    }
    kinds["others"] = set(norms) - kinds["embedding"] - kinds["reduction"]

    def distance():
        maps = [x.mean((1, 2)) for x in pvt_v2(channels_last(image), bb)]
        return max(abs(m - expected[f"full_{i}_mean"]).max() for i, m in enumerate(maps))

    exact = distance()
    other = {1e-5: 1e-6, 1e-6: 1e-5}
    for names in kinds.values():
        assert names
        for name in names:
            norms[name].eps = other[norms[name].eps]
        assert distance() > 2 * exact
        for name in names:
            norms[name].eps = other[norms[name].eps]


def test_attention_is_to_the_tokens_of_the_reduced_map():
    """A side that is not a multiple of the reduction loses its last rows."""
    attn = with_values(ReducedAttention(4, 1, 2))
    x = np.random.default_rng(0).standard_normal((1, 5, 3, 4))

    found = reduced_attention(x, attn)

    weight = attn.sr.weight.astype(float)
    corners = [x[0, 2 * i : 2 * i + 2, :2] for i in range(2)]  # 2 x 2, of 4 channels each
    smaller = np.array([np.einsum("hwi,oihw->o", c, weight) for c in corners]) + attn.sr.bias
    k, v = np.split(layers.linear(layers.layer_norm(smaller, attn.norm), attn.kv), 2, -1)
    for i, j in np.ndindex(5, 3):
        scores = layers.linear(x[0, i, j], attn.q) @ k.T / 2
        shares = np.exp(scores) / np.exp(scores).sum()
        expected = layers.linear(shares @ v, attn.proj)
        np.testing.assert_allclose(found[0, i, j], expected, atol=1e-12)


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_a_map_keeps_its_shape(reduction):
    attn = with_values(ReducedAttention(10, 5, reduction))
    x = np.random.default_rng(0).standard_normal((2, 13, 9, 10))

    assert reduced_attention(x, attn).shape == x.shape


def test_a_hidden_channel_reads_its_neighbors_in_the_map():
    mlp = with_values(FeedForward(1, 1))
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = 1.0

    changed = (feed_forward(x, mlp) != feed_forward(np.zeros_like(x), mlp))[0, :, :, 0]

    assert np.argwhere(changed).tolist() == [[i, j] for i in (1, 2, 3) for j in (1, 2, 3)]


def test_a_half_scale_that_is_too_small_for_the_reductions_is_enlarged():
    bb = network(TINY_PVT).bb
    x = np.random.default_rng(0).standard_normal((1, 16, 48, 3))

    for small, large in zip(pvt_v2(x, bb), pvt_v2(layers.resize(x, (32, 48)), bb), strict=True):
        assert np.array_equal(small, large)
