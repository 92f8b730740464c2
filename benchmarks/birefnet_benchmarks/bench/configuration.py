"""What is compared: one way to run one model at one size.

In a module of its own, and on nothing but the standard library: a row's process imports it, and its
memory is measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run one model at one size."""

    model: str
    """The name that is shown. Rows of one model are expected to give the same answer."""
    backend: str
    """`onnxruntime`, `pytorch`, or `MODULE:CLASS` for a backend of somebody's own."""
    variant: str
    """A graph's lowering (`as given` if the file doesn't say), or how PyTorch runs: `eager`,
    `compile`, `transformers`."""
    precision: str
    """`fp32`, `fp16`, `bf16` or `int8`."""
    provider: str
    """What was asked for, as `birefnet cutout --provider` takes it; for PyTorch its device."""
    size: tuple[int, int]
    """(height, width) of the network's input."""
    batch: int
    """Images in one run."""
    threads: int
    """That the row may use."""
    source: str
    """The file or repository that is opened. Not part of what makes two rows the same one."""
    baseline: bool = False
    """Whether the others of its case are compared with this one."""

    @property
    def case(self) -> tuple[str, tuple[int, int], int, int]:
        """What rows that are compared have in common: model, size, batch, threads."""
        return self.model, self.size, self.batch, self.threads

    @property
    def way(self) -> tuple[str, str, str, str]:
        """What sets rows of one case apart: backend, variant, precision, provider."""
        return self.backend, self.variant, self.precision, self.provider
