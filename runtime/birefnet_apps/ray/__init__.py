"""Cut out on every machine of a Ray cluster; needs the extra `ray`."""

from .cutout import Cutout
from .files import cutout_files

__all__ = ["Cutout", "cutout_files"]
