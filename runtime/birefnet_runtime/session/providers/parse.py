"""From what a caller says to an ordered request for providers."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from ...errors import ProviderError
from .names import canonical, choice, execution_provider
from .options import RECORDS, Cpu, Cuda, Named, OpenVINO, Provider, TensorRT

Providers: TypeAlias = str | Provider | Sequence[str | Provider]
"""`"cuda"`, `"cuda,cpu"`, `"tensorrt:fp16"`, `"coreml:ModelFormat=MLProgram"`, `"auto"`, a record,
or a sequence of these."""

AUTO = "auto"
FIXED = "fixed"

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
    no preparation. All others are used when they are named. Behind a name and a colon there may be
    a device's number or a precision: `cuda:1`, `tensorrt:fp16`, `openvino:bf16`, `cpu:bf16`. Behind
    a provider that has no record of its own there may be `fixed` and its options, as it calls them:
    `coreml:fixed:ModelFormat=MLProgram,MLComputeUnits=ALL`.

    Raises:
        ProviderError: a name that is none, nothing asked for, or a provider twice.
    """
    names: Sequence[str | Provider]
    if isinstance(asked, str):
        names = split_providers(asked)
    elif isinstance(asked, Cpu | Cuda | TensorRT | OpenVINO | Named):
        names = (asked,)
    else:
        names = asked
    records: list[Provider] = []
    for name in names:
        if isinstance(name, str):
            records += _records(name.strip(), cpu)
        else:
            records.append(_checked(name) if isinstance(name, Named) else name)
    if not records:
        raise ProviderError(f"no provider asked for; there are: {choice()}")
    often, times = Counter(record.name for record in records).most_common(1)[0]
    if times > 1:
        raise ProviderError(f"asked twice for {often}")
    return tuple(records)


def split_providers(text: str) -> list[str]:
    """Providers between commas; `KEY=VALUE` behind a comma is one more option of the one before."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and "=" in part.partition(":")[0]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def is_auto(asked: Providers) -> bool:
    """Whether the choice was left to us: then a provider that isn't installed isn't missed."""
    return isinstance(asked, str) and asked.strip().lower() == AUTO


def _records(text: str, cpu: Cpu | None) -> list[Provider]:
    if text.lower() == AUTO:
        return [Cuda(), cpu or Cpu()]
    name, rest = (*re.split("[:,]", text, maxsplit=1), "")[:2]
    name = canonical(name)
    if name not in RECORDS:
        return [_named(name, rest)]
    options: dict[str, Any] = {}
    for word in rest.lower().split(":") if rest else ():
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


def _named(name: str, rest: str) -> Named:
    """A provider without a record of its own, from what stands behind its name."""
    record = _checked(Named(name))
    word, options = (*re.split("[:,]", rest, maxsplit=1), "")[:2]
    fixed = word.strip().lower() == FIXED
    return replace(record, options=_key_values(name, options if fixed else rest), fixed=fixed)


def _key_values(name: str, text: str) -> Mapping[str, str]:
    """`KEY=VALUE,KEY=VALUE`: a value may hold anything but a comma.

    Raises:
        ProviderError: a part is none, or a key stands there twice.
    """
    options: dict[str, str] = {}
    for part in text.split(",") if text else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (key and equals):
            raise ProviderError(
                f"{name}:{part}: behind {name} there may be {FIXED}, and options as "
                "KEY=VALUE with commas between them"
            )
        if key in options:
            raise ProviderError(f"{name}: {key} is given twice")
        options[key] = value
    return options


def _checked(record: Named) -> Named:
    """The record under the name that is shown, its options as text.

    Raises:
        ProviderError: nothing has this name, or it has a record of its own.
    """
    name = canonical(record.name)
    if name in RECORDS:
        raise ProviderError(f"{name} has a record of its own: {RECORDS[name].__name__}")
    if execution_provider(name) is None:
        raise ProviderError(f"no provider is called {record.name!r}; there are: {choice()}")
    options = {str(key): str(value) for key, value in record.options.items()}
    return replace(record, name=name, options=options)
