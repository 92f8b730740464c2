"""Cut out on every machine of a Ray cluster; needs the extra `ray`."""

from .dataset import cutout_files
from .map_batches import Cutout

__all__ = ["Cutout", "cutout_files"]
