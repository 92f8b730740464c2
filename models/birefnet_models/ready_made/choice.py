"""Which graph of a repository is meant, by the names that exporters give them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..base.errors import FetchError
from ..base.names import PREPROCESSOR_FILE, choose_weights
from ..base.text import shortened
from .reference import DEFAULT_REVISION

_PRECISION = re.compile(r"(?:.*[._-])?(fp32|fp16|int8|uint8|quantized|q8|q4|q4f16|bnb4)")
_SAME = {
    "int8": ("int8", "quantized", "q8"),
    "quantized": ("quantized", "q8", "int8"),
    "q8": ("q8", "quantized", "int8"),
}
"""Words that stand for the same, the nearest first: `model_quantized.onnx` is int8."""


def choose_graph(names: Iterable[str], precision: str | None, reference: str) -> str:
    """The one graph that a precision means: `onnx/model.onnx`, `onnx/model_fp16.onnx`, ...

    Graphs in `onnx/` count, or where there are none those at the top. Without a precision it is
    the exact one, or the only one.

    Args:
        names: paths of all files in the repository.
        precision: as typed; None for the exact one.
        reference: what messages call the repository.

    Raises:
        FetchError: there is none, or it can't be told which one is meant.
    """
    every = list(names)
    graphs = _graphs(every)
    if not graphs:
        raise FetchError(f"{reference}: {_without_graph(every, reference)}")
    fitting = _fitting(graphs, precision)
    if len(fitting) == 1:
        return fitting[0]
    shown = shortened(fitting or graphs)
    if not fitting and precision is not None:
        raise FetchError(f"{reference}: holds no graph in {precision}; it holds {shown}")
    raise FetchError(
        f"{reference}: holds several graphs ({shown}); name one as OWNER/NAME:PRECISION, or by "
        "the URL of the file"
    )


def preprocessor_of(names: Iterable[str], graph: str) -> str | None:
    """The preprocessor file that belongs to a graph: in its folder, or above `onnx/`."""
    every = set(names)
    folder = graph.rpartition("/")[0]
    above, _, last = folder.rpartition("/")
    for place in (folder, above) if last == "onnx" else (folder,):
        if (name := f"{place}/{PREPROCESSOR_FILE}".lstrip("/")) in every:
            return name
    return None


def precision_of(graph: str) -> str:
    """The precision in the name of a graph; fp32 where it says none."""
    stated = _PRECISION.fullmatch(graph.rpartition("/")[2].removesuffix(".onnx"))
    return stated[1] if stated else "fp32"


def _graphs(names: Iterable[str]) -> list[str]:
    graphs = sorted(name for name in names if name.endswith(".onnx"))
    usual = [name for name in graphs if re.fullmatch(r"onnx/[^/]+", name)]
    return usual or [name for name in graphs if "/" not in name]


def _fitting(graphs: list[str], precision: str | None) -> list[str]:
    """The graphs in a precision; without one the exact ones, or all where none is."""
    if precision is None:
        if len(graphs) == 1:
            return graphs
        precision = "fp32"
    for word in _SAME.get(precision, (precision,)):
        if fitting := [graph for graph in graphs if precision_of(graph) == word]:
            usual = rf"(onnx/)?model(_{word})?\.onnx"
            return [graph for graph in fitting if re.fullmatch(usual, graph)][:1] or fitting
    return []


def _without_graph(names: list[str], reference: str) -> str:
    if elsewhere := [name for name in names if name.endswith(".onnx")]:
        return (
            f"holds no graph in onnx/ or at its top, but {shortened(elsewhere)}; give the URL of "
            "the one to use"
        )
    if choose_weights(names):
        export = f"birefnet export {reference.removesuffix(f'@{DEFAULT_REVISION}')}"
        return f"holds a checkpoint and no .onnx; this makes one: {export}"
    return f"holds no .onnx; it holds {shortened(names) or 'nothing'}"
