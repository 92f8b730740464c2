"""Where the nodes of a graph went: which execution provider took which operators."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HEAVY = ("DeformConv", "Conv", "MatMul", "Attention", "GridSample")
"""The operators that take the time: on the CPU under a GPU they cost a copy there and back, too."""


@dataclass(frozen=True, slots=True)
class NodePlacement:
    """Operators by execution provider, in ONNX Runtime's names, as it split the graph."""

    operators: Mapping[str, Mapping[str, int]]

    def nodes(self, execution_provider: str) -> int:
        """How many nodes run there."""
        return sum(self.operators.get(execution_provider, {}).values())

    def heavy_on(self, execution_provider: str) -> dict[str, int]:
        """The compute-heavy operators that run there, with their number."""
        there = self.operators.get(execution_provider, {})
        return {name: there[name] for name in HEAVY if name in there}

    def describe(self) -> str:
        """`cuda 1,480 nodes, cpu 62 nodes (50 Shape, 12 Gather)`: the first three by number."""
        parts = []
        for name, operators in self.operators.items():
            often = ", ".join(f"{n:,} {op}" for op, n in Counter(operators).most_common(3))
            number = self.nodes(name)
            plural = "" if number == 1 else "s"
            parts.append(f"{short_name(name)} {number:,} node{plural} ({often})")
        return ", ".join(parts) or "no nodes"


def read_placement(session: Any) -> NodePlacement | None:
    """Ask a session that was opened with `session.record_ep_graph_assignment_info`.

    None if this ONNX Runtime can't tell.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    operators: dict[str, Counter[str]] = {}
    for part in ask():
        counted = operators.setdefault(str(part.ep_name), Counter())
        counted.update(str(node.op_type) for node in part.get_nodes())
    return NodePlacement({name: dict(counted) for name, counted in operators.items()})


def short_name(execution_provider: str) -> str:
    """`CUDAExecutionProvider` as `cuda`, and `DmlExecutionProvider` as everybody calls it."""
    name = execution_provider.removesuffix("ExecutionProvider").lower()
    return "directml" if name == "dml" else name
