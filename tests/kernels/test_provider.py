"""The provider against a float64 computation, and what it leaves to ONNX Runtime."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .reference import Case, convolved, graph

CASES = {
    "nano": Case(kernel=(7, 7)),
    "lite": Case(channels=64, outputs=256, kernel=(1, 7), size=(33, 40)),
    "one tap": Case(channels=64, outputs=64, kernel=(1, 1), size=(17, 9)),
    "odd channels": Case(channels=37, outputs=101, kernel=(3, 3)),
    "one of each": Case(channels=1, outputs=1, kernel=(1, 1), size=(1, 1)),
    "a row": Case(size=(1, 300), kernel=(1, 3)),
    "a column": Case(size=(300, 1), kernel=(5, 1)),
    "even kernel": Case(kernel=(2, 4)),
    "strides": Case(stride=(2, 3), size=(31, 50)),
    "dilations": Case(dilation=(2, 3), pads=(2, 3, 2, 3)),
    "no pads": Case(pads=(0, 0, 0, 0)),
    "batch": Case(batch=3, channels=33),
    "no bias": Case(bias=False),
    "no mask": Case(mask=False),
    "far offsets": Case(reach=30.0),
    "negative map": Case(low=-10.0, channels=64, outputs=65),
}


def deviation(y: NDArray[np.float32], wanted: NDArray[np.float64]) -> float:
    """Of the difference, as a share of the root mean square of what is wanted."""
    return float(np.sqrt(np.mean((y - wanted) ** 2) / np.mean(wanted**2)))


def placed(session: Any) -> dict[str, list[str]]:
    return {
        part.ep_name: [node.op_type for node in part.get_nodes()]
        for part in session.get_provider_graph_assignment_info()
    }


@pytest.fixture(params=["fp32", "int8"])
def path(request, kernels) -> tuple[str, str]:
    """A kind, and this processor's preferred path of it."""
    names = kernels.paths()[request.param]
    if not names:
        pytest.skip(f"this processor has no path for {request.param}")
    return request.param, names[0]


@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_float64_does(open_session, kernels, name):
    case = CASES[name]
    feeds = case.feeds()
    wanted = convolved(case, feeds)

    for kind, bound in (("fp32", 1e-6), ("int8", 0.02)):
        for path in kernels.paths()[kind]:
            session = open_session(graph(case), path=path, int8=str(int(kind == "int8")))
            assert placed(session) == {"BiRefNetExecutionProvider": ["DeformConv"]}
            (y,) = session.run(None, feeds)
            assert y.shape == wanted.shape
            assert deviation(y, wanted) < bound, path


@pytest.mark.parametrize("size", [*range(1, 18), 47, 48, 49, 95, 97, 300])
def test_any_size(open_session, size):
    case = Case(size=(size, 301 - size), kernel=(3, 7), channels=5, outputs=7)
    feeds = case.feeds()

    (y,) = open_session(graph(case)).run(None, feeds)

    np.testing.assert_allclose(y, convolved(case, feeds), atol=1e-5)


def test_nan_and_infinite_offsets_read_zero(open_session, path):
    case = Case(channels=64, outputs=64)
    feeds = case.feeds()
    odd = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2**31, -(2**31)], np.float32)
    there = np.random.default_rng(3).random(feeds["offset"].shape) < 0.1
    feeds["offset"][there] = np.resize(odd, there.sum())

    (y,) = open_session(graph(case), int8=str(int(path[0] == "int8"))).run(None, feeds)

    assert np.abs(y - convolved(case, feeds)).max() < 0.1


def test_int8_says_nan_where_the_map_is_not_finite(open_session):
    case = Case(batch=2, channels=64, outputs=64)
    feeds = case.feeds()
    feeds["x"][0, 3, 4, 5] = np.inf

    (y,) = open_session(graph(case), int8="1").run(None, feeds)

    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


def test_masks_outside_zero_and_one_are_computed_in_float(open_session):
    case = Case(channels=64, outputs=64)
    feeds = case.feeds()
    feeds["mask"] = 5 * feeds["mask"] - 2

    (y,) = open_session(graph(case), int8="1").run(None, feeds)

    assert deviation(y, convolved(case, feeds)) < 0.01


def test_every_int8_path_has_the_same_bits(open_session, kernels):
    case = Case(channels=70, outputs=130, kernel=(3, 3), low=-1.0)
    feeds = case.feeds()

    first, *others = (
        open_session(graph(case), path=path, int8="1").run(None, feeds)[0]
        for path in [*kernels.paths()["int8"], "scalar"]
    )

    for other in others:
        np.testing.assert_array_equal(first, other)


def test_the_file_says_whether_int8_is_meant(open_session):
    case = Case(channels=64, outputs=64)
    feeds = case.feeds()

    def answer(precision: str | None, **options: str) -> bytes:
        return open_session(graph(case, precision), **options).run(None, feeds)[0].tobytes()

    exact, rounded = answer(None, int8="0"), answer(None, int8="1")
    assert exact != rounded
    assert answer(None) == answer("fp32") == answer("int8", int8="0") == exact
    assert answer("int8") == rounded


def test_few_channels_are_computed_in_float_always(open_session):
    """There int8 takes longer."""
    case = Case(channels=16, outputs=12)

    exact, asked = (
        open_session(graph(case), int8=int8).run(None, case.feeds())[0] for int8 in ("0", "1")
    )

    np.testing.assert_array_equal(exact, asked)


@pytest.mark.parametrize(
    ("case", "constant"),
    [
        (replace(Case(), attributes={"group": 2}, channels=8), True),
        (replace(Case(), attributes={"offset_group": 2}), True),
        (Case(), False),
    ],
    ids=["groups", "offset groups", "weight of a run"],
)
def test_other_nodes_are_left_to_onnxruntime(open_session, case, constant):
    session = open_session(graph(case, constant=constant))

    assert placed(session) == {"CPUExecutionProvider": ["DeformConv"]}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (1, 15, 20, 23)),
        ("offset", (1, 17, 20, 23)),
        ("offset", (1, 18, 20, 22)),
        ("offset", (2, 18, 20, 23)),
        ("mask", (1, 9, 19, 23)),
        ("mask", (1, 1, 1, 1)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(open_session, name, shape):
    session = open_session(graph(Case()))
    feeds = Case().feeds() | {name: np.zeros(shape, np.float32)}

    with pytest.raises(Exception, match=r"DeformConv: the (map|offset|mask) is "):
        session.run(None, feeds)


def test_a_map_that_is_empty_or_too_small_is_refused(open_session):
    session = open_session(graph(Case(pads=(0, 0, 0, 0))))
    feeds = Case().feeds() | {"x": np.zeros((1, 16, 2, 23), np.float32)}

    with pytest.raises(Exception, match="out of range"):
        session.run(None, feeds)


@pytest.mark.parametrize("options", [{"int8": "yes"}, {"path": "sse2"}])
def test_an_option_that_is_none_is_refused(open_session, options):
    with pytest.raises(Exception, match="DeformConv: "):
        open_session(graph(Case()), **options)


def test_weights_that_are_not_packed_in_advance(open_session, path):
    case = Case(channels=64)
    options = {"int8": str(int(path[0] == "int8"))}
    plain = open_session(graph(case), **options)
    late = open_session(graph(case), {"session.disable_prepacking": "1"}, **options)

    (one,), (other,) = (each.run(None, case.feeds()) for each in (plain, late))

    np.testing.assert_array_equal(one, other)


def test_three_threads_on_one_session(open_session, path):
    case = Case(channels=64, outputs=100, size=(60, 61))
    session = open_session(
        graph(case), {"session.disable_prepacking": "1"}, int8=str(int(path[0] == "int8"))
    )
    feeds = [replace(case, seed=seed).feeds() for seed in range(3)]
    answers: list[list[bytes]] = [[], [], []]

    def run(index: int) -> None:
        for _ in range(8):
            answers[index].append(session.run(None, feeds[index])[0].tobytes())

    threads = [threading.Thread(target=run, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(set(each)) for each in answers] == [1, 1, 1]
    assert len({each[0] for each in answers}) == 3
    alone = [session.run(None, each)[0].tobytes() for each in feeds]
    assert alone == [each[0] for each in answers]


def test_a_run_ends_soon_after_it_is_told_to(open_session):
    """Between two nodes: ONNX Runtime doesn't tell a plugin within one."""
    import onnxruntime

    session = open_session(_many_nodes(60))
    feeds = Case(channels=64, outputs=64, size=(96, 96)).feeds()
    options = onnxruntime.RunOptions()
    stopper = threading.Timer(0.05, setattr, (options, "terminate", True))
    stopper.start()

    def run_on() -> None:
        while True:
            session.run(None, feeds, options)

    with pytest.raises(Exception, match=r"[Tt]erminate"):
        run_on()
    stopper.join()


def _many_nodes(number: int) -> bytes:
    """DeformConv after DeformConv, all with the same offsets and mask."""
    import onnx

    case = Case(channels=64, outputs=64, size=(96, 96))
    model = onnx.load_from_string(graph(case))
    (node,) = model.graph.node
    del model.graph.node[:]
    for index in range(number):
        copy = model.graph.node.add()
        copy.CopyFrom(node)
        copy.name = f"node{index}"
        copy.input[0] = "x" if index == 0 else f"y{index - 1}"
        copy.output[0] = "y" if index == number - 1 else f"y{index}"
    return model.SerializeToString()
