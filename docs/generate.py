"""Write the generated blocks of the documentation: tables, help texts, records.

A block stands between `<!-- KIND: SOURCE -->` and `<!-- end -->`. `python docs/generate.py`
rewrites them in place; tests/house/test_docs.py compares.
"""

import ast
import json
import re
import runpy
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import birefnet_models
import click
from birefnet_apps.cli.main import main as birefnet
from birefnet_apps.cli.models import millions, trained_at
from birefnet_apps.serve.apis import rembg, removebg
from birefnet_apps.serve.apis.parameters import markdown
from birefnet_benchmarks.bench.results import read_report
from birefnet_benchmarks.evaluation.quality import metrics
from birefnet_benchmarks.report.markdown import headline_table, summary_table
from birefnet_models.base.text import format_size
from studies.deform_conv import kernel_scales, kernels
from studies.graphs import (
    backbones,
    export,
    int8_processors,
    int8_techniques,
    lowerings,
    official,
    precision,
    targets,
)
from studies.pictures import (
    clean,
    foreground,
    refine,
)
from studies.platforms import arm64, web
from studies.runs import cold_start, file_to_file, memory_limits, small_box
from studies.service import scale, serve

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
BLOCK = re.compile(r"<!-- (\w+): (.+?) -->\n.*?<!-- end -->", flags=re.DOTALL)
ESCAPED_BAR = "\\|"
"""A bar that doesn't end a table's cell."""


def command_context(path: str) -> click.Context:
    """The context of the command that `path` names, as `birefnet bench report`, at 80 columns."""
    program, *names = path.split()
    top = context = click.Context(
        birefnet, info_name=program, terminal_width=80, help_option_names=["-h", "--help"]
    )
    for depth, name in enumerate(names, start=1):
        command = subcommands(context)[name]
        context = click.Context(command, info_name=" ".join(names[:depth]), parent=top)
    return context


def subcommands(context: click.Context) -> dict[str, click.Command]:
    """The commands below a context's own, by name."""
    group = context.command
    if not isinstance(group, click.Group):
        return {}
    commands = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    return {name: command for name, command in commands if command and not command.hidden}


def all_commands(top: str) -> str:
    """A heading and the help of a command and of every one below it."""

    def sections(path: str) -> Iterator[str]:
        context = command_context(path)
        yield f"\n## {path}\n\n```text\n{context.get_help()}\n```\n"
        for name in subcommands(context):
            yield from sections(f"{path} {name}")

    return "".join(sections(top)) + "\n"


def speed_table(folder: str) -> str:
    """Three rows of a run of `birefnet bench`, for README.md."""
    return f"{headline_table(read_report(ROOT / folder))} From `{folder}/report.json`.\n"


def bench_summary(folder: str) -> str:
    """The table of a run of `birefnet bench`, with what it was measured on."""
    return f"{summary_table(read_report(ROOT / folder))} From `{folder}/report.json`.\n"


def stored(table: Callable[[dict[str, Any]], str]) -> Callable[[str], str]:
    """A block that is the table of a results file."""
    return lambda file: f"{table(json.loads((ROOT / file).read_text()))} From `{file}`.\n"


def when_run(what: str, verb: str, table: Callable[[str], str]) -> Callable[[str], str]:
    """A block of results that only some machines can make; before that, the command that does."""

    def block(source: str) -> str:
        missing = f"{what}: not run yet; `make {verb}` does it.\n"
        return table(source) if (ROOT / source).exists() else missing

    return block


def gpu_tables(folder: str) -> str:
    """The summaries of what `make gpu-report` measured."""
    runs = sorted(file.parent for file in (ROOT / folder).glob("*/report.json"))
    return "\n".join(bench_summary(run.relative_to(ROOT).as_posix()) for run in runs)


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
    """The metrics of `birefnet evaluate`."""
    lines = ["| column | key | | better |", "| --- | --- | --- | --- |"]
    for metric in metrics(efforts=True):
        better = "lower" if metric.lower_is_better else "higher"
        lines.append(f"| {metric.label} | `{metric.key}` | {metric.meaning} | {better} |")
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
        docstring = " ".join((ast.get_docstring(records[name]) or "").split())
        lines = [f"### {name}", "", docstring, "", "| field | type | |", "| --- | --- | --- |"]
        lines += [field_row(node, after) for node, after in fields]
        done[name] = "\n".join(lines)
    return "\n\n".join(done.values()) + "\n"


def field_row(field: ast.AnnAssign, after: ast.stmt | None) -> str:
    """A row of a record's table: name, type with its default, the text below it."""
    kind = ast.unparse(field.annotation)
    if field.value:
        kind += f" = {ast.unparse(field.value).replace('field(default_factory=dict)', '{}')}"
    text = ""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        text = str(after.value.value)
    cells = f"`{ast.unparse(field.target)}`", f"`{kind}`", text
    return f"| {' | '.join(' '.join(cell.split()).replace('|', ESCAPED_BAR) for cell in cells)} |"


def house(file: str) -> str:
    """The rows of each package, from the top, as the test of imports holds them."""
    rows = runpy.run_path(str(ROOT / file))["ROWS"]
    lines = [f"{package:<12}{' > '.join(of_package)}" for package, of_package in rows.items()]
    return "\n".join(["```text", *lines, "```"]) + "\n"


def examples(folder: str) -> str:
    """What each example does, by the first line of its docstring."""
    lines = ["| | |", "| --- | --- |"]
    for file in sorted((ROOT / folder).glob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines.append(f"| [{file.name}]({file.name}) | {docstring.splitlines()[0]} |")
    return "\n".join(lines) + "\n"


def parameters(api: str) -> str:
    """What the server does with each parameter of an API: the table by which it reads them."""
    tables = {"removebg": removebg.PARAMETERS, "rembg": rembg.parameters("lite-onnx")}
    return markdown(tables[api])


BLOCKS: dict[str, Callable[[str], str]] = {
    "commands": all_commands,
    "speed": speed_table,
    "bench": bench_summary,
    "exports": stored(export.markdown_table),
    "limits": stored(memory_limits.markdown_table),
    "cold_start": stored(cold_start.markdown_table),
    "refine": stored(refine.markdown_table),
    "cleaning": stored(clean.markdown_table),
    "file_to_file": stored(file_to_file.markdown_table),
    "foreground": stored(foreground.markdown_table),
    "targets": stored(targets.markdown_table),
    "lowerings": stored(lowerings.markdown_table),
    "precision": stored(precision.markdown_table),
    "arm64": stored(arm64.markdown_table),
    "int8": stored(int8_processors.markdown_table),
    "int8_techniques": stored(int8_techniques.markdown_table),
    "kernel_scales": stored(kernel_scales.markdown_table),
    "backbones": stored(backbones.markdown_table),
    "engines": stored(scale.markdown_table),
    "serve": stored(serve.markdown_table),
    "roundings": stored(precision.roundings_table),
    "web": stored(web.markdown_table),
    "kernels": stored(kernels.markdown_table),
    "small_box": stored(small_box.markdown_table),
    "transformers_js": stored(web.steps_table),
    "official": when_run(
        "Official weights beside PyTorch", "verify-official", stored(official.markdown_table)
    ),
    "gpu": when_run("Time and memory on a GPU", "gpu-report", gpu_tables),
    "zoo": zoo,
    "metrics": quality_metrics,
    "parameters": parameters,
    "schema": schema,
    "house": house,
    "examples": examples,
}


def render(text: str) -> str:
    """The same text with every block as its source says."""

    def block(match: re.Match[str]) -> str:
        kind, source = match.groups()
        return f"<!-- {kind}: {source} -->\n{BLOCKS[kind](source)}<!-- end -->"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(render(document.read_text(encoding="utf-8")), encoding="utf-8")
