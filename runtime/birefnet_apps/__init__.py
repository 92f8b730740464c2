"""Programs on the runtime: the command line, folders, videos, a server, clusters, Triton."""

from typing import TYPE_CHECKING

from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.base.errors import BirefnetError, MissingExtraError
    from birefnet_models.base.version import __version__
    from birefnet_runtime.errors import ClusterError, ServeError

    from .files.cutout import CutoutRun, cutout_files
    from .files.jobs import FileReport

__all__ = [
    "BirefnetError",
    "ClusterError",
    "CutoutRun",
    "FileReport",
    "MissingExtraError",
    "ServeError",
    "__version__",
    "cutout_files",
]

__getattr__ = lazily(
    __name__,
    {
        "birefnet_models.base.errors": "BirefnetError MissingExtraError",
        "birefnet_models.base.version": "__version__",
        "birefnet_runtime.errors": "ClusterError ServeError",
        ".files.jobs": "FileReport",
        ".files.cutout": "CutoutRun cutout_files",
    },
)
