"""PVT v2 as a record and as a module."""

from dataclasses import replace

import pytest
import torch
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.pvt_v2 import PVT_V2, FeedForward, PvtV2, ReducedAttention
from torch import nn

from ...conftest import TINY_PVT, drawn, golden, key_list, network


def shapes_of(record: PvtV2) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the backbone's tensors, with their prefix."""
    with torch.device("meta"):
        tensors = record.module().state_dict()
    return {f"bb.{name}": tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize(("name", "record"), PVT_V2.items())
def test_the_papers_variants_are_recognized(name, record):
    found = PvtV2.from_shapes(shapes_of(record))

    assert found == record
    assert found.name == name


@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2"])
def test_upstreams_checkpoints_are_recognized(name):
    arch = Architecture.from_shapes(key_list(name))

    assert arch == Architecture(PVT_V2[name])
    assert arch.settings() == {}


def test_another_width_is_read_as_it_is():
    found = PvtV2.from_shapes(shapes_of(TINY_PVT.backbone))

    assert found == TINY_PVT.backbone
    assert found.name == "pvt_v2"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bb.patch_embed2.proj.weight": (63, 32, 3, 3)}, "2 attention heads can't share 63"),
        ({"bb.block1.0.attn.sr.weight": (32, 32)}, "expected 4 dimensions"),
        ({"bb.block5.0.norm1.weight": (32,)}, r"stages \[1, 2, 3, 4, 5\] found"),
    ],
)
def test_tensors_that_contradict_each_other_are_named(changed, said):
    with pytest.raises(ArchitectureError, match=said):
        PvtV2.from_shapes(key_list("pvt_v2_b0") | changed)


def test_norms_have_upstreams_epsilons():
    """Each kind apart: with the other kind's epsilon a map is further off than rounding allows."""
    image, expected = golden("pvt_v2_b0", (1, 96, 160))
    x = torch.from_numpy(image).double()
    bb = network(Architecture.from_shapes(key_list("pvt_v2_b0"))).bb.double()
    norms = {n: m for n, m in bb.named_modules() if isinstance(m, nn.LayerNorm)}
    kinds = {
        "embedding": {n for n in norms if n.startswith("patch_embed")},
        "reduction": {n for n in norms if n.endswith("attn.norm")},
    }
    kinds["others"] = set(norms) - kinds["embedding"] - kinds["reduction"]

    def distance() -> float:
        maps = [features.mean((2, 3)).numpy() for features in bb(x)]
        return max(abs(m - expected[f"full_{i}_mean"]).max() for i, m in enumerate(maps))

    exact = distance()
    for kind in kinds.values():
        for name in kind:
            norms[name].eps = {1e-5: 1e-6, 1e-6: 1e-5}[norms[name].eps]
        assert distance() > 2 * exact
        for name in kind:
            norms[name].eps = {1e-5: 1e-6, 1e-6: 1e-5}[norms[name].eps]


@pytest.mark.parametrize(("reduction", "tokens"), [(1, 13 * 9), (2, 6 * 4), (4, 3 * 2)])
def test_keys_and_values_are_reduced_and_sides_rounded_down(reduction, tokens):
    attention = ReducedAttention(10, 5, reduction)
    x = torch.randn(2, 13, 9, 10)

    assert attention.reduced(x).flatten(1, 2).shape == (2, tokens, 10)
    assert attention(x).shape == x.shape


def test_attention_is_softmax_of_scaled_products():
    attention = ReducedAttention(6, 2, 1)
    x = torch.randn(1, 2, 3, 6)
    q, k, v = (t.reshape(6, 2, 3).transpose(0, 1) for t in (
        attention.q(x), *attention.kv(x).chunk(2, -1)
    ))  # fmt: skip
    weights = (q @ k.transpose(1, 2) / 3**0.5).softmax(-1)

    expected = attention.proj((weights @ v).transpose(0, 1).reshape(1, 2, 3, 6))

    torch.testing.assert_close(attention(x), expected)


def test_a_hidden_channel_reads_its_neighbors_in_the_map():
    mlp = FeedForward(1, 1)
    mlp.load_state_dict(drawn({k: tuple(v.shape) for k, v in mlp.state_dict().items()}))
    with torch.no_grad():
        mlp.fc1.bias.zero_()
        x = torch.zeros(1, 5, 5, 1)
        x[0, 2, 2] = 1.0
        changed = (mlp(x) != mlp(torch.zeros(1, 5, 5, 1)))[0, :, :, 0]

    assert changed.nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (1, 2, 3)]


def test_a_half_scale_that_is_too_small_for_the_reductions_is_enlarged():
    net = network(replace(TINY_PVT, multi_scale="cat")).bb
    x = torch.randn(1, 3, 16, 48)
    enlarged = nn.functional.interpolate(x, (32, 48), mode="bilinear", align_corners=True)

    with torch.inference_mode():
        for small, large in zip(net(x), net(enlarged), strict=True):
            torch.testing.assert_close(small, large)
