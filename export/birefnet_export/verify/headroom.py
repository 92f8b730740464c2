"""The table of fp16's head-room, as it is printed and stored in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

HALF_END = 65504.0
"""The largest float16; beyond it there is infinity alone."""
FACTOR = 8.0
"""By how much a value in float16 is to stay below that: a photograph that nobody has tried may
reach further than these."""
WORST = 10
"""Nodes of the table that is printed and stored."""


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """The largest value that a node gave, and how often it goes into float16's range."""

    node: str
    op_type: str
    largest: float

    @property
    def factor(self) -> float:
        return HALF_END / self.largest if self.largest else inf


@dataclass(frozen=True, slots=True)
class HeadRoom:
    """What was measured on some images, and what followed from it."""

    worst: tuple[NodeRoom, ...]
    """The nodes with the largest values, the largest first."""
    float32: tuple[str, ...]
    """Nodes that compute in float32 for want of head-room."""
    images: int
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each."""
    factor: float = FACTOR

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        worst = [{**asdict(node), "factor": round(node.factor, 2)} for node in self.worst]
        return {**asdict(self), "worst": worst}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def lines(self) -> Iterator[str]:
        """As text: a table of the worst, and what stays in float32."""
        yield f"head-room in float16 on {self.images} images, 65,504 over the largest value:"
        width = max((len(node.node) for node in self.worst), default=0)
        for node in self.worst:
            yield f"  {node.node:{width}}  {node.factor:>10,.1f}  (largest {node.largest:,.1f})"
        if self.float32:
            names = ", ".join(self.float32[:WORST]) + (", ..." if len(self.float32) > WORST else "")
            yield f"  below {self.factor:g}, and so in float32: {len(self.float32)} nodes ({names})"
