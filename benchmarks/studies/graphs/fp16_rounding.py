"""What float16 costs where: `python -m studies.graphs.fp16_rounding MODEL.onnx FOLDER SIZE`.

Every kind of operator is rounded alone, its results passed through float16 and back in a float32
graph, and the masks are compared with those of the graph as it is. So the roundings are those of a
GPU, whatever float16 kernels the machine at hand has; only sums inside an operator stay float32,
as they do on tensor cores. Prints JSON: which kind, how many nodes, the masks' largest and mean
difference, and the largest value (float16 ends at 65,504).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision.calibration import calibration_images, observe
from birefnet_export.precision.graph_rewriter import Rewriting, consumers, float_values
from birefnet_export.precision.headroom import largest_values
from birefnet_export.verify.logits import Array, mask_of_logits
from onnx import TensorProto

ALL = "all of them"
WEIGHTS = "weights"
OFFSETS = "Conv that predicts offsets"
MOVES = frozenset(("Concat", "Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze"))


def costs(model: onnx.ModelProto, images: Sequence[Array]) -> list[dict[str, Any]]:
    """One row a kind of operator, the dearest first; weights and everything at once among them."""
    kinds = kinds_of(model)
    names = sorted(set(kinds.values()))
    floats = float_values(model)
    exact, largest = largest_values(model, [images], WeightsInGraph())
    rows = []
    for kind in [ALL, WEIGHTS, *names]:
        of_kind = {name for name, found in kinds.items() if kind in (ALL, found)}
        changed = rounded(model, of_kind, weights=kind in (ALL, WEIGHTS))
        found = observe(changed, images).logits
        errors = [
            np.abs(mask_of_logits(a) - mask_of_logits(b)) for a, b in zip(found, exact, strict=True)
        ]
        values = [o for n in model.graph.node if n.name in of_kind for o in n.output if o in floats]
        rows.append(
            {
                "kind": kind,
                "nodes": len(of_kind),
                "mask_max_abs": float(max(e.max() for e in errors)),
                "mask_mean_abs": float(np.mean([e.mean() for e in errors])),
                "largest": max((largest.get(value, 0.0) for value in values), default=0.0),
            }
        )
    return sorted(rows, key=lambda row: -float(str(row["mask_mean_abs"])))


def kinds_of(model: onnx.ModelProto) -> dict[str, str]:
    """The kind of every node that computes floating-point values, by the node's name."""
    floats = float_values(model)
    readers = consumers(model)
    found = {}
    for node in model.graph.node:
        (*_, last) = node.output
        if last not in floats or node.op_type in MOVES or not readers[node.output[0]]:
            continue
        predicts = {reader.op_type for reader in readers[last]} == {"Split"}
        found[node.name] = OFFSETS if node.op_type == "Conv" and predicts else node.op_type
    return found


def rounded(model: onnx.ModelProto, chosen: Set[str], *, weights: bool) -> onnx.ModelProto:
    """The model with the results of the named nodes, and maybe all weights, rounded to float16."""
    work = Rewriting(model)
    floats = float_values(model)
    for node in work.nodes:
        inputs = {}
        for i, name in enumerate(node.input):
            if weights and name in floats and work.is_constant(name):
                values = work.array(name).astype(np.float16).astype(np.float32)
                inputs[i] = work.constant(f"{name}:rounded", values)
        copied = work.copy(node, inputs)
        if node.name in chosen:
            for i, name in enumerate(node.output):
                if name in floats:
                    copied.output[i] = f"{name}:exact"
                    half = work.emit("Cast", [f"{name}:exact"], f"{name}:fp16", to=_HALF)
                    work.emit("Cast", [half], name, to=TensorProto.FLOAT)
    return work.finished()


_HALF = TensorProto.FLOAT16


def main(arguments: Sequence[str]) -> None:
    """Print the rows for a float32 model and a folder of images, at SIZE x SIZE."""
    file, folder, size = arguments
    images = calibration_images(Path(folder), (int(size), int(size)))
    print(json.dumps(costs(onnx.load(file), images), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
