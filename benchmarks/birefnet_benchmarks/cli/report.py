"""`birefnet bench report` and `birefnet bench compare`."""

import json
from pathlib import Path

import click
from birefnet_models.atomic_write import replacing

MARKDOWN_FILE = "report.md"
PAGE_FILE = "report.html"


def write_documents(directory: Path) -> tuple[Path, ...]:
    """Make `report.md` and `report.html` of a run's `report.json`; returns their paths.

    Raises:
        ReportError: the folder holds no report that can be read.
    """
    from ..bench.results import read_report
    from ..report.html import page
    from ..report.markdown import document

    found = read_report(directory)
    texts = {MARKDOWN_FILE: document(found), PAGE_FILE: page(found, directory)}
    for name, text in texts.items():
        with replacing(directory / name) as unnamed:
            unnamed.write_text(text, encoding="utf-8")
    return tuple(directory / name for name in texts)


@click.command(epilog="Example: birefnet bench report out/bench")
@click.argument(
    "directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
def report(directory: Path) -> None:
    """Make report.md and report.html anew from the report.json in DIR.

    Nothing is measured. The page holds the pictures beside it and refers to nothing outside.
    """
    for path in write_documents(directory):
        click.echo(path)


@click.command(epilog="Example: birefnet bench compare out/before out/after --threshold 10")
@click.argument("a", metavar="A", type=click.Path(path_type=Path, exists=True))
@click.argument("b", metavar="B", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--threshold",
    metavar="PERCENT",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="A row is slower if the whole interval of its ratio is beyond this.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything found, as JSON.")
def compare(a: Path, b: Path, threshold: float, as_json: bool) -> None:
    """Put two runs side by side, A before and B after: folders or their report.json.

    Rows are matched by model, size, batch, threads and way. The exit code is 1 if one is slower
    beyond noise, takes more memory, fails or differs from its baseline, and was not so before.
    Between two machines the ratios to the baseline are judged in the place of times.
    """
    from ..bench.results import read_report
    from ..report import comparison_text
    from ..report.comparison import compare as compared

    before, after = read_report(a), read_report(b)
    found = compared(before, after, threshold / 100)
    if as_json:
        click.echo(json.dumps(comparison_text.as_dict(found), indent=2))
    else:
        click.echo(comparison_text.text(found, before, after, (str(a), str(b))), nl=False)
    if found.regressed:
        raise click.exceptions.Exit(1)
