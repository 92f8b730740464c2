import numpy as np
import pytest
from birefnet_export.checkpoint import dtypes
from birefnet_export.checkpoint.state_dict import StoredTensor, find_state_dict
from birefnet_export.errors import CheckpointError


def tensor(shape: tuple[int, ...] = (1,)) -> StoredTensor:
    return StoredTensor(dtypes.FLOAT32, shape, lambda: np.zeros(shape, np.float32))


NETWORK = {"bb.norm0.weight": tensor(), "bb.norm0.bias": tensor(), "decoder.conv.weight": tensor()}
OTHER = {"layer1.0.conv1.weight": tensor(), "fc.weight": tensor()}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda net: net,
        lambda net: {"model_state_dict": net, "epoch": 3},
        lambda net: {"net": net},
        lambda net: {"params": net},
        lambda net: {"ema": net},
        lambda net: {"anything": net},
        lambda net: {"state_dict": {"model": net}},
        lambda net: {"a": {"b": {"c": net}}, "optimizer": {"state": {0: {"exp_avg": tensor()}}}},
        lambda net: [net, {"lr": 0.1}],
        lambda net: {"model": net, "ema": dict(net)},
        lambda net: {"optimizer": {"exp_avg": tensor()}, "network": net, "discriminator": OTHER},
    ],
)
def test_the_network_is_found_behind_any_wrapper(wrapped):
    assert find_state_dict(wrapped(NETWORK)) == NETWORK


def test_the_usual_key_wins_over_averaged_weights():
    averaged = {name: tensor((2,)) for name in NETWORK}

    assert find_state_dict({"ema": averaged, "model": NETWORK}) == NETWORK
    assert find_state_dict({"ema": averaged, "state_dict": NETWORK}) == NETWORK
    assert find_state_dict({"ema": {"state_dict": averaged}, "model": NETWORK}) == NETWORK
    assert find_state_dict({"model": averaged, "state_dict": NETWORK}) == NETWORK


def test_without_a_backbones_names_the_largest_mapping_is_taken():
    weights = {f"layer{i}.weight": tensor() for i in range(3)}

    assert find_state_dict({"stats": {"count": tensor()}, "weights": weights}) == weights


@pytest.mark.parametrize(
    "wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]
)
def test_names_of_wrapped_layers_are_those_of_the_layers(wrapper):
    wrapped = {name.replace("bb.", f"bb.{wrapper}."): value for name, value in NETWORK.items()}

    assert find_state_dict(wrapped) == NETWORK


def test_several_networks_without_a_usual_key_are_named():
    with pytest.raises(CheckpointError, match="under student, teacher; save"):
        find_state_dict({"student": NETWORK, "teacher": dict(NETWORK)})


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."),
        *(
            "model.",
            "birefnet.",
            "net.",
            "base_model.model.",
            "a.b.c.d.",
            "model.module._orig_mod.",
        ),
    ],
)
def test_what_stands_before_the_backbone_is_taken_off(prefix):
    assert find_state_dict({prefix + name: t for name, t in NETWORK.items()}) == NETWORK


def test_wrappers_of_parts_are_taken_off():
    mixed = {
        "model.bb._orig_mod.norm0.weight": tensor(),
        "model.module.bb.norm0.bias": tensor(),
        "model.decoder.module.conv.weight": tensor(),
    }

    assert find_state_dict(mixed).keys() == NETWORK.keys()


def test_what_is_beside_the_network_is_left_out():
    content = {f"model.{name}": t for name, t in NETWORK.items()} | {"loss.vgg.weight": tensor()}

    assert find_state_dict({"state_dict": content}) == NETWORK


def test_what_is_left_over_in_the_network_stays_to_be_named():
    content = {**NETWORK, "head.weight": tensor(), "step": 3}

    assert find_state_dict(content).keys() == {*NETWORK, "head.weight"}


def test_a_name_that_is_there_twice_is_refused():
    content = {**NETWORK, "module.bb.norm0.weight": tensor()}

    with pytest.raises(CheckpointError, match=r"bb\.norm0\.weight twice"):
        find_state_dict(content)


def test_two_networks_in_one_state_dict_are_told_apart_or_named():
    def under(*prefixes: str) -> dict[str, StoredTensor]:
        return {f"{p}.{name}": t for p in prefixes for name, t in NETWORK.items()}

    assert find_state_dict(under("ema_model", "model")) == NETWORK
    with pytest.raises(CheckpointError, match="under student, teacher"):
        find_state_dict(under("student", "teacher"))


def test_without_a_backbone_the_largest_mapping_is_given_to_be_judged():
    assert find_state_dict({"model": OTHER, "optimizer": {"exp_avg": tensor()}}) == OTHER


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not a mapping of tensors"),
        (3, "holds a int, not a mapping"),
        ({}, "is not a state dict: it holds no tensors"),
        ({"epoch": 3, "lr": 1}, "entries that are not tensors: epoch, lr"),
        ({"state": {0: {1: tensor()}}}, "entries that are not tensors: state"),
    ],
)
def test_what_holds_no_tensors_is_described(content, message):
    with pytest.raises(CheckpointError, match=message):
        find_state_dict(content)


def test_a_tree_that_holds_itself_ends():
    tree: dict[str, object] = {"bb.norm0.weight": tensor()}
    tree["self"] = tree
    shared: object = []
    for _ in range(100):
        shared = [shared, shared]
    tree["doubling"] = shared

    assert list(find_state_dict(tree)) == ["bb.norm0.weight"]
