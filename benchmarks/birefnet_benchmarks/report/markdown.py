"""A run as Markdown: a document for a pull request, a small table for a README."""

import html
from collections.abc import Sequence

from birefnet_runtime.model.input_size import format_size
from birefnet_runtime.units import format_bytes, format_seconds

from ..bench.results import Outcome, Report, baseline_of
from ..errors import ReportError
from . import statistics as figures
from . import wording
from .columns import BRIEFLY, EVERYTHING, MODEL, SIZE, Column, remarks, table
from .summary import Finding, cases, findings, main_cases

READING = f"""\
- Time is that of one run of the network, a tensor in host memory to logits in host memory; cold
  start is from the start of a process to its first answer. Each row ran in a process of its own.
- `~`: read with care. The interquartile range is more than {figures.SPREAD_LIMIT:.0%} of the
  median, or others kept more than {figures.OTHERS_LIMIT} cores busy meanwhile.
- time / baseline's: `0.50 x` is half the baseline's time. Rows take turns; it is the median over
  the rounds that a row shares with the baseline. `*`: they share none, so it is the ratio of two
  medians, and drift is in it.
- graph: the same tensor through both; largest difference of the logits, then of the mask in [0, 1].
- pipeline: the same picture through both, from file to mask; largest difference in levels of 255,
  intersection over union of the masks cut at .5, the same of their edges alone; of several pictures
  the worst.
- differs: beyond the tolerances of the row's precision."""
MARKS = {"~": " ~: times varied, or the machine was busy.", " x*": " \\*: not taken in turn."}


def document(report: Report) -> str:
    """The whole run: what it found, a table for each case, notes, how to read it."""
    found = cases(report)
    models = list(dict.fromkeys(model for model, *_ in found))
    parts = [f"# {wording.listed(map(plain, models)) if models else 'Nothing'}, measured"]
    parts.append(caption(report))
    for case in main_cases(report):
        parts.append(f"{plain(wording.case_name(case))}:")
        parts.append("\n".join(f"- {_found(each)}" for each in findings(found[case])))
    for case, outcomes in found.items():
        parts += [f"## {plain(wording.case_name(case))}", lines(EVERYTHING, outcomes)]
        parts += _bullets(remarks(outcomes))
    if report.notes:
        parts += ["## Notes", *_bullets(report.notes)]
    return "\n\n".join([*parts, "## How to read this", READING]) + "\n"


def caption(report: Report) -> str:
    """Where and when, in one line."""
    environment = report.environment
    return plain(
        f"{wording.machine(report)}, {format_bytes(environment.memory_bytes)}, "
        f"{environment.system}; {wording.versions(report)}; "
        f"{report.started.partition('T')[0]}, {format_seconds(report.took_s)} in all."
    )


def summary_table(report: Report) -> str:
    """For a README: of each model the case that says most, one row a way, and one line below.

    Without a line's end, so that more can follow.
    """
    found, chosen = cases(report), main_cases(report)
    outcomes = [outcome for case in chosen for outcome in found[case]]
    several = (MODEL, SIZE) if len(chosen) > 1 else ()
    text = lines((*several, *BRIEFLY), outcomes)
    settings = "; ".join(plain(wording.case_name(case)) for case in chosen)
    marks = "".join(said for mark, said in MARKS.items() if plain(mark) in text)
    return (
        f"{text}\n\n{settings}. {plain(wording.machine(report))}; "
        f"{plain(wording.versions(report))}.{marks}"
    )


HEADLINE_SETUPS = {
    "PyTorch (eager, float32)": ("pytorch", "eager", "fp32", "cpu"),
    "ONNX Runtime, float32": ("onnxruntime", "rows", "fp32", "cpu"),
    "ONNX Runtime, int8": ("onnxruntime", "rows", "int8", "cpu"),
}
"""Rows of `headline_table`: backend, variant, precision and provider by what a newcomer calls it."""


def headline_table(report: Report) -> str:
    """Three rows for the top of a README: PyTorch, ONNX Runtime, ONNX Runtime in int8.

    They are taken from the workload of the first model in which most was measured (of `lite` that
    at 1024 x 1024). A configuration that the report lacks, or that failed, has no row. One line
    below says where the numbers were taken; no line end, so that more can follow.

    Raises:
        ReportError: the report has none of the three.
    """
    chosen = main_cases(report)[:1]
    outcomes = cases(report)[chosen[0]] if chosen else []
    known = {outcome.row.way: outcome for outcome in outcomes if figures.times_s(outcome)}
    rows = [
        (name, *_headline_cells(known[setup], outcomes))
        for name, setup in HEADLINE_SETUPS.items()
        if setup in known
    ]
    if not rows:
        raise ReportError(f"the report has none of {wording.listed(HEADLINE_SETUPS)}")
    model, size, _, _ = chosen[0]
    heads = (
        f"{model} on the CPU",
        f"median time of one {format_size(size)} image",
        "time relative to PyTorch",
        "peak memory of the process",
        "largest error of the mask, of 255 gray levels",
    )
    table_lines = (heads, ("---",) * len(heads), *rows)
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in table_lines)
    return f"{text}\n\n{plain(wording.machine(report))}; {plain(wording.versions(report))}."


def _headline_cells(outcome: Outcome, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    timing, found = figures.timing(outcome), figures.pipeline(outcome)
    baseline = baseline_of(outcome.row, outcomes)
    ratio = figures.ratio(outcome, baseline) if baseline else None
    error = wording.few_digits(found.max_levels) if found else ""
    return (
        format_seconds(timing.median_s) if timing else "",
        wording.multiple(ratio.value) if ratio else "1" if outcome.row.baseline else "",
        format_bytes(outcome.peak_rss_bytes) if outcome.peak_rss_bytes else "",
        "reference" if outcome.row.baseline else error,
    )


def lines(columns: Sequence[Column], outcomes: Sequence[Outcome]) -> str:
    """The rows as a Markdown table."""
    heads, rows = table(columns, outcomes)
    cells = [heads, ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def plain(text: str) -> str:
    """Text as it is: no markup, no line breaks, nothing that would end a table's cell."""
    flat = html.escape(" ".join(text.split()), quote=False)
    for character in "\\`*_[]|":
        flat = flat.replace(character, f"\\{character}")
    return flat


def _found(finding: Finding) -> str:
    who = f" {plain(finding.who)}." if finding.who else ""
    return f"{finding.title}: **{plain(finding.figure)}**.{who} {plain(finding.text)}"


def _bullets(texts: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {plain(text)}" for text in texts)] if texts else []
