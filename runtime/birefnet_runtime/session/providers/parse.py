"""From what a caller says to an ordered request for providers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from ...errors import ProviderError
from .options import RECORDS, Cpu, Cuda, OpenVINO, Provider, TensorRT

Providers: TypeAlias = str | Provider | Sequence[str | Provider]
"""`"cuda"`, `"cuda,cpu"`, `"tensorrt:fp16"`, `"auto"`, a record, or a sequence of these."""

AUTO = "auto"

WORDS: dict[str, dict[str, Any]] = {
    "cpu": {"bf16": {"bf16": True}},
    "cuda": {"tf32": {"tf32": True}},
    "tensorrt": {"fp16": {"fp16": True}},
    "openvino": {word: {"precision": word} for word in ("f32", "bf16", "f16")},
}
"""What may stand behind a name and a colon, as fields of the record."""


def parse_providers(asked: Providers, cpu: Cpu | None = None) -> tuple[Provider, ...]:
    """The providers to try, the preferred first; each later one is a fallback.

    `cpu` is what the CPU's name stands for, instead of its record's defaults.

    `auto` stands for CUDA, then the CPU: those whose masks agree to fp32 rounding and that need
    no preparation. TensorRT and OpenVINO are used when they are named. Behind a name and a colon
    there may be a device's number or a precision: `cuda:1`, `tensorrt:fp16`, `openvino:bf16`,
    `cpu:bf16`.

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
    records: list[Provider] = []
    for name in names:
        records += _records(name.strip().lower(), cpu) if isinstance(name, str) else [name]
    if not records:
        raise ProviderError(f"no provider asked for; there are: {_known()}")
    often, times = Counter(record.name for record in records).most_common(1)[0]
    if times > 1:
        raise ProviderError(f"asked twice for {often}")
    return tuple(records)


def is_auto(asked: Providers) -> bool:
    """Whether the choice was left to us: then a provider that isn't installed isn't missed."""
    return isinstance(asked, str) and asked.strip().lower() == AUTO


def _records(text: str, cpu: Cpu | None) -> list[Provider]:
    if text == AUTO:
        return [Cuda(), cpu or Cpu()]
    name, *words = text.split(":")
    if name not in RECORDS:
        raise ProviderError(f"no provider is called {name!r}; there are: {_known()}")
    options: dict[str, Any] = {}
    for word in words:
        options |= _option(name, word)
    if name == Cpu.name and cpu:
        return [replace(cpu, **options)]
    return [RECORDS[name](**options)]


def _option(name: str, word: str) -> dict[str, Any]:
    """A word behind a provider's name as a field of its record: `fp16`, `bf16`, a device's number.

    Raises:
        ProviderError: this provider knows no such word.
    """
    if word.isdecimal() and name in ("cuda", "tensorrt"):
        return {"device_id": int(word)}
    known: dict[str, dict[str, Any]] = WORDS.get(name, {})
    if word not in known:
        numbers = "a device's number, " if name in ("cuda", "tensorrt") else ""
        there = numbers + ", ".join(known) or "nothing"
        raise ProviderError(f"{name}:{word}: behind {name} there may be {there.rstrip(', ')}")
    return known[word]


def _known() -> str:
    return ", ".join([AUTO, *RECORDS])
