"""Roofline: how fast this machine multiplies, and how many multiply-adds a model has.

`python -m birefnet_benchmarks.bench.measure.roofline` reads a JSON object from standard input with
`threads`, `checkpoints` and `shapes`, and prints one with `matmul_peaks` and `operation_counts`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..results import MatmulPeak, OperationCount
from .timing import PRODUCT_REPEATS, PRODUCT_SIDE, time_calls


def measure_roofline(
    threads: Sequence[int],
    checkpoints: Sequence[tuple[str, str]],
    shapes: Sequence[tuple[int, tuple[int, int]]],
    timeout_s: float,
) -> tuple[tuple[MatmulPeak, ...], tuple[OperationCount, ...]]:
    """Measure both in a process of its own; what can't be measured here is left out.

    Args:
        threads: numbers of threads for the matrix product.
        checkpoints: each model and its checkpoint, for counting.
        shapes: each batch and (height, width), for counting.
        timeout_s: after which nothing is known.
    """
    command = [sys.executable, "-m", "birefnet_benchmarks.bench.measure.roofline"]
    request = {"threads": threads, "checkpoints": checkpoints, "shapes": shapes}
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=timeout_s
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return (), ()
    peaks = tuple(MatmulPeak(**peak) for peak in answer["matmul_peaks"])
    counts = (count | {"size": tuple(count["size"])} for count in answer["operation_counts"])
    return peaks, tuple(OperationCount(**count) for count in counts)


def ort_matmul_flops_per_s(threads: int) -> float:
    """The product as ONNX Runtime computes it, one factor known beforehand, the best of ten."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    square = [PRODUCT_SIDE, PRODUCT_SIDE]
    left, right = np.random.default_rng(0).standard_normal((2, *square), np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, square) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(right, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    times = time_calls(lambda: session.run(None, {"x": left}), PRODUCT_REPEATS)
    return 2 * PRODUCT_SIDE**3 / min(times)


def _matmul_peaks(threads: int) -> list[MatmulPeak]:
    peaks = []
    if find_spec("onnx") and find_spec("onnxruntime"):
        peaks.append(MatmulPeak(threads, "onnxruntime", ort_matmul_flops_per_s(threads)))
    if find_spec("torch"):
        from ..backends.pytorch import matmul_flops_per_s

        peaks.append(MatmulPeak(threads, "torch", matmul_flops_per_s(threads)))
    return peaks


def _operation_count(model: str, checkpoint: str, batch: int, size: list[int]) -> OperationCount:
    from ..backends.pytorch import multiply_adds

    height_width = size[0], size[1]
    count = multiply_adds(Path(checkpoint), batch, height_width)
    return OperationCount(model, height_width, batch, count)


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    peaks = [peak for threads in request["threads"] for peak in _matmul_peaks(threads)]
    counts = [
        _operation_count(model, checkpoint, batch, size)
        for model, checkpoint in request["checkpoints"]
        for batch, size in request["shapes"]
        if find_spec("torch")
    ]
    answer = {
        "matmul_peaks": list(map(asdict, peaks)),
        "operation_counts": list(map(asdict, counts)),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
