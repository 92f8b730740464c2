"""Cut out on every machine of a Ray cluster; needs the extra `ray`."""

from typing import TYPE_CHECKING

from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from .dataset import cutout_dataset
    from .map_batches import Cutout

__all__ = ["Cutout", "cutout_dataset"]

__getattr__ = lazily(__name__, {".dataset": "cutout_dataset", ".map_batches": "Cutout"})
