"""The old place of `birefnet_apps.cli.main`, for one version; it goes with 0.5."""

import warnings

from birefnet_models.base.lazy import lazily

warnings.warn(
    "birefnet_runtime.cli.main is birefnet_apps.cli.main now; the old name goes with version 0.5",
    DeprecationWarning,
    stacklevel=2,
)

__getattr__ = lazily(__name__, {"birefnet_apps.cli.main": "main"})
