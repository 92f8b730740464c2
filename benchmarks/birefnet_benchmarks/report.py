"""Results files, and the tables that are built from them alone."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_runtime.sizing import format_size
from birefnet_runtime.units import format_seconds

from .case import case_from_json, pair
from .environment import Environment
from .measure import Measurement

WIDE = 0.2
"""A spread (interquartile range over median) from which a row is marked."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a results file holds."""

    environment: Environment
    measurements: tuple[Measurement, ...]


def write_results(path: Path, results: Results) -> None:
    """Write a results file, JSON, with its raw times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read a results file back."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        environment=Environment(**stored["environment"]),
        measurements=tuple(measurement(each) for each in stored["measurements"]),
    )


def measurement(stored: dict[str, Any]) -> Measurement:
    """A measurement from its JSON form."""
    return Measurement(
        case=case_from_json(stored["case"]),
        ran_size=pair(stored["ran_size"]),
        cold_start_s=stored["cold_start_s"],
        times_s=tuple(stored["times_s"]),
        peak_rss_bytes=stored["peak_rss_bytes"],
    )


def markdown_table(measurements: Sequence[Measurement]) -> str:
    """One row a measurement. A time that varied widely is marked with `~`."""
    rows = [
        ("model", "network's size", "cold start", "median", "p95", "peak RSS"),
        ("---",) * 6,
    ]
    for each in measurements:
        mark = "~" if each.spread > WIDE else ""
        rows.append(
            (
                Path(each.case.model).name,
                format_size(each.ran_size),
                format_seconds(each.cold_start_s),
                mark + format_seconds(each.median_s),
                format_seconds(each.p95_s),
                f"{each.peak_rss_bytes / 1e6:.0f} MB",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def caption(results: Results) -> str:
    """What the table of these results was measured on, in one line."""
    environment, measurements = results.environment, results.measurements
    threads = sorted({each.case.threads for each in measurements})
    images = sorted({format_size(each.case.image_size) for each in measurements})
    runtimes = [
        f"{name} {found}"
        for name, found in environment.packages.items()
        if name.startswith("onnxruntime")
    ]
    wide = any(each.spread > WIDE for each in measurements)
    return (
        f"A {', '.join(images)} image in memory to alpha, batch 1; "
        f"{environment.processor}, {', '.join(map(str, threads))} threads, {', '.join(runtimes)}, "
        f"Python {environment.python}." + (" ~: times varied widely." if wide else "")
    )
