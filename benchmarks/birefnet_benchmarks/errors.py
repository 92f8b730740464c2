"""What can go wrong on purpose.

BirefnetError
├── BenchmarkError          what was asked for can't be measured
└── ReportError             a file that is no report, or can't be read
"""

from birefnet_models.errors import BirefnetError


class BenchmarkError(BirefnetError):
    """What was asked for can't be measured."""


class ReportError(BirefnetError):
    """A file that is no report, or one that can't be read."""
