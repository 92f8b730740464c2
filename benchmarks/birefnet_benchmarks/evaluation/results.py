"""An evaluation as files and as text: `summary.json`, `scores.csv`, a table."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from birefnet_models.base.files import replacing
from birefnet_models.base.hashes import sha256_of
from birefnet_models.base.text import format_size, printable
from birefnet_models.zoo import Score
from birefnet_runtime import OutputError

from ..bench.environment import read_environment
from ..bench.results import write_results
from .contact_sheet import draw_sheet
from .published import card_of, published_scores
from .quality import LIBRARY, Metric, Tally, metrics
from .run import Evaluation

EVALUATION_SCHEMA = "birefnet-evaluation"
EVALUATION_VERSION = 1
"""Goes up when a field changes its meaning or goes away; a new field doesn't raise it."""


def summary(
    model: str, file: Path, evaluation: Evaluation, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything but the single images' scores, ready for JSON.

    Args:
        model: its name, as it was typed.
        file: its `.onnx`, which is hashed and looked up in the zoo.
        evaluation: at least one image of it has scores.
        settings: how it was run, JSON-ready.
    """
    sha256 = sha256_of(file)
    card = card_of(file, sha256)
    size, columns = evaluation.model_size(), metrics(evaluation.overall.efforts)
    failed = Counter(result.sample.subset for result in evaluation.failures)
    subsets = []
    for name, tally in evaluation.parts.items():
        part = {"name": name, **_part(tally, failed[name])}
        known = published_scores(card, name, size, columns) if tally.images else {}
        part["published"] = {
            key: _published(score, part["scores"][key]) for key, score in known.items()
        }
        subsets.append(part)
    return {
        "schema": EVALUATION_SCHEMA,
        "version": EVALUATION_VERSION,
        "model": {
            "name": model,
            "file": str(file),
            "sha256": sha256,
            "bytes": file.stat().st_size,
            "zoo": card.name if card else None,
        },
        "model_size": size,
        "settings": dict(settings),
        "environment": asdict(read_environment()),
        "library": LIBRARY,
        "metrics": {metric.key: asdict(metric) for metric in columns},
        "subsets": subsets,
        "overall": _part(evaluation.overall, failed.total()),
        "failures": [
            {"image": str(result.sample.image), "error": str(result.error)}
            for result in evaluation.failures
        ],
    }


def _part(tally: Tally, failed: int) -> dict[str, Any]:
    return {
        "images": tally.images,
        "failed": failed,
        "empty": tally.empty,
        "stretched": tally.stretched,
        "scores": tally.scores() if tally.images else {},
    }


def _published(score: Score, measured: float) -> dict[str, Any]:
    return {
        "value": score.value,
        "size": score.size,
        "source": score.source,
        "note": score.note,
        "difference": measured - score.value,
    }


def write_files(directory: Path, stored: Mapping[str, Any], evaluation: Evaluation) -> None:
    """Write `summary.json`, `scores.csv` and, where rows were kept, `worst.png`.

    Args:
        directory: made if missing.
        stored: as `summary` gives it.
        evaluation: the same.

    Raises:
        OutputError: they can't be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_results(directory / "summary.json", stored)
        _write_rows(directory / "scores.csv", evaluation)
        if rows := evaluation.worst():
            heading = f"{_heading(stored)}: the worst of {evaluation.overall.images} by S-measure"
            with replacing(directory / "worst.png") as unnamed:
                draw_sheet(rows, heading).save(unnamed)
    except OSError as error:
        raise OutputError(f"{directory}: {(error.strerror or str(error)).lower()}") from error


def _heading(stored: Mapping[str, Any]) -> str:
    """Which model, at which size, on what."""
    size = stored["model_size"]
    at = f" at {format_size(size)}" if size else " at each image's own size"
    return f"{printable(stored['model']['name'])}{at} on {stored['settings']['provider']}"


def _write_rows(path: Path, evaluation: Evaluation) -> None:
    """A line an image, with its error where it has no scores."""
    rows = list(evaluation.rows())
    keys = [metric.key for metric in metrics(evaluation.overall.efforts)]
    names = [name for name in rows[0] if name not in (*keys, "error")]
    with (
        replacing(path) as unnamed,
        unnamed.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        writer = csv.DictWriter(stream, [*names, *keys, "error"], restval="")
        writer.writeheader()
        writer.writerows(rows)


def score_table(stored: Mapping[str, Any]) -> Iterator[str]:
    """Lines for a terminal: the model, each subset with its published scores, and all together."""
    columns = [Metric(**metric) for metric in stored["metrics"].values()]
    rows = [["", "images", *(metric.label for metric in columns)]]
    parts = list(stored["subsets"])
    if len(parts) > 1:
        parts.append({"name": "all", **stored["overall"], "published": {}})
    for part in (part for part in parts if part["images"]):
        scores, known = part["scores"], part["published"]
        rows.append([printable(part["name"]), str(part["images"])])
        rows[-1] += (_number(metric, scores[metric.key]) for metric in columns)
        if known:
            rows.append(["  published", "", *_cells(columns, known, "value")])
            rows.append(["  difference", "", *_cells(columns, known, "difference", "+")])
    yield f"{_heading(stored)}; {stored['library']}{_missing(stored)}"
    yield ""
    yield from _aligned(rows)
    sources = {
        _source(part["name"], score): None for part in parts for score in part["published"].values()
    }
    if sources:
        yield ""
        yield from sources


def _missing(stored: Mapping[str, Any]) -> str:
    """How many images have scores, unless all have: those of a part compare with none published."""
    images, failed = stored["overall"]["images"], stored["overall"]["failed"]
    if images == stored["settings"]["pairs"]:
        return ""
    counted = f"; {images} of {stored['settings']['pairs']} images"
    return f"{counted}, {failed} failed" if failed else counted


def _source(dataset: str, score: Mapping[str, Any]) -> str:
    at = f"at {format_size(score['size'])}" if score["size"] else "size not stated"
    note = f" ({score['note']})" if score["note"] else ""
    return f"published for {dataset}, {at}: {score['source']}{note}"


def _cells(
    columns: Sequence[Metric], known: Mapping[str, Any], field: str, sign: str = ""
) -> Iterator[str]:
    for metric in columns:
        score = known.get(metric.key)
        yield _number(metric, score[field], sign) if score else ""


def _number(metric: Metric, value: float, sign: str = "") -> str:
    return f"{value:{sign}.{0 if metric.key == 'hce' else 4}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join((row[0].ljust(widths[0]), *cells)).rstrip()
