"""Write the generated blocks of the README and of docs/ anew: tables and the commands' help.

A block stands between `<!-- KIND: WHAT -->` and `<!-- end -->`. `python docs/readme.py` rewrites
them in place; a test compares.
"""

import ast
import json
import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import birefnet_models
import click
from birefnet_benchmarks.bench.results import read_report
from birefnet_benchmarks.cli import bench as bench_commands
from birefnet_benchmarks.cli import report as document_commands
from birefnet_benchmarks.evaluation.quality import metrics
from birefnet_benchmarks.report.markdown import summary_table
from birefnet_runtime.cli.main import main as birefnet
from birefnet_runtime.cli.models import millions, trained_at
from birefnet_runtime.model.input_size import format_size
from studies import exports, foreground, lowerings, precision, settings, targets

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "performance.md",
    ROOT / "docs" / "precision.md",
    ROOT / "docs" / "evaluate.md",
    ROOT / "docs" / "report.md",
)
SUBCOMMANDS = {
    "bench run": bench_commands.run,
    "bench report": document_commands.report,
    "bench compare": document_commands.compare,
}
"""Commands behind a command."""
BAR = "\\|"
"""A bar that doesn't end a table's cell."""
BLOCK = re.compile(r"<!-- (\w+): (.+?) -->\n.*?<!-- end -->", flags=re.DOTALL)


def command_help(name: str) -> str:
    """What `birefnet NAME --help` prints at 80 columns."""
    parent = click.Context(birefnet, info_name="birefnet", terminal_width=80)
    command = SUBCOMMANDS.get(name) or birefnet.get_command(parent, name)
    if command is None:
        raise LookupError(f"there is no command {name}")
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=80,
        help_option_names=["-h", "--help"],
    )
    return f"```text\n{command.get_help(context)}\n```\n"


def bench_summary(folder: str) -> str:
    """The table of a run of `birefnet bench`, with what it was measured on."""
    return f"{summary_table(read_report(ROOT / folder))} From `{folder}/report.json`.\n"


def stored(table: Callable[[dict[str, Any]], str]) -> Callable[[str], str]:
    """A block that is the table of a results file."""
    return lambda file: f"{table(json.loads((ROOT / file).read_text()))} From `{file}`.\n"


def zoo(_: str) -> str:
    """The models of the zoo."""
    lines = [
        "| name | repository | purpose | trained at | parameters | DIS-VD S | license |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for card in birefnet_models.all_cards():
        score = next((s for s in card.scores if (s.dataset, s.metric) == ("DIS-VD", "S")), None)
        at = f" at {format_size(score.size)}" if score and score.size else ""
        row = (
            *(card.name, card.id, card.purpose, trained_at(card), millions(card.parameters)),
            *(f"{score.value:.3f}{at}" if score else "", card.license),
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def quality_metrics(_: str) -> str:
    """What `birefnet evaluate` measures."""
    lines = ["| column | key | | better |", "| --- | --- | --- | --- |"]
    for each in metrics(efforts=True):
        better = "lower" if each.lower_is_better else "higher"
        lines.append(f"| {each.label} | `{each.key}` | {each.meaning} | {better} |")
    return "\n".join(lines) + "\n"


def schema(top: str) -> str:
    """The fields of a record and of all records that it holds, as their source documents them."""
    records = {
        node.name: node
        for file in sorted((ROOT / "benchmarks" / "birefnet_benchmarks" / "bench").rglob("*.py"))
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    waiting, done = [top], dict[str, str]()
    while waiting:
        name = waiting.pop(0)
        body = records[name].body
        fields = [
            (node, after)
            for node, after in zip_longest(body, body[1:])
            if isinstance(node, ast.AnnAssign)
        ]
        used = {
            part.id for node, _ in fields for part in ast.walk(node) if isinstance(part, ast.Name)
        }
        waiting += [other for other in records if other in used and other not in (*done, *waiting)]
        lines = [f"### {name}", "", _documented(records[name]), ""]
        lines += ["| field | type | |", "| --- | --- | --- |"]
        lines += [_field(node, after) for node, after in fields]
        done[name] = "\n".join(lines)
    return "\n\n".join(done.values()) + "\n"


def _field(node: ast.AnnAssign, after: ast.stmt | None) -> str:
    kind = ast.unparse(node.annotation)
    if node.value:
        kind += f" = {ast.unparse(node.value).replace('field(default_factory=dict)', '{}')}"
    text = ""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        text = str(after.value.value)
    cells = f"`{ast.unparse(node.target)}`", f"`{kind}`", text
    return f"| {' | '.join(' '.join(cell.split()).replace('|', BAR) for cell in cells)} |"


def _documented(record: ast.ClassDef) -> str:
    return " ".join((ast.get_docstring(record) or "").split())


BLOCKS: dict[str, Callable[[str], str]] = {
    "help": command_help,
    "bench": bench_summary,
    "exports": stored(exports.markdown_table),
    "foreground": stored(foreground.markdown_table),
    "targets": stored(targets.markdown_table),
    "lowerings": stored(lowerings.markdown_table),
    "settings": stored(settings.markdown_table),
    "precision": stored(precision.markdown_table),
    "roundings": stored(precision.roundings_table),
    "zoo": zoo,
    "metrics": quality_metrics,
    "schema": schema,
}


def render(text: str) -> str:
    """The same text with every block as its source says."""

    def block(found: re.Match[str]) -> str:
        kind, what = found.groups()
        return f"<!-- {kind}: {what} -->\n{BLOCKS[kind](what)}<!-- end -->"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(render(document.read_text(encoding="utf-8")), encoding="utf-8")
