"""Errors of the benchmarks.

BirefnetError
├── BenchmarkError          the request can't be measured
│   └── MeasurementError    one configuration failed; the text is stored as its result
├── RemoteCodeError         somebody's code would be run without consent, or failed
├── DatasetError            folders that hold no images with masks, or don't fit together
└── ReportError             a file that is not a report, or can't be read
"""

from birefnet_models.base.errors import BirefnetError


class BenchmarkError(BirefnetError):
    """The request can't be measured."""


class MeasurementError(BenchmarkError):
    """One configuration failed; the text is stored as its result."""


class ReportError(BirefnetError):
    """A file that is not a report, or one that can't be read."""


class DatasetError(BirefnetError):
    """Folders that hold no images with masks, or whose files don't fit together."""


class RemoteCodeError(BirefnetError):
    """Somebody's code that would be run without consent, or failed."""
