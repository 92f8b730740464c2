"""A run as Markdown: a document for a pull request, small tables for a README."""

import html
from collections.abc import Iterable, Sequence

from birefnet_models.base.text import (
    aligned,
    format_bytes,
    format_seconds,
    format_size,
    joined,
    printable,
)

from ..bench.results import BenchReport, ConfigurationResult, baseline_of
from ..errors import ReportError
from . import statistics, wording
from .columns import BRIEFLY, EVERYTHING, remarks, result_table
from .summary import Finding, findings, main_workloads, workloads

READING = f"""\
- Time is that of one run of the network, a tensor in host memory to logits in host memory; cold
  start is from the start of a process to its first answer. Each configuration ran in a process of
  its own.
- `~`: read with care. The interquartile range is more than {statistics.SPREAD_LIMIT:.0%} of the
  median, or other processes kept more than {statistics.OTHERS_LIMIT} cores busy meanwhile.
- time / baseline's: `0.50 x` is half the baseline's time. Runs are interleaved in rounds; it is the
  median over the rounds in which both ran. `*`: they share no round, so it is the ratio of two
  medians, and drift of the machine is in it.
- graph: the same tensor through both; largest difference of the logits, then of the mask in [0, 1].
- pipeline: the same image through both, from file to mask; largest difference in levels of 255,
  intersection over union of the masks cut at .5, the same of their edges alone; of several images
  the worst.
- differs: beyond the tolerances of the configuration's precision."""
MARKS = {"~": " ~: times varied, or the machine was busy.", " x*": " \\*: not interleaved."}
HEADLINE_SETUPS = {
    "PyTorch (eager, float32)": ("pytorch", "eager", "fp32", "cpu"),
    "ONNX Runtime, float32": ("onnxruntime", "rows", "fp32", "cpu"),
    "ONNX Runtime, int8": ("onnxruntime", "rows", "int8", "cpu"),
}
"""Rows of `headline_table`: backend, variant, precision and provider by a newcomer's name."""


def document(report: BenchReport) -> str:
    """The whole run: summary, a table for each workload, notes, how to read it."""
    groups = workloads(report)
    models = list(dict.fromkeys(model for model, *_ in groups))
    parts = [f"# {joined([*map(escaped, models)]) if models else 'Nothing'}, measured"]
    parts.append(run_caption(report))
    for workload in main_workloads(report):
        parts.append(f"{escaped(wording.workload_name(workload))}:")
        parts.append("\n".join(f"- {_finding(one)}" for one in findings(groups[workload])))
    for workload, results in groups.items():
        heads, rows = result_table(EVERYTHING, results)
        parts += [f"## {escaped(wording.workload_name(workload))}", lines(heads, rows)]
        parts += _bullets(remarks(results))
    if report.notes:
        parts += ["## Notes", *_bullets(report.notes)]
    return "\n\n".join([*parts, "## How to read this", READING]) + "\n"


def run_caption(report: BenchReport) -> str:
    """Where and when, in one line."""
    environment = report.environment
    memory = f"{format_bytes(environment.memory_bytes)}, " if environment.memory_bytes else ""
    return escaped(
        f"{wording.machine(report)}, {memory}{environment.system}; "
        f"{wording.versions_line(report)}; "
        f"{report.started.partition('T')[0]}, {format_seconds(report.took_s)} in all."
    )


def summary_table(report: BenchReport) -> str:
    """A table for a README: the main workload of each model, and one line below.

    Without a line end, so that more can follow.
    """
    groups, chosen = workloads(report), main_workloads(report)
    results = [result for workload in chosen for result in groups[workload]]
    several = ("model", "size") if len(chosen) > 1 else ()
    text = lines(*result_table((*several, *BRIEFLY), results))
    names = "; ".join(escaped(wording.workload_name(workload)) for workload in chosen)
    marks = "".join(meaning for mark, meaning in MARKS.items() if escaped(mark) in text)
    return f"{text}\n\n{names}. {_origin(report)}{marks}"


def summary_text(report: BenchReport) -> str:
    """The same for a terminal: columns without markup, then what the marks mean, and failures."""
    groups, chosen = workloads(report), main_workloads(report)
    results = [result for workload in chosen for result in groups[workload]]
    several = ("model", "size") if len(chosen) > 1 else ()
    heads, rows = result_table((*several, *BRIEFLY), results)
    names = "; ".join(wording.workload_name(workload) for workload in chosen)
    cells = [cell for row in rows for cell in row]
    marks = "".join(text for mark, text in MARKS.items() if any(mark in cell for cell in cells))
    origin = f"{wording.machine(report)}; {wording.versions_line(report)}."
    last = f"{names}. {origin}{marks}".replace("\\*", "*")
    return "\n".join(map(printable, [*aligned([heads, *rows]), "", last]))


def headline_table(report: BenchReport) -> str:
    """Three rows for the top of a README: PyTorch, ONNX Runtime, ONNX Runtime in int8.

    They are taken from the main workload of the first model (of `lite` that at 1024 x 1024). A
    configuration that the report lacks, or that failed, has no row. One line below says where the
    numbers were measured; without a line end, so that more can follow.

    Raises:
        ReportError: the report has none of the three.
    """
    chosen = main_workloads(report)[:1]
    results = workloads(report)[chosen[0]] if chosen else []
    timed = {r.configuration.setup: r for r in results if statistics.times_s(r)}
    rows = [
        (name, *_headline_cells(timed[setup], results))
        for name, setup in HEADLINE_SETUPS.items()
        if setup in timed
    ]
    if not rows:
        raise ReportError(f"the report has none of {joined([*HEADLINE_SETUPS])}")
    model, size, batch, threads = chosen[0]
    heads = (
        f"{escaped(model)} on the CPU",
        f"median time of one {format_size(size)} image",
        "time relative to PyTorch, median of the rounds",
        "peak memory of the process",
        "largest error of the mask, of 255 gray levels",
    )
    where = f"Batch {batch}, {threads} threads; {_origin(report)}"
    return f"{lines(heads, rows)}\n\n{where}"


def _headline_cells(
    result: ConfigurationResult, results: Sequence[ConfigurationResult]
) -> tuple[str, ...]:
    timing, worst = statistics.timing(result), statistics.worst_parity(result)
    baseline = baseline_of(result.configuration, results)
    ratio = statistics.median_ratio(result, baseline) if baseline else None
    error = wording.few_digits(worst.max_levels) if worst else ""
    return (
        format_seconds(timing.median_s) if timing else "",
        wording.multiple(ratio.value) if ratio else "1" if result.configuration.baseline else "",
        format_bytes(result.peak_rss_bytes) if result.peak_rss_bytes else "",
        "reference" if result.configuration.baseline else error,
    )


def _origin(report: BenchReport) -> str:
    return f"{escaped(wording.machine(report))}; {escaped(wording.versions_line(report))}."


def lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of plain text."""
    cells = [heads, ["---"] * len(heads), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def escaped(text: str) -> str:
    """Text as it is: no markup, no line breaks, nothing that would end a table's cell."""
    flat = html.escape(printable(" ".join(text.split())), quote=False)
    for character in "\\`*_[]|":
        flat = flat.replace(character, f"\\{character}")
    return flat


def _finding(finding: Finding) -> str:
    who = f" {escaped(finding.who)}." if finding.who else ""
    return f"{finding.title}: **{escaped(finding.figure)}**.{who} {escaped(finding.text)}"


def _bullets(texts: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {escaped(text)}" for text in texts)] if texts else []
