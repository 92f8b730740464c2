"""How pictures are cut out, as data: what one process tells another."""

from dataclasses import dataclass, field
from pathlib import Path

from ..cutout.compose import Style
from ..images.write import Encoding
from ..model.input_size import Size
from ..segmenter import Segmenter
from ..session.memory_limit import DEFAULT, Memory
from ..session.providers import Providers
from .file_cutter import FileCutter

FETCHED_AHEAD = 8
"""Files of an object store that are asked for before their turn: one takes some tens of
milliseconds, most of which is waiting."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that `open` needs to make a FileCutter. Can be pickled.

    Attributes:
        model, size, threads, providers, memory, max_memory, verbose, refine: as `Segmenter` has
            them.
        style, encoding, all_frames, skip_existing, batch, max_pixels: as `FileCutter` has them.
        remote: whether files lie in an object store.
    """

    model: str | Path = "nano"
    size: Size = None
    threads: int | None = None
    providers: Providers = "auto"
    memory: Memory = DEFAULT
    max_memory: float | None = None
    verbose: bool = False
    refine: bool = False
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
        segmenter = Segmenter(
            self.model,
            size=self.size,
            threads=self.threads,
            providers=self.providers,
            memory=self.memory,
            max_memory=self.max_memory,
            verbose=self.verbose,
            refine=self.refine,
        )
        return FileCutter(
            segmenter,
            self.style,
            self.encoding,
            self.all_frames,
            self.skip_existing,
            self.batch,
            self.max_pixels,
            workers=self.threads,
            ahead=self._ahead(),
        )

    def _ahead(self) -> int:
        if not self.remote:
            return 0
        return 1 if self.max_memory else FETCHED_AHEAD
