"""What can go wrong between an image and its cutout.

BirefnetError                  birefnet_models.base.errors
├── ImageError                 the input is not an image that can be used; names the file
├── OutputError                the result can't be written there
├── SizeError                  the network can't run at that size; names the nearest that works
├── MemoryLimitError           no setting keeps the model below the limit; says what would
├── ModelError                 the file is not a model that the runtime can run, or the run failed
├── ClusterError               the cluster of other machines can't do the work; says why
├── ProviderError              the execution provider asked for can't run; says why
│   └── WrongAnswerError       what computes here computes wrong; says how far off it is
├── Interrupted                the run was ended on request
└── ServeError                 the server can't be started as it was asked to
"""

from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.errors import MissingExtraError as MissingExtraError


class ImageError(BirefnetError):
    """An input that is not an image, or not one in the layout that was promised."""


class OutputError(BirefnetError):
    """A result that can't be written where it was asked for."""


class SizeError(BirefnetError):
    """A model size that the network can't run at."""


class MemoryLimitError(BirefnetError):
    """A model that would take more memory than it may."""


class ModelError(BirefnetError):
    """A file that is not a model for this runtime, or a model whose run failed."""


class ProviderError(BirefnetError):
    """The execution provider asked for can't run here, or not as it was asked to."""


class WrongAnswerError(ProviderError):
    """What computes on this machine computes wrong: a provider, NumPy or OpenCV."""


class ClusterError(BirefnetError):
    """Work that Ray's cluster gave up, or that none of its machines has room for."""


class ServeError(BirefnetError):
    """A server that can't be started as it was asked to."""


class Interrupted(BirefnetError):
    """A run that was ended on request, as by `Segmenter.interrupt`."""

    def __init__(self, text: str = "the run was ended on request") -> None:
        super().__init__(text)


class SizeWarning(UserWarning):
    """The model runs at a size far from those it was trained at."""


class MemoryWarning(UserWarning):
    """The model runs at a smaller size than it was trained at, to stay below a limit of memory."""


class ProviderWarning(UserWarning):
    """The session runs on a fallback, slow parts of the graph run on the CPU under a GPU, or the
    sums of an older int8 file saturate on this processor."""
