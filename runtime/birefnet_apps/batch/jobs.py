"""What a run has to do: which file becomes which, and which can't."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from birefnet_models.errors import BirefnetError
from birefnet_runtime.images.write import PNG, Format

from ..storage import STANDARD_STREAM, Location


@dataclass(frozen=True, slots=True)
class Job:
    """One image file and the file that its result goes to.

    Attributes:
        source: the image.
        target: its result.
        overwrite: whether a target that is there is replaced; in place it might be an input.
    """

    source: Location
    target: Location
    overwrite: bool = True

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return "standard input" if self.source == STANDARD_STREAM else str(self.source)


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that can't be done, and why."""

    source: Location
    error: BirefnetError


@dataclass(frozen=True, slots=True)
class CutoutPlan:
    """The jobs of a run, and the inputs that can't be done.

    Attributes:
        jobs: a sequence; of a folder in an object store an iterator, which lists the store.
        failures: complete when `jobs` has ended.
        format: of the results.
        count: how many jobs there are; None while that is not known.
        remote: whether files lie in an object store, so that asking for them takes a while.
    """

    jobs: Iterable[Job]
    failures: Sequence[Failure]
    format: Format = PNG
    count: int | None = None
    remote: bool = False
