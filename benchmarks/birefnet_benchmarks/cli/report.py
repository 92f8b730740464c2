"""`birefnet bench report` and `birefnet bench compare`."""

import json
import math
from pathlib import Path
from typing import Any

import click
from birefnet_models.base.files import replacing

from ..errors import ReportError

MARKDOWN_FILE = "report.md"
PAGE_FILE = "report.html"
TABLE_FILE = "report.csv"


class FiniteRange(click.FloatRange):
    """A float range without NaN, which compares as neither too small nor too large."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def write_documents(directory: Path) -> tuple[Path, ...]:
    """Make `report.md`, `report.html` and `report.csv` of a run's `report.json`; their paths.

    Raises:
        ReportError: the folder holds no report that can be read, or can't be written to.
    """
    from ..bench.results import read_report
    from ..report.html import page
    from ..report.markdown import document
    from ..report.spreadsheet import as_csv

    report = read_report(directory)
    texts = {
        MARKDOWN_FILE: document(report),
        PAGE_FILE: page(report, directory),
        TABLE_FILE: as_csv(report),
    }
    for name, text in texts.items():
        try:
            with replacing(directory / name) as unnamed:
                unnamed.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ReportError(f"{directory / name}: can't be written: {error.strerror}") from error
    return tuple(directory / name for name in texts)


@click.command(epilog="Example: birefnet bench report out/bench")
@click.argument(
    "directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
def report(directory: Path) -> None:
    """Write report.md, report.html and report.csv again from the report.json in DIR.

    Nothing is measured. The page is one file: it contains the pictures beside it.
    """
    for path in write_documents(directory):
        click.echo(path)


@click.command(epilog="Example: birefnet bench compare out/before out/after --threshold 10")
@click.argument("a", metavar="A", type=click.Path(path_type=Path, exists=True))
@click.argument("b", metavar="[B]", required=False, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--of",
    nargs=2,
    metavar="WORDS WORDS",
    help="Compare two configurations of your choice, one of A with one of B (or of A, too): words "
    "that only the one has, as --of native rows, or --of 'rows fp32' int8.",
)
@click.option(
    "--threshold",
    metavar="PERCENT",
    type=FiniteRange(0, 1_000_000),
    default=5.0,
    show_default=True,
    help="A configuration is slower if the whole interval of its ratio is beyond this.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(
    a: Path, b: Path | None, of: tuple[str, str] | None, threshold: float, as_json: bool
) -> None:
    """Compare two runs, A before and B after, or two configurations: folders or their report.json.

    Configurations are matched by model, size, batch, threads, backend, variant, precision and
    provider. The exit code is 1 if one is slower beyond noise, takes more memory, fails or differs
    from its baseline, and did not before. Between two machines the ratios to the baseline are
    judged instead of times.
    """
    from ..bench.results import read_report
    from ..report import comparison_text
    from ..report.comparison import compare as compare_reports

    if b is None and of is None:
        raise click.UsageError("give two runs, or --of with two configurations of one")
    b = b or a
    before, after = read_report(a), read_report(b)
    comparison = compare_reports(before, after, threshold / 100, of)
    if as_json:
        click.echo(json.dumps(comparison_text.comparison_as_dict(comparison), indent=2))
    else:
        names = str(a), str(b)
        click.echo(comparison_text.text(comparison, before, after, names), nl=False)
    if comparison.regressed:
        raise click.exceptions.Exit(1)
