"""How fast this machine multiplies, and how much there is to multiply, in a process of its own.

`python -m birefnet_benchmarks.bench.measure.roofline` reads a `Question` as JSON from standard
input and prints a JSON object with `peaks` and `work`, as `record` has them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..results import Peak, Work
from .timing import PRODUCT_REPEATS, PRODUCT_SIDE, time_calls


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out."""

    threads: tuple[int, ...]
    checkpoints: tuple[tuple[str, str], ...]
    """Model and checkpoint."""
    shapes: tuple[tuple[int, tuple[int, int]], ...]
    """Batch and (height, width)."""


def ask(question: Question, timeout_s: float) -> tuple[tuple[Peak, ...], tuple[Work, ...]]:
    """Find out in a process of its own; nothing of what can't be found out here."""
    command = [sys.executable, "-m", "birefnet_benchmarks.bench.measure.roofline"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(asdict(question)),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        found = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return (), ()
    work = tuple(Work(**{**each, "size": tuple(each["size"])}) for each in found["work"])
    return tuple(Peak(**each) for each in found["peaks"]), work


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


def _peaks(threads: int) -> list[Peak]:
    peaks = []
    if find_spec("onnx") and find_spec("onnxruntime"):
        peaks.append(Peak(threads, "onnxruntime", ort_matmul_flops_per_s(threads)))
    if find_spec("torch"):
        from ..backends.pytorch import matmul_flops_per_s

        peaks.append(Peak(threads, "torch", matmul_flops_per_s(threads)))
    return peaks


def _work(question: Question) -> list[Work]:
    if not question.checkpoints or not find_spec("torch"):
        return []
    from ..backends.pytorch import multiply_adds

    return [
        Work(model, size, batch, multiply_adds(Path(checkpoint), batch, size))
        for model, checkpoint in question.checkpoints
        for batch, size in question.shapes
    ]


def main() -> None:
    """Answer one question."""
    stored = json.load(sys.stdin)
    question = Question(
        tuple(stored["threads"]),
        tuple((model, file) for model, file in stored["checkpoints"]),
        tuple((batch, (height, width)) for batch, (height, width) in stored["shapes"]),
    )
    peaks = [peak for threads in question.threads for peak in _peaks(threads)]
    found = {
        "peaks": [asdict(peak) for peak in peaks],
        "work": [asdict(each) for each in _work(question)],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
