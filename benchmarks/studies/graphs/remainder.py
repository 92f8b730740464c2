"""What is neither product nor convolution: `python -m studies.graphs.remainder FILE`.

Lite's graph at 1024 x 1024, generated weights: how long each kind of operator takes, what share of
the roofline the whole reaches (also general's), and what other ways to write a part would cost,
each in turns with the graph as it is exported. In int8 the operators' times are those of the graph
that is calibrated.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_export import export_onnx
from birefnet_export.graph.builder import Graph, Value
from birefnet_export.graph.fused.backbone import swin_v1, windows
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import after, concat, conv
from birefnet_export.graph.lowering import native
from birefnet_export.graph.lowering import rows as rows_of_taps
from birefnet_export.network import nn
from birefnet_export.network.backbone.swin_v1 import MASKED
from birefnet_models.base.text import format_bytes, format_seconds

from studies.graphs.golden_checkpoints import write_checkpoint
from studies.graphs.graph_row import GraphRow, roofline_share
from studies.processes import run_graph
from studies.tables import table_lines

SIZE = (1024, 1024)
INT8 = "int8, calibrated"
PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
RUNS = 4
TURNS = 7
"""Of each variant with the graph as it is exported. They differ by less than runs do, so what is
compared is the sum of the nodes' medians."""
TIMES = "import sys; from studies.graphs.remainder import operator_times as t; t(*sys.argv[1:])"
Record = dict[str, Any]


def biases_in_gemm(g: Graph, x: Value, layer: nn.Linear) -> Value:
    """`layers.linear` by `Gemm`, which adds the bias itself but knows matrices alone."""
    if not layer.has_bias:
        return x @ layer.weight.T
    flat = x.reshape([-1, layer.in_features])
    product = g.op("Gemm", flat, layer.weight.T, layer.bias)
    return product.reshape(concat(g, [g.op("Shape", x, end=2), [layer.out_features]], 0))


def in_two_parts(g: Graph, x: Value, predict: Kernel, kernel: Kernel) -> Value:
    """`lowering.rows` with a `DeformConv` for the upper four rows of taps and one for the others.

    It saves five of six sums of maps, and takes a buffer of four rows instead of one.
    """
    side = kernel.weight.shape[-1]
    if side < rows_of_taps.SMALLEST:
        return native.deform_conv(g, x, predict, kernel)
    rows = [side // 2 + 1, side // 2]
    bias = predict.bias.copy()
    for part, first in ((0, 0), (1, rows[0])):
        # The middle of these rows, as DeformConv pads them, lies elsewhere than the kernel's.
        moved = first + rows[part] // 2 - side // 2
        bias[2 * side * first : 2 * side * (first + rows[part]) : 2] += moved
    predicted = conv(g, x, Kernel(predict.weight, bias))
    taps = [side * count for count in rows]
    *offsets, logits = g.ops(
        "Split", 3, predicted, [*(2 * count for count in taps), side * side], axis=1
    )
    modulations = g.ops("Split", 2, g.op("Sigmoid", logits), taps, axis=1)
    total: Value | None = None
    for place, weight in enumerate(np.split(kernel.weight, rows[:1], 2)):
        part_kernel = Kernel(weight, kernel.bias if place == 0 else 0 * kernel.bias)
        offset = offsets[place] if total is None else after(g, total, offsets[place], 2)
        done = native.deform_conv_node(g, x, part_kernel, offset, modulations[place])
        total = done if total is None else total + done
    assert total is not None
    return total


VARIANTS: dict[str, Callable[[], Any]] = {
    "masked scores of -100, as upstream's": lambda: mock.patch.object(windows, "MASKED", MASKED),
    "biases of linear layers in Gemm": lambda: mock.patch.object(swin_v1, "linear", biases_in_gemm),
    "7 x 7 taps in two parts": lambda: mock.patch.object(rows_of_taps, "deform_conv", in_two_parts),
    "feed-forward layers whole": lambda: mock.patch.object(
        swin_v1, "backbone", _whole_backbone(swin_v1.backbone)
    ),
}
"""What stands elsewhere in the graph, by what it is."""


def _whole_backbone(backbone: Callable[..., Any]) -> Callable[..., Any]:
    def whole(*arguments: Any, quartered: int = 0) -> Any:
        return backbone(*arguments, quartered=0)

    return whole


def operator_times(*files: str) -> None:
    """Print milliseconds by kind of operator of each graph; in a process of its own.

    Graphs take turns; a node counts with the median of its runs after the first.
    """
    import onnxruntime
    from birefnet_runtime.machine import usable_cores

    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for number, file in enumerate(files):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = usable_cores()
            options.log_severity_level = 3
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, str(number)))
            providers = ["CPUExecutionProvider"]
            sessions.append(onnxruntime.InferenceSession(file, options, providers=providers))
        image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)
        for _ in range(TURNS + 1):
            for session in sessions:
                session.run(None, {session.get_inputs()[0].name: image})
        print(json.dumps([_by_kind(Path(session.end_profiling())) for session in sessions]))


def _by_kind(profile: Path) -> dict[str, float]:
    """Milliseconds by kind of operator, longest first, from ONNX Runtime's profile."""
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"] / 1e3)
    kinds: dict[str, float] = defaultdict(float)
    for (kind, _), taken in nodes.items():
        kinds[kind] += median(taken[1:])
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def sampling_times() -> dict[str, float]:
    """Milliseconds of a row of lite's largest `DeformConv`, by how many maps come out of it.

    With one map it is the sampling that takes the time, with 256 there is the product as well.
    """
    import numpy as np
    from birefnet_runtime.session.open import open_session

    random = np.random.default_rng(0)
    taps, channels, side = 7, 64, 256
    shapes = ((channels, side, side), (2 * taps, side, side), (taps, side, side))
    maps = [random.random((1, *shape), np.float32) for shape in shapes]
    found = {}
    for outputs in (1, 256):
        g = Graph(20)
        weight = random.standard_normal((outputs, channels, 1, taps))
        kernel = Kernel(weight, np.zeros(outputs))
        x, offset, modulation = (
            g.input(name, [1, *shape])
            for name, shape in zip(("x", "offset", "modulation"), shapes, strict=True)
        )
        done = native.deform_conv_node(g, x, kernel, offset, modulation)
        g.output("y", [1, outputs, side, side], done)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "row.onnx")
            file.write_bytes(g.model().SerializeToString())
            session = open_session(file)
        taken = []
        for _ in range(TURNS + 1):
            started = time.perf_counter()
            session.run(None, dict(zip(("x", "offset", "modulation"), maps, strict=True)))
            taken.append(time.perf_counter() - started)
        found[str(outputs)] = 1e3 * median(taken[1:])
    return found


def times_of(*files: str) -> list[dict[str, float]]:
    """`operator_times` of graphs."""
    done = subprocess.run(
        [sys.executable, "-c", TIMES, *files], stdout=subprocess.PIPE, text=True, check=True
    )
    times: list[dict[str, float]] = json.loads(done.stdout)
    return times


@contextmanager
def exported(checkpoint: Path, **options: Any) -> Iterator[str]:
    """The file of an export, for as long as it is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        report = export_onnx(checkpoint, Path(folder), trained_size=SIZE, verify=False, **options)
        yield os.fspath(report.file)


def beside(file: str, other: str) -> Record:
    """Operators of the graph as it is exported and of another, and the other's memory."""
    as_exported, others = times_of(file, other)
    measured = run_graph(GraphRow(other, SIZE, runs=1))
    return {
        "as_exported_ms": as_exported,
        "operators_ms": others,
        "peak_rss_bytes": measured["peak_rss_bytes"],
    }


def measure(folder: Path) -> Record:
    """Everything, as the results file has it."""
    lite = write_checkpoint(folder, "swin_v1_t")
    stored: Record = {"variants": {}, "deform_conv_ms_by_maps": sampling_times()}
    with exported(lite) as file:
        stored["lite"] = run_graph(GraphRow(file, SIZE, runs=RUNS, checkpoint=str(lite)))
        for name, patch in VARIANTS.items():
            with patch(), exported(lite) as other:
                stored["variants"][name] = beside(file, other)
        with exported(lite, precision="int8", calibrate=PHOTOS, min_iou=0) as other:
            stored["variants"][INT8] = beside(file, other)
    general = write_checkpoint(folder, "swin_v1_l")
    with exported(general) as file:
        stored["general"] = run_graph(GraphRow(file, SIZE, runs=2, checkpoint=str(general)))
    return stored


def ratio(record: Record) -> float:
    """A variant's time in that of the graph as it is exported."""
    other, own = (sum(record[key].values()) for key in ("operators_ms", "as_exported_ms"))
    return float(other / own)


def markdown_table(stored: Record) -> str:
    """Operators, then what else was tried, from the content of a results file."""
    int8 = stored["variants"][INT8]
    columns = [int8["as_exported_ms"], int8["operators_ms"]]
    kinds = list(dict.fromkeys([*columns[0], *columns[1]]))
    cells = []
    for kind in kinds:
        shares = [times.get(kind, 0) / sum(times.values()) for times in columns]
        if max(shares) >= 0.01:
            shown = [
                f"{times[kind]:.0f} ms ({share:.1%})" if kind in times else ""
                for times, share in zip(columns, shares, strict=True)
            ]
            cells.append((kind, *shown))
    lines = [*table_lines(("operator", "float32", "int8"), cells), ""]
    rows = [("as exported", "1", "", format_bytes(stored["lite"]["peak_rss_bytes"]))]
    for name, record in stored["variants"].items():
        attention = [record[key]["Attention"] for key in ("as_exported_ms", "operators_ms")]
        rows.append(
            (
                name,
                f"{ratio(record):.3f}",
                f"{attention[1] / attention[0]:.2f}",
                format_bytes(record["peak_rss_bytes"]),
            )
        )
    lines += table_lines(("lite, otherwise", "of its time", "`Attention` alone", "peak RSS"), rows)
    environment = stored["environment"]
    lines += [
        "",
        f"Shares of the roofline: lite {roofline_share(stored['lite']):.2f}, general "
        f"{roofline_share(stored['general']):.2f}; lite takes "
        f"{format_seconds(median(stored['lite']['times_s']))} at 1024x1024. A row of its largest "
        f"`DeformConv` takes {stored['deform_conv_ms_by_maps']['256']:.0f} ms, of which "
        f"{stored['deform_conv_ms_by_maps']['1']:.0f} go into sampling. Generated weights, "
        f"lowering rows, batch 1, {stored['lite']['threads']} threads. "
        f"{environment['processor']}, {environment['cores']} cores, "
        f"{', '.join(stored['instructions'])}; onnxruntime "
        f"{environment['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    from birefnet_runtime.machine import read_processor

    (output,) = arguments
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    stored = {
        "environment": asdict(read_environment()),
        "instructions": list(read_processor().features),
        **measured,
    }
    write_results(Path(output), stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
