"""How pictures are cut out, as data: what one process tells another."""

from dataclasses import dataclass, field
from pathlib import Path

from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.images.write import Encoding
from birefnet_runtime.segmenter import Opening, Segmenter

from .file_cutter import FileCutter

FETCHED_AHEAD = 8
"""Files of an object store that are asked for before their turn: one takes some tens of
milliseconds, most of which is waiting."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that `open` needs to make a FileCutter. Can be pickled.

    Attributes:
        model, opening: as `Segmenter` takes them.
        style, encoding, all_frames, skip_existing, batch, max_pixels: as `FileCutter` has them.
        remote: whether files lie in an object store.
    """

    model: str | Path = "nano"
    opening: Opening = field(default_factory=Opening)
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    all_frames: bool = False
    skip_existing: bool = False
    batch: int = 1
    max_pixels: int | None = None
    remote: bool = False

    def open(self) -> FileCutter:
        """Open the model.

        Raises:
            BirefnetError: as `Segmenter`.
        """
        return FileCutter(
            Segmenter(self.model, **self.opening),
            self.style,
            self.encoding,
            self.all_frames,
            self.skip_existing,
            self.batch,
            self.max_pixels,
            workers=self.opening.get("threads"),
            ahead=self._ahead(),
        )

    def _ahead(self) -> int:
        if not self.remote:
            return 0
        return 1 if self.opening.get("max_memory") else FETCHED_AHEAD
