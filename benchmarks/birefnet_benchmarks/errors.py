"""What can go wrong on purpose.

BirefnetError
├── BenchmarkError          what was asked for can't be measured
│   └── RowError            a row failed: its text is that row's result
├── DatasetError            folders that hold no images with masks, or don't fit together
└── ReportError             a file that is no report, or can't be read
"""

from birefnet_models.errors import BirefnetError


class BenchmarkError(BirefnetError):
    """What was asked for can't be measured."""


class RowError(BenchmarkError):
    """A row failed; its text is the result."""


class ReportError(BirefnetError):
    """A file that is no report, or one that can't be read."""


class DatasetError(BirefnetError):
    """Folders that hold no images with masks, or whose files don't fit together."""
