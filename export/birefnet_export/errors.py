"""What can go wrong between a checkpoint and a verified graph.

BirefnetError
└── ExportError
    ├── CheckpointError        the file is not a checkpoint, or its tensors don't fit
    │   └── ArchitectureError  the tensors show a network that is not supported
    ├── GraphError             the graph that was built breaks its own contract
    ├── ParityError            the graph computes something other than the checkpoint
    └── PrecisionError         the graph can't be had in this precision, with these images
"""

from birefnet_models.base.errors import BirefnetError


class ExportError(BirefnetError):
    """Base of every error that the export raises on purpose."""


class CheckpointError(ExportError):
    """A file that holds no usable BiRefNet weights; the message names the file."""


class ArchitectureError(CheckpointError):
    """Tensors of a network that is not supported; the message names what was found."""


class GraphError(ExportError):
    """An exported graph whose inputs, outputs or axes are not those promised."""


class ParityError(ExportError):
    """An exported graph whose output differs from the reference's beyond tolerance."""


class PrecisionError(ExportError):
    """Calibration images that are no use, or a quantized graph whose masks differ too much."""
