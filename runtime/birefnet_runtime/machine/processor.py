"""What the processor is called and which instructions it has that matrix products profit from."""

import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

# Name for people: the kernel's flags of which one is enough (arch/x86/include/asm/cpufeatures.h).
FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
    "DotProd": ("asimddp",),
    "I8MM": ("i8mm",),
    "SVE": ("sve",),
}


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor of this machine."""

    model: str
    features: tuple[str, ...]
    """Those of FEATURES that it has."""
    flags: tuple[str, ...] = ()
    """Everything that the kernel lists, in order of the alphabet."""


def read_processor(cpuinfo: Path = CPUINFO) -> Processor:
    """Read `/proc/cpuinfo`; where there is none the name alone is known."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Processor(platform.processor() or platform.machine(), ())
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return Processor(
        model=facts.get("model name") or platform.machine(),
        features=tuple(name for name, any_of in FEATURES.items() if flags & set(any_of)),
        flags=tuple(sorted(flags)),
    )


def has_arm_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this is an Arm processor that multiplies in bfloat16, under Linux."""
    return {"NEON", "BF16"} <= set(read_processor(cpuinfo).features)
