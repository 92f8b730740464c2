"""What is compared: one way to run one model at one size.

In a module of its own, and on nothing but the standard library: a measured process imports it, and
its memory is measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to run one model at one size."""

    model: str
    """The name that is shown. Configurations of one model should give the same masks."""
    backend: str
    """`onnxruntime`, `pytorch`, or `MODULE:CLASS` for a backend of your own."""
    variant: str
    """A graph's lowering (`as given` if the file doesn't say), or how PyTorch runs: `eager`,
    `compile`, `transformers`."""
    precision: str
    """`fp32`, `fp16`, `bf16` or `int8`."""
    provider: str
    """As requested, in the words of `birefnet cutout --provider`; for PyTorch its device."""
    size: tuple[int, int]
    """(height, width) of the network's input."""
    batch: int
    """Images in one run."""
    threads: int
    """That the configuration may use."""
    source: str
    """The file or repository that is opened. Two that differ in this alone are the same one."""
    baseline: bool = False
    """Whether the others of its workload are compared with this one."""

    @property
    def workload(self) -> tuple[str, tuple[int, int], int, int]:
        """What configurations that are compared have in common: model, size, batch, threads."""
        return self.model, self.size, self.batch, self.threads

    @property
    def setup(self) -> tuple[str, str, str, str]:
        """What tells those of one workload apart: backend, variant, precision, provider."""
        return self.backend, self.variant, self.precision, self.provider
