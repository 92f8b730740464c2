"""What birefnet-ort-kernels gains: `python -m studies.deform_conv.kernels FILE MODEL...`.

Nodes alone, and whole models, without the kernels and with them: in turns in one process, by the
processor's seconds, whose ratios hold on a shared machine, too. Memory is that of a process of its
own. The records go to FILE with the environment. The wheel has to be installed (`make kernels`).
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.text import format_bytes
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.plugins import plugin_devices, plugin_of
from birefnet_runtime.session.providers import EXECUTION_PROVIDER, Cpu

from studies.graphs.graph_row import GraphRow
from studies.processes import run_graph
from studies.tables import table_lines

KERNELS = ((1, 1), (3, 3), (1, 7), (7, 7))
SIDES = (64, 128, 256)
CHANNELS, OUTPUTS = 64, 256
PATHS: dict[str, dict[str, str] | None] = {
    "onnxruntime": None,
    "fp32 avx512": {"int8": "0", "path": "avx512"},
    "fp32 avx2": {"int8": "0", "path": "avx2"},
    "int8 avx512-vnni": {"int8": "1", "path": "avx512-vnni"},
    "int8 avx-vnni": {"int8": "1", "path": "avx-vnni"},
    "int8 avx2": {"int8": "1", "path": "avx2"},
}
"""What a node is computed with; a path that the processor lacks is left out."""
SIZES = (512, 1024)


@dataclass(frozen=True, slots=True)
class Turns:
    """Runs of several, one after the other in each round: seconds of the processor and of the
    clock."""

    processor_s: dict[str, list[float]]
    clock_s: dict[str, list[float]]

    def ratio(self, name: str, to: str) -> float:
        """Of processor time, the median of the rounds."""
        pairs = zip(self.processor_s[name], self.processor_s[to], strict=True)
        return median(one / other for one, other in pairs)


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> Turns:
    """Run all in each round, after one that isn't counted."""
    turns = Turns({name: [] for name in runs}, {name: [] for name in runs})
    for index in range(rounds + 1):
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            if index:
                turns.processor_s[name].append(time.process_time() - processor)
                turns.clock_s[name].append(time.perf_counter() - clock)
    return turns


def node_records(rounds: int = 7) -> list[dict[str, Any]]:
    """A node of each kernel at each size of map, on one core."""
    records = []
    for kernel in KERNELS:
        for side in SIDES:
            model, feed = _node(kernel, side)
            sessions = {name: _node_session(model, options) for name, options in PATHS.items()}
            runs = {
                name: partial(session.run, None, feed)
                for name, session in sessions.items()
                if session is not None
            }
            turns = in_turns(runs, rounds)
            records.append({"kernel": kernel, "side": side, **asdict(turns)})
            print(_node_row(records[-1]), file=sys.stderr, flush=True)
    return records


def whole_records(
    file: Path, threads: int, sizes: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """A model without the kernels and with them, at each size."""
    properties = ModelFile(file).graph.properties
    facts = {
        key: properties.get(METADATA_PREFIX + key) for key in ("backbone", "lowering", "precision")
    }
    records = []
    for size in sizes:
        image = np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)
        runs = {}
        for name, record in (
            ("plain", Cpu(kernels="off", spin=False)),
            ("kernels", Cpu(kernels="on", spin=False)),
        ):
            session = open_session(file, providers=record, threads=threads, accepted=False)
            feed = {session.get_inputs()[0].name: image}
            runs[name] = partial(session.run, None, feed)
        turns = in_turns(runs, rounds)
        del runs, session
        peaks = {
            name: run_graph(
                GraphRow(str(file), (size, size), cpu={"kernels": kernels}, runs=1)
            ).get("peak_rss_bytes")
            for name, kernels in (("plain", "off"), ("kernels", "on"))
        }
        row = {**facts, "size": size, "threads": threads, **asdict(turns), "peak_rss_bytes": peaks}
        print(_whole_row(row), file=sys.stderr, flush=True)
        records.append(row)
    return records


def _node(kernel: tuple[int, int], side: int) -> tuple[bytes, dict[str, Any]]:
    """A DeformConv behind a ReLU, and what it reads."""
    from onnx import TensorProto, helper, numpy_helper

    random, taps = np.random.default_rng(0), kernel[0] * kernel[1]
    weight = random.standard_normal((OUTPUTS, CHANNELS, *kernel), np.float32) * np.float32(0.05)
    feed = {
        "x": np.maximum(random.standard_normal((1, CHANNELS, side, side), np.float32), 0),
        "offset": random.standard_normal((1, 2 * taps, side, side), np.float32) * 2,
        "mask": random.random((1, taps, side, side), np.float32),
    }
    node = helper.make_node(
        "DeformConv", ["x", "weight", "offset", "", "mask"], ["y"], kernel_shape=kernel,
        pads=[kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2],
    )  # fmt: skip
    values = [helper.make_tensor_value_info(key, TensorProto.FLOAT, [None] * 4) for key in feed]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [node], "node", values, [result], [numpy_helper.from_array(weight, "weight")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return model.SerializeToString(), feed


def _node_session(model: bytes, options: Mapping[str, str] | None) -> Any | None:
    """On one core; None where the processor has no such path."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    if options is not None:
        plugin = plugin_of("birefnet")
        assert plugin, "birefnet-ort-kernels isn't installed"
        devices = plugin_devices(plugin, EXECUTION_PROVIDER["birefnet"])
        settings.add_provider_for_devices(devices, dict(options))
    try:
        return onnxruntime.InferenceSession(model, settings)
    except Exception as error:
        if "no path" not in str(error):
            raise
        return None


def _node_row(record: Mapping[str, Any]) -> list[str]:
    turns = Turns(record["processor_s"], record["clock_s"])
    kernel = " x ".join(map(str, record["kernel"]))
    cells = [kernel, f"{record['side']}²"]
    for name in PATHS:
        if name not in turns.processor_s:
            cells.append("")
            continue
        fastest = min(turns.processor_s[name]) * 1000
        cells.append(f"{fastest:.3g} ({turns.ratio(name, 'onnxruntime'):.2f})")
    return cells


def _whole_row(record: Mapping[str, Any]) -> list[str]:
    turns = Turns(record["processor_s"], record["clock_s"])
    peaks = [format_bytes(record["peak_rss_bytes"][name] or 0) for name in ("plain", "kernels")]
    seconds = [f"{min(turns.processor_s[name]):.3g}" for name in ("plain", "kernels")]
    facts = [str(record[key]) for key in ("backbone", "lowering", "precision", "size", "threads")]
    return [*facts, *seconds, f"{turns.ratio('kernels', 'plain'):.2f}", *peaks]


def markdown_table(stored: Mapping[str, Any]) -> str:
    """Both tables, from the content of a results file."""
    heads = ("kernel", "map", *PATHS)
    lines = table_lines(heads, [_node_row(record) for record in stored["nodes"]])
    heads = ("backbone", "lowering", "precision", "size", "threads", "plain, s", "kernels, s")
    heads = (*heads, "ratio", "plain, peak RSS", "kernels, peak RSS")
    lines += ["", *table_lines(heads, [_whole_row(record) for record in stored["models"]])]
    machine = stored["environment"]
    lines += [
        "",
        f"Processor seconds, milliseconds for nodes ({CHANNELS} to {OUTPUTS} channels, one core), "
        "the fastest of several rounds, and the median ratio to ONNX Runtime's own in the same "
        f"round. {machine['processor']}, onnxruntime {machine['packages']['onnxruntime']}; "
        f"load {stored['load']} at the end.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure the nodes, and every model named behind the results file."""
    output, *models = map(Path, arguments)
    stored = {
        "environment": asdict(read_environment()),
        "kernels": getattr(plugin_of("birefnet"), "version", "").strip(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "nodes": node_records(),
        "models": [
            record
            for model in models
            for record in whole_records(model, usable_cores(), SIZES, rounds=4)
        ],
    }
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
