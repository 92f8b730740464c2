"""A run as Markdown: a document for a pull request, a small table for a README."""

import html
from collections.abc import Sequence

from birefnet_runtime.units import format_bytes, format_seconds

from ..bench.results import Outcome, Report
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
