"""From what is asked for to rows: which ways, at which sizes, against what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from birefnet_models.onnx_file import read_onnx

from ..errors import BenchmarkError
from .configuration import Row

AS_GIVEN = "as given"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a model, at any size: what a row is before it has one."""

    backend: str
    variant: str
    precision: str
    providers: tuple[str, ...]
    source: str
    name: str = ""
    """What the file is called, to tell two apart that are otherwise alike."""
    problem: str | None = None
    """Why there is nothing to run; such a row is a result at once."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A model with all ways to run it; the first is the baseline."""

    model: str
    ways: tuple[Way, ...]
    checkpoint: Path | None
    """To count its multiply-adds."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where every way is run."""

    sizes: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]


def pytorch_way(word: str, checkpoint: Path) -> Way:
    """`eager`, `compile`, `bf16`, each also as `WORD:cuda` or `WORD:cuda:1`.

    Raises:
        BenchmarkError: another word.
    """
    mode, _, device = word.partition(":")
    if mode not in ("eager", "compile", "bf16") or (device and not device.startswith("cuda")):
        raise BenchmarkError(
            f"{word!r}: PyTorch runs as eager, compile or bf16, on a GPU as eager:cuda"
        )
    return Way(
        backend="pytorch",
        variant="compile" if mode == "compile" else "eager",
        precision="bf16" if mode == "bf16" else "fp32",
        providers=(device or "cpu",),
        source=str(checkpoint),
    )


def graph_way(file: Path, providers: Sequence[str]) -> Way:
    """A graph as it is: its lowering and precision are read off the file, if it says.

    Raises:
        OnnxFileError: it is no ONNX file.
    """
    known = read_onnx(file)
    half = any(port.dtype == "float16" for port in known.inputs)
    return Way(
        backend="onnxruntime",
        variant=known.properties.get("birefnet.lowering", AS_GIVEN),
        precision=known.properties.get("birefnet.precision", "fp16" if half else "fp32"),
        providers=tuple(providers),
        source=str(file),
        name=file.stem,
    )


@dataclass(frozen=True, slots=True)
class Case:
    """Rows that are compared with one another."""

    rows: tuple[Row, ...]
    """The first is the baseline."""
    problems: dict[Row, str]
    """Rows among them that can't run, and why."""


def cases_of(entrant: Entrant, grid: Grid) -> tuple[Case, ...]:
    """The rows of a model, case by case.

    Raises:
        BenchmarkError: two ways can't be told apart.
    """
    ways = _told_apart(entrant.ways)
    cases = []
    for size, batch, threads in product(grid.sizes, grid.batches, grid.threads):
        ways_of = {
            Row(
                model=entrant.model,
                backend=way.backend,
                variant=way.variant,
                precision=way.precision,
                provider=provider,
                size=size,
                batch=batch,
                threads=threads,
                source=way.source,
                baseline=way is ways[0] and provider == way.providers[0],
            ): way
            for way in ways
            for provider in way.providers
        }
        problems = {row: way.problem for row, way in ways_of.items() if way.problem}
        cases.append(Case(tuple(ways_of), problems))
    return tuple(cases)


def _told_apart(ways: Sequence[Way]) -> list[Way]:
    """Ways that are alike but for their files say the file's name, too."""
    alike = Counter((way.backend, way.variant, way.precision) for way in ways)
    told = [
        replace(way, variant=f"{way.name}, {way.variant}")
        if way.name and alike[way.backend, way.variant, way.precision] > 1
        else way
        for way in ways
    ]
    seen: Counter[tuple[str, str, str, str]] = Counter(
        (way.backend, way.variant, way.precision, provider)
        for way in told
        for provider in way.providers
    )
    if twice := [" ".join(way) for way, count in seen.items() if count > 1]:
        raise BenchmarkError(f"asked twice for {twice[0]}")
    return told
