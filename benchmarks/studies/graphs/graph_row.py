"""One graph at one size in a process of its own.

`python -m studies.graphs.graph_row JSON`.

ONNX Runtime runs first and alone, so that the peak of memory is its own; PyTorch, where it is asked
for, comes after, interleaved with ONNX Runtime, so that drift favors neither.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from birefnet_runtime.machine import peak_rss_bytes, rss_bytes, usable_cores
from birefnet_runtime.session.memory import SETTINGS, Memory
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.providers import Cpu, OpenVINO, Provider


@dataclass(frozen=True, slots=True)
class GraphRow:
    """What is run, and how often."""

    file: str
    size: tuple[int, int]
    """(height, width)."""
    batch: int = 1
    memory: Memory = "balanced"
    cpu: dict[str, Any] | None = None
    """Fields of `Cpu`, instead of `memory`."""
    provider: str = "cpu"
    """`cpu`, `openvino:f32` or `openvino:bf16`."""
    runs: int = 3
    """After a first one, which is reported on its own."""
    checkpoint: str | None = None
    """Count its multiply-adds and time PyTorch on it, too."""
    rival: str | None = None
    """Another graph, interleaved with this one."""


def run(graph: GraphRow) -> dict[str, Any]:
    """Seconds, bytes, and what else is asked for, JSON-ready."""
    threads = usable_cores()
    image = np.random.default_rng(0).standard_normal((graph.batch, 3, *graph.size), np.float32)

    started = time.perf_counter()
    session = open_session(Path(graph.file), providers=_provider(graph), threads=threads)
    load_s = time.perf_counter() - started
    names = [port.name for port in session.get_inputs()]

    def once() -> float:
        begun = time.perf_counter()
        session.run(None, {names[0]: image})
        return time.perf_counter() - begun

    first_s = once()
    measured: dict[str, Any] = {
        "load_s": load_s,
        "first_s": first_s,
        "times_s": [once() for _ in range(graph.runs)],
        "peak_rss_bytes": peak_rss_bytes(),
        "rss_after_bytes": rss_bytes(),
        "threads": threads,
    }
    if session.info.placement:
        placed = session.info.placement.operators
        measured["operators"] = {provider: dict(counts) for provider, counts in placed.items()}
    if graph.rival:
        measured |= _interleaved_with_rival(graph, once, image, threads)
    if graph.checkpoint:
        measured |= _interleaved_with_pytorch(graph, once, image, threads)
    return measured


def _provider(graph: GraphRow) -> Provider:
    name, _, precision = graph.provider.partition(":")
    if name == "openvino":
        return OpenVINO(precision="bf16" if precision == "bf16" else "f32")
    return SETTINGS[graph.memory] if graph.cpu is None else Cpu(**graph.cpu)


def _interleaved_with_rival(graph: GraphRow, once: Any, image: Any, threads: int) -> dict[str, Any]:
    """Times of both, interleaved."""
    assert graph.rival
    other = open_session(Path(graph.rival), providers=SETTINGS[graph.memory], threads=threads)
    feed = {other.get_inputs()[0].name: image}
    other.run(None, feed)
    ours, theirs = [], []
    for _ in range(graph.runs):
        ours.append(once())
        begun = time.perf_counter()
        other.run(None, feed)
        theirs.append(time.perf_counter() - begun)
    return {"paired_s": ours, "beside_rival_s": ours, "rival_s": theirs}


def _interleaved_with_pytorch(
    graph: GraphRow, once: Any, image: Any, threads: int
) -> dict[str, Any]:
    """The machine's peak, and PyTorch's times interleaved with ours."""
    from birefnet_benchmarks.bench.backends import pytorch

    assert graph.checkpoint
    checkpoint = Path(graph.checkpoint)
    peaks = [pytorch.matmul_flops_per_s(threads)]
    net = pytorch.eager(checkpoint, threads)
    ours, theirs = [], []
    for _ in range(2):
        ours.append(once())
        begun = time.perf_counter()
        net(image)
        theirs.append(time.perf_counter() - begun)
        peaks.append(pytorch.matmul_flops_per_s(threads))
    return {
        "multiply_adds": pytorch.multiply_adds(checkpoint, graph.batch, graph.size),
        "matmul_flops_per_s": peaks,
        "paired_s": ours,
        "pytorch_s": theirs,
    }


def roofline_share(record: Mapping[str, Any]) -> float:
    """Time of a graph's multiply-adds at the speed of PyTorch's own product, in the graph's time.

    The product is of 2048 x 2048 matrices, timed around it.
    """
    floor_s = 2 * record["multiply_adds"] / median(record["matmul_flops_per_s"])
    return float(floor_s / median(record["times_s"]))


def main(arguments: list[str]) -> None:
    stored = json.loads(arguments[0])
    graph = GraphRow(**{**stored, "size": tuple(stored["size"])})
    print(json.dumps({"row": dataclasses.asdict(graph), **run(graph)}))


if __name__ == "__main__":
    main(sys.argv[1:])
