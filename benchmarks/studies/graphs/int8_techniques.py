"""What each technique of int8 does to masks, one by one and together:
`python -m studies.graphs.int8_techniques FILE MODEL SIZE KNOWN UNSEEN FP32 BEFORE NOW`.

MODEL is a float32 graph (`rows`) whose masks mean something, run at SIZE; int8 is calibrated on the
folder KNOWN and judged on the folder UNSEEN alone. FP32, BEFORE and NOW are graphs of one large
checkpoint in float32, in int8 as it was, and in int8 as it is, whose processor time is taken in
turns on one thread at 1024 x 1024. Figures go to FILE with the environment.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import onnx
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision import sensitivity
from birefnet_export.precision.calibration import Images, calibration_images, images_of, observe
from birefnet_export.precision.feedback import rounded_weights
from birefnet_export.precision.int8 import (
    ActivationRange,
    Int8Plan,
    faster_in_int8,
    quantized,
)
from birefnet_export.precision.join_sums import join_sums
from birefnet_export.verify.logits import Array, mask_of_logits
from birefnet_export.verify.masks import intersection_over_union
from birefnet_runtime.session.open import open_session

from studies.graphs.int8_tried import TRIED

ROUNDS = 3
LARGE = (1024, 1024)
Record = dict[str, Any]


@contextmanager
def settings(
    join: bool, feedback: float, margin: float, from_middle: bool = True
) -> Iterator[None]:
    """The calibration with some of its techniques, ranges being of all images."""
    apart: Callable[..., Any] = lambda model, *_: (model, {})  # noqa: E731
    by_channel = ActivationRange.by_channel

    def rounded(model: onnx.ModelProto, images: Images, plan: Int8Plan, weights: Any) -> Any:
        if not feedback:
            return {}
        found = rounded_weights(model, images, plan, weights)
        inputs = {name: w.values.size // len(w.scale) for name, w in found.items()}
        return {name: weight for name, weight in found.items() if inputs[name] <= feedback}

    def from_zero(self: ActivationRange) -> Any:
        reach = np.maximum(-self.low, self.high)
        return by_channel(ActivationRange(-reach, reach))

    with (
        mock.patch.object(ActivationRange, "by_channel", by_channel if from_middle else from_zero),
        mock.patch.object(sensitivity, "join_sums", join_sums if join else apart),
        mock.patch.object(sensitivity, "rounded_weights", rounded),
        mock.patch.object(sensitivity, "MARGIN", margin),
        mock.patch.object(sensitivity, "KNOWN", 1.0),
    ):
        yield


NARROW = 3456
"""Inputs of a layer up to which error feedback was once used."""
ROWS: dict[str, tuple[bool, float, float, bool]] = {
    "as before: sums apart, nearest steps, ranges a quarter wider": (False, 0, 1.25, False),
    "sums joined": (True, 0, 1.25, False),
    "error feedback for narrow layers": (False, NARROW, 1.25, False),
    "sums joined, error feedback for narrow layers": (True, NARROW, 1.25, False),
    "the same, ranges a tenth wider": (True, NARROW, 1.1, False),
    "the same, error feedback for all layers, in parts": (True, np.inf, 1.1, False),
    "the same, offsets from the middle of their range: as it is": (True, np.inf, 1.1, True),
}


def judged(model: onnx.ModelProto, known: Images, unseen: Sequence[Array]) -> dict[str, Record]:
    """Masks of each combination against float32's."""
    exact = [mask_of_logits(logits) for logits in observe(model, unseen).logits]

    def compared(candidate: onnx.ModelProto) -> Record:
        masks = [mask_of_logits(logits) for logits in observe(candidate, unseen).logits]
        pairs = list(zip(masks, exact, strict=True))
        return {
            "errors": [float(np.abs(a - b).mean()) for a, b in pairs],
            "ious": [float(intersection_over_union(a >= 0.5, b >= 0.5)) for a, b in pairs],
        }

    products = Int8Plan(products=faster_in_int8(model, "MatMul"))
    rows = {"products alone, nearest steps": compared(quantized(model, products))}
    for name, options in ROWS.items():
        with settings(*options):
            search = sensitivity._Search(model, WeightsInGraph(), known)
            candidate = search.tried(()).model
        rows[name] = compared(candidate)
        print(name, rows[name], file=sys.stderr, flush=True)
    for name, technique in TRIED.items():
        with settings(*options):
            rows[f"as it is, {name}"] = compared(technique(search))
        print(name, rows[f"as it is, {name}"], file=sys.stderr, flush=True)
    return rows


def timed(files: dict[str, Path]) -> dict[str, list[float]]:
    """Seconds of processor time of each graph, in turns."""
    sessions = {name: open_session(file, threads=1, accepted=False) for name, file in files.items()}
    image = np.random.default_rng(0).standard_normal((1, 3, *LARGE)).astype(np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for turn in range(ROUNDS + 1):
        for name, session in sessions.items():
            start = time.process_time()
            session.run(None, {session.get_inputs()[0].name: image})
            if turn:
                seconds[name].append(time.process_time() - start)
    return seconds


def markdown_table(stored: Record) -> str:
    """Masks of each combination, and the processor time of the last and the first."""
    lines = ["| int8 | MAE (worst) | IoU (worst) |", "| --- | --- | --- |"]
    for name, row in stored["judged"].items():
        errors, ious = row["errors"], row["ious"]
        lines.append(
            f"| {name} | {np.mean(errors):.5f} ({max(errors):.5f}) "
            f"| {np.mean(ious):.4f} ({min(ious):.4f}) |"
        )
    times = {name: median(seconds) for name, seconds in stored["timed"].items()}
    count = len(next(iter(stored["judged"].values()))["errors"])
    lines += [
        "",
        f"nano at {stored['size']} on {count} photographs that calibration on {stored['known']} "
        f"others didn't see, against fp32's masks. Processor time of swin_v1_t at "
        f"{LARGE[0]}x{LARGE[1]} on one thread, in turns: {times['before'] / times['fp32']:.2f} of "
        f"fp32's before, {times['now'] / times['fp32']:.2f} now. "
        f"{stored['environment']['processor']}, "
        f"onnxruntime {stored['environment']['packages']['onnxruntime']}; others used the machine.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    output, file, size, known, unseen = arguments[:5]
    side = int(size)
    model = onnx.load(file)
    images = calibration_images(Path(known), (side, side))
    stored: Record = {
        "environment": asdict(read_environment()),
        "size": f"{side}x{side}",
        "known": len(images),
        "unseen": [path.name for path in images_of(Path(unseen))],
        "judged": judged(model, images, Images(images_of(Path(unseen)), (side, side))),
        "timed": timed(
            dict(zip(("fp32", "before", "now"), map(Path, arguments[5:8]), strict=True))
        ),
    }
    write_results(Path(output), stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
