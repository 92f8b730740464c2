"""The record that describes one model."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Score:
    """One published figure."""

    dataset: str
    metric: str
    """`S` (S-measure), `wF` (weighted F-measure), `HCE` (human correction efforts), `MAE`."""
    value: float
    size: tuple[int, int] | None
    """Height and width that it was measured at; None where the source does not say."""
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights that was seen at the source."""

    file: str
    revision: str
    """The hub's commit."""
    size: int
    """In bytes."""
    sha256: str
    source: str
    """Who says so."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about one checkpoint. Sizes are (height, width) in pixels.

    None and empty fields say that something is not known or does not exist; nothing is guessed.
    """

    name: str
    """Short name, the one that is typed: `lite`."""
    id: str
    """Repository on the hub (`ZhengPeng7/BiRefNet_lite`); a name of that form for others."""
    purpose: str
    uses: tuple[str, ...]
    """Words that a search finds it by."""
    license: str
    """SPDX identifier where there is one."""
    backbone: str
    """`swin_v1_t` and so on, or `swin` for one that has no name."""
    trained_size: tuple[int, int]
    """Of a checkpoint trained at many sizes: the one that it is run at by default."""
    parameters: int
    """Of the inference network, counted element by element."""
    time: Literal["a blink", "seconds", "tens of seconds", "minutes"]
    """How long one image takes at the trained size, in fp32 on two cores of a server CPU.

    `BiRefNet_lite` and `BiRefNet` at 1024 x 1024 were measured (5 s and 14 s with the first graph
    of this project); the others follow from their pixels and backbone. Orders of magnitude, no
    promise.
    """
    memory: Literal["under 1 GB", "1 to 4 GB", "4 to 8 GB", "over 8 GB"]
    """Most memory that such a run held, likewise (3 GB and 5 GB were measured)."""
    source: str
    """Where the weights come from."""
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest size of a checkpoint trained at many sizes."""
    terms: str = ""
    """What has to be accepted before the download; empty where nothing has."""
    gated: bool = False
    """The hub asks for a login and a request before it hands out the file."""
    release_file: str | None = None
    """Name of the `.pth` in upstream's GitHub release, where one is known."""
    scores: tuple[Score, ...] = ()
    weights: tuple[Weights, ...] = ()
    """Files known by their hash; never more than hints: the lock file is what binds."""
    file: str | None = None
    """The `.onnx` that ships in this package, relative to the package's folder."""
    sha256: str | None = None
    """Of that file, in hexadecimal."""
    notes: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the model ships in this package."""
        return self.file is not None
