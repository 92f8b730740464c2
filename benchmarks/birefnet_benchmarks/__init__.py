"""How fast, how much memory, how equal, how good."""

from typing import TYPE_CHECKING

from birefnet_models.base import telemetry as _telemetry  # noqa: F401, acts when imported
from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.base.version import __version__

__all__ = ["__version__"]

__getattr__ = lazily(__name__, {"birefnet_models.base.version": "__version__"})
