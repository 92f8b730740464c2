"""The old place of `birefnet_apps.ray`, for one version; it goes with 0.5."""

import warnings

from birefnet_models.base.lazy import lazily

warnings.warn(
    "birefnet_runtime.ray is birefnet_apps.ray now, and its cutout_files is cutout_dataset there; "
    "the old names go with version 0.5",
    DeprecationWarning,
    stacklevel=2,
)

__getattr__ = lazily(
    __name__, {"birefnet_apps.ray.dataset": "cutout_files", "birefnet_apps.ray": "Cutout"}
)
