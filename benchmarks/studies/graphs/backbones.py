"""What each backbone costs on a CPU: `python -m studies.graphs.backbones FILE`.

Generated checkpoints of several backbones are exported, and each graph runs at each size in a
process of its own: alone first, for its memory, then in turns with lite's graph and with PyTorch.
PyTorch's memory is that of one more process. FILE gets what a user who chooses a backbone wants to
know; `--sizes` and `--backbones` bound a trial.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import export_by_command
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds, format_size

from studies.graphs.golden_checkpoints import write_checkpoint
from studies.graphs.graph_row import GraphRow, roofline_share
from studies.processes import run_graph
from studies.tables import table_lines

LITE = "swin_v1_t"
"""The backbone of the released `lite`, which the others are compared with."""
BACKBONES = (LITE, "pvt_v2_b0", "pvt_v2_b2", "dino_v3_s", "dino_v3_b")
RUNS = 2
PYTORCH = "import sys; from studies.graphs.backbones import pytorch; pytorch(*sys.argv[1:])"
Record = dict[str, Any]


def measure(backbones: Sequence[str], sizes: Sequence[int], folder: Path) -> list[Record]:
    """A record of `graph_row` for each backbone and size, with PyTorch's peak of memory."""
    checkpoints = {name: write_checkpoint(folder, name) for name in backbones}
    files = {
        name: export_by_command(checkpoint, folder / f"{name}-onnx")["file"]
        for name, checkpoint in checkpoints.items()
    }
    records = []
    for side in sizes:
        for name in backbones:
            rival = None if name == LITE else files.get(LITE)
            checkpoint = str(checkpoints[name])
            graph = GraphRow(
                files[name], (side, side), runs=RUNS, checkpoint=checkpoint, rival=rival
            )
            measured = run_graph(graph)
            command = (sys.executable, "-c", PYTORCH, checkpoint, str(side))
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            records.append({"backbone": name, **measured, **json.loads(done.stdout)})
    return records


def pytorch(checkpoint: str, side: str) -> None:
    """Run the plain module once and print this process's peak; in a process of its own."""
    import torch
    from birefnet_benchmarks.bench.backends.pytorch import eager
    from birefnet_runtime.machine import peak_rss_bytes, usable_cores

    eager(Path(checkpoint), usable_cores())(torch.zeros(1, 3, int(side), int(side)).numpy())
    print(json.dumps({"pytorch_peak_rss_bytes": peak_rss_bytes()}))


def condensed(record: Mapping[str, Any]) -> Record:
    """Time, memory and share of the roofline of a graph, beside PyTorch and beside lite."""
    own = median(record["times_s"])
    return {
        "backbone": record["backbone"],
        "size": record["row"]["size"],
        "median_s": own,
        "peak_rss_bytes": record["peak_rss_bytes"],
        "multiply_adds": record["multiply_adds"],
        "roofline_share": roofline_share(record),
        "of_lite": _ratio(record, "beside_rival_s", "rival_s") if "rival_s" in record else 1.0,
        "pytorch_s": median(record["pytorch_s"]),
        "of_pytorch": _ratio(record, "paired_s", "pytorch_s"),
        "pytorch_peak_rss_bytes": record["pytorch_peak_rss_bytes"],
    }


def _ratio(record: Mapping[str, Any], mine: str, theirs: str) -> float:
    """The median over the turns of one's time in another's."""
    pairs = zip(record[mine], record[theirs], strict=True)
    return float(median(one / other for one, other in pairs))


def markdown_table(stored: Record) -> str:
    """A row a backbone and size, and what it was measured on, from the content of the file."""
    cells = [
        (
            row["backbone"],
            format_size(tuple(row["size"])),
            format_seconds(row["median_s"]),
            f"{row['of_lite']:.2f}",
            f"{row['of_pytorch']:.2f}",
            format_bytes(row["peak_rss_bytes"]),
            format_bytes(row["pytorch_peak_rss_bytes"]),
            f"{row['multiply_adds'] / 1e9:.0f} G",
            f"{row['roofline_share']:.2f}",
        )
        for row in map(condensed, (each for each in stored["records"] if "error" not in each))
    ]
    heads = (
        *("backbone", "size", "time", "of lite's", "of PyTorch's", "peak RSS", "PyTorch's"),
        *("multiply-adds", "share of the roofline"),
    )
    environment = stored["environment"]
    packages = environment["packages"]
    caption = (
        f"Generated weights, float32, batch 1, {stored['records'][0]['threads']} threads; lite is "
        f"{LITE}. {environment['processor']}, {environment['cores']} cores, "
        f"{', '.join(stored['instructions'])}; onnxruntime {packages['onnxruntime']}, torch "
        f"{packages['torch']}."
    )
    return "\n".join([*table_lines(heads, cells), "", caption])


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    from birefnet_runtime.machine import read_processor

    parser = argparse.ArgumentParser(prog="studies.graphs.backbones")
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", default="512,1024")
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [int(size) for size in asked.sizes.split(",")]
        records = measure(asked.backbones.split(","), sizes, Path(folder))
    stored = {
        "environment": asdict(read_environment()),
        "instructions": read_processor().features,
        "records": records,
    }
    write_results(asked.file, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
