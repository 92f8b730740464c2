"""A report as CSV: a row for each configuration, numbers in plain units."""

import csv
import io
from dataclasses import fields
from typing import Any

from ..bench.results import BenchReport, ConfigurationResult, baseline_of
from . import statistics

CSV_COLUMNS = (
    *("model", "backend", "variant", "precision", "provider", "height", "width", "batch"),
    *("threads", "baseline", "source", "runs", "median_s", "p95_s", "first_quartile_s"),
    *("third_quartile_s", "time_of_baseline", "images_per_s", "import_s", "load_s", "first_s"),
    *("peak_rss_bytes", "peak_device_bytes", "energy_per_image_j", "logits_max_abs"),
    *("mask_max_abs", "images", "image_mae", "image_max_levels", "image_iou", "differs", "error"),
)
"""Times in seconds, memory in bytes; `time_of_baseline` is a multiple of it, round by round."""


def as_csv(report: BenchReport) -> str:
    """The results with a head line; empty where nothing is known (RFC 4180, but for line ends)."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for result in report.results:
        cells = _cells(result, report)
        writer.writerow({name: _text(cells.get(name)) for name in CSV_COLUMNS})
    return stream.getvalue()


def _cells(result: ConfigurationResult, report: BenchReport) -> dict[str, Any]:
    """Values by column."""
    configuration = result.configuration
    cells = {field.name: getattr(configuration, field.name) for field in fields(configuration)}
    cells["height"], cells["width"] = configuration.size
    if timing := statistics.timing(result):
        first, third = timing.quartiles_s
        cells |= {"runs": timing.runs, "median_s": timing.median_s, "p95_s": timing.p95_s}
        cells |= {"first_quartile_s": first, "third_quartile_s": third}
    baseline = baseline_of(configuration, report.results)
    ratio = statistics.median_ratio(result, baseline) if baseline else None
    if result.cold:
        cells |= {field.name: getattr(result.cold, field.name) for field in fields(result.cold)}
    if result.graph:
        cells["logits_max_abs"] = result.graph.logits.max_abs
        cells["mask_max_abs"] = result.graph.mask.max_abs
    if worst := statistics.worst_parity(result):
        cells |= {"images": worst.images, "image_mae": worst.mae, "image_iou": worst.iou}
        cells["image_max_levels"] = worst.max_levels
    return cells | {
        "time_of_baseline": ratio.value if ratio else None,
        "images_per_s": statistics.images_per_s(result),
        "energy_per_image_j": statistics.energy_per_image_j(result),
        "peak_rss_bytes": result.peak_rss_bytes,
        "peak_device_bytes": result.peak_device_bytes,
        "differs": statistics.differs(result),
        "error": result.error,
    }


def _text(value: Any) -> str:
    """A cell; what a spreadsheet would take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
