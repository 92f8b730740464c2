"""From what a caller says to an ordered request for providers."""

from collections.abc import Sequence
from typing import TypeAlias

from ..errors import ProviderError
from .records import RECORDS, Cpu, Cuda, OpenVINO, Provider, TensorRT

Providers: TypeAlias = str | Provider | Sequence[str | Provider]
"""`"cuda"`, `"cuda,cpu"`, `"auto"`, a record, or a sequence of names and records."""

AUTO = "auto"


def parse_providers(asked: Providers, cpu: Cpu | None = None) -> tuple[Provider, ...]:
    """The providers to try, the preferred first; each later one is a fallback.

    `cpu` is what the CPU's name stands for, instead of its record's defaults.

    `auto` stands for CUDA, then the CPU: those whose answers agree to fp32 rounding and that need
    no preparation. TensorRT and OpenVINO are used when they are named.

    Raises:
        ProviderError: a name that is none, nothing asked for, or a provider twice.
    """
    names: Sequence[str | Provider]
    if isinstance(asked, str):
        names = asked.split(",")
    elif isinstance(asked, Cpu | Cuda | TensorRT | OpenVINO):
        names = (asked,)
    else:
        names = asked
    found: list[Provider] = []
    for name in names:
        found += _records(name.strip().lower(), cpu) if isinstance(name, str) else [name]
    twice = {record.name for record in found if [r.name for r in found].count(record.name) > 1}
    if twice:
        raise ProviderError(f"asked twice for {', '.join(sorted(twice))}")
    if not found:
        raise ProviderError(f"no provider asked for; there are: {_known()}")
    return tuple(found)


def is_auto(asked: Providers) -> bool:
    """Whether the choice was left to us: then a provider that isn't installed isn't missed."""
    return isinstance(asked, str) and asked.strip().lower() == AUTO


def _records(name: str, cpu: Cpu | None) -> list[Provider]:
    if name == AUTO:
        return [Cuda(), cpu or Cpu()]
    if name == Cpu.name and cpu:
        return [cpu]
    if name not in RECORDS:
        raise ProviderError(f"no provider is called {name!r}; there are: {_known()}")
    return [RECORDS[name]()]


def _known() -> str:
    return ", ".join([AUTO, *RECORDS])
