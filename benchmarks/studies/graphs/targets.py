"""The table of targets: `python -m studies.graphs.targets FILE LITE SWIN_L`.

LITE and SWIN_L are checkpoints of Swin T and L. Every row is a process of its own; comparisons are
interleaved within one. Numbers go to FILE with the environment; bad ones are not left out.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import export_by_command
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds

from studies.graphs.graph_row import GraphRow
from studies.processes import can_limit, run_command, run_graph
from studies.tables import table_lines

GIGABYTE = 1_000_000_000
GROWTH_SIZES = (256, 512, 768, 1024, 1536, 2048)
GROWTH_BATCHES = (1, 2, 4)
PHOTO = Path("examples/photos/flower.jpg")
ANY_MASK = ("--min-iou", "0")
"""Masks of generated weights are noise; `precision.json` has what int8 does to real ones."""
Record = dict[str, Any]


def measure(lite: Path, swin_l: Path) -> dict[str, Record]:
    """All rows by name, in the order of the table."""
    rows: dict[str, Record] = {}

    def note(name: str, record: Record) -> None:
        rows[name] = record
        print(name, {k: v for k, v in record.items() if k != "operators"}, file=sys.stderr)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = exports(lite, swin_l, folder)
        square = (1024, 1024)
        graph = GraphRow(files["lite"]["file"], square, checkpoint=str(lite))
        note("lite", run_graph(graph))
        large = GraphRow(files["swin_l"]["file"], square, runs=2, checkpoint=str(swin_l))
        note("swin_l", run_graph(large))
        for name, export_name, options in COMMANDS:
            note(name, cutout(files[export_name]["directory"], folder, *options))
        if can_limit():
            options = ("--size", "1024")
            limited = cutout(files["lite"]["directory"], folder, *options, limit=GIGABYTE)
            note("cutout within 1 GB", limited)
        fp32 = files["lite"]["file"]
        note("int8", run_graph(GraphRow(files["int8"]["file"], square, rival=fp32)))
        rows["int8"]["file_share"] = _share(files["int8"], files["lite"])
        if find_spec("onnxruntime_ep_openvino"):
            for precision in ("f32", "bf16"):
                for kind in ("lite", "gridsample"):
                    provider = f"openvino:{precision}"
                    openvino = GraphRow(files[kind]["file"], square, provider=provider, rival=fp32)
                    note(f"{provider} {kind}", run_graph(openvino))
        for size in GROWTH_SIZES:
            note(f"growth {size}", run_graph(GraphRow(fp32, (size, size), runs=2)))
        for batch in GROWTH_BATCHES:
            note(f"growth batch {batch}", run_graph(GraphRow(fp32, (512, 512), batch, runs=2)))
    return rows


COMMANDS = (
    ("cutout", "lite", ("--size", "1024")),
    ("cutout low", "lite external", ("--size", "1024", "--memory", "low")),
    ("cutout 2048", "lite", ("--size", "2048")),
    ("cutout SwinL", "swin_l", ("--size", "1024")),
)
"""Row, export, options of `birefnet cutout`."""


def exports(lite: Path, swin_l: Path, folder: Path) -> dict[str, Record]:
    """Reports of the exports that rows run, by name."""
    requests: dict[str, tuple[Path, tuple[str, ...]]] = {
        "lite": (lite, ()),
        "lite external": (lite, ("--external-data",)),
        "gridsample": (lite, ("--lowering", "gridsample")),
        "int8": (lite, ("--precision", "int8", "--calibrate", str(PHOTO.parent), *ANY_MASK)),
        "swin_l": (swin_l, ()),
    }
    return {
        name: export_by_command(checkpoint, folder / name, *options)
        for name, (checkpoint, options) in requests.items()
    }


def cutout(model: str, folder: Path, *options: str, limit: int | None = None) -> Record:
    """A cutout of a photograph as typed, in seconds and bytes of the whole command."""
    target = str(folder / "cutout.png")
    arguments = ("cutout", str(PHOTO), "-o", target, "-m", model, "--provider", "cpu", *options)
    done = asdict(run_command(*arguments, limit_bytes=limit))
    return {**done, "arguments": list(options)}


def _share(part: Record, whole: Record) -> float:
    return float(part["file_bytes"] / whole["file_bytes"])


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a straight line through the logarithms: values grow as sizes to its power."""
    x, y = [math.log(v) for v in sizes], [math.log(v) for v in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return slope / sum((a - mean_x) ** 2 for a in x)


def roofline_share(record: Record) -> float:
    """(2 x multiply-adds / time) / the machine's fp32 peak in the same process."""
    speed = 2 * record["multiply_adds"] / median(record["times_s"] + record["paired_s"])
    return float(speed / max(record["matmul_flops_per_s"]))


def ratio(record: Record, ours: str = "paired_s", theirs: str = "pytorch_s") -> float:
    """Median time of ours over that of theirs, interleaved."""
    return float(median(record[ours]) / median(record[theirs]))


def markdown_table(stored: dict[str, Any]) -> str:
    """The targets with what was measured, from the content of a results file."""
    rows: dict[str, Record] = stored["rows"]
    cells = []
    for label, target, name, read in TABLE:
        record = rows.get(name)
        if record is None:
            value = "not measured here"
        else:
            value = _reason(record["error"]) if "error" in record else read(record, rows)
        cells.append((label, target, value))
    lines = table_lines(("quantity", "target", "measured"), cells)
    return "\n".join([*lines, "", *_growth(rows), "", _caption(stored["environment"])])


def _reason(error: str) -> str:
    """The error of a failed row, without the exception's name."""
    return f"failed: {error.rpartition('Error: ')[2]}"


def _gigabytes(record: Record, _: dict[str, Record]) -> str:
    if record["exit_code"]:
        return f"failed: {record['said']}"
    return f"{record['peak_rss_bytes'] / 1e9:.2f} GB in {format_seconds(record['took_s'])}"


def _vs_default(record: Record, rows: dict[str, Record]) -> str:
    if record["exit_code"]:
        return f"failed: {record['said']}"
    times = record["took_s"] / rows["cutout"]["took_s"]
    return f"{record['peak_rss_bytes'] / 1e9:.2f} GB, {times:.2f} x the time"


def _fraction(record: Record) -> str:
    return f"1/{1 / ratio(record):.1f}"


def _int8(record: Record, _: dict[str, Record]) -> str:
    return (
        f"{ratio(record, theirs='rival_s'):.2f} of the time, {record['file_share']:.2f} of the file"
    )


TABLE: tuple[tuple[str, str, str, Callable[[Record, dict[str, Record]], str]], ...] = (
    ("lite: share of the roofline", ">= .70", "lite", lambda r, _: f"{roofline_share(r):.2f}"),
    ("lite: time against PyTorch eager", "<= 1/2.5", "lite", lambda r, _: _fraction(r)),
    ("lite: session creation", "<= 0.8 s", "lite", lambda r, _: format_seconds(r["load_s"])),
    ("lite: peak RSS of `birefnet cutout`", "<= 1.0 GB", "cutout", _gigabytes),
    ("lite: with `--memory low`", "<= 0.75 GB, 1.3 x", "cutout low", _vs_default),
    ("lite: at 2048 x 2048", "<= 3.2 GB", "cutout 2048", _gigabytes),
    ("lite: in a container of 1 GB", "runs", "cutout within 1 GB", _gigabytes),
    ("SwinL: peak RSS of `birefnet cutout`", "<= 2.5 GB", "cutout SwinL", _gigabytes),
    (
        "SwinL: share of the roofline",
        ">= .70",
        "swin_l",
        lambda r, _: f"{roofline_share(r):.2f}",
    ),
    ("SwinL: time against PyTorch eager", "", "swin_l", lambda r, _: _fraction(r)),
    ("int8 against fp32", "<= .70, <= .35", "int8", _int8),
    *(
        (
            f"OpenVINO {precision}, {kind}: time against our fp32",
            "<= .75" if precision == "bf16" else "",
            f"openvino:{precision} {kind}",
            lambda r, _: f"{ratio(r, theirs='rival_s'):.2f}, {format_bytes(r['peak_rss_bytes'])}",
        )
        for precision in ("bf16", "f32")
        for kind in ("lite", "gridsample")
    ),
)
"""Label, target, row, and how the row is read."""


def _growth(rows: dict[str, Record]) -> list[str]:
    """How lite's time and memory grow with the image, and with the batch."""
    cells = []
    found = {n: r for n, r in rows.items() if n.startswith("growth ") and "error" not in r}
    for name, record in found.items():
        batch = f"{record['row']['batch']} x 512" if "batch" in name else record["row"]["size"][0]
        seconds, peak = median(record["times_s"]), record["peak_rss_bytes"]
        cells.append((str(batch), format_seconds(seconds), format_bytes(peak)))
    lines = table_lines(("lite", "time", "peak RSS"), cells)
    sizes = [r for n, r in found.items() if "batch" not in n]
    if len(sizes) > 2:
        pixels = [math.prod(r["row"]["size"]) for r in sizes]
        power = exponent(pixels, [median(r["times_s"]) for r in sizes])
        lines += ["", f"Over the sizes, time grows as pixels to the power of {power:.2f}."]
    return lines


def _caption(machine: dict[str, Any]) -> str:
    versions = machine["packages"]
    return (
        f"Generated weights, 1024 x 1024 and batch 1 unless said otherwise, settings `balanced`. "
        f"{machine['processor']}, {machine['cores']} threads, "
        f"onnxruntime {versions['onnxruntime']}."
    )


def main(arguments: Sequence[str]) -> None:
    """Measure both checkpoints and write the results file."""
    output, lite, swin_l = map(Path, arguments)
    stored = {"environment": asdict(read_environment()), "rows": measure(lite, swin_l)}
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
