"""Asking a session for masks of drawn pictures, and judging how far they are off.

What is asked goes through the steps that pictures go through: prepare, run, bring back. NumPy and
OpenCV are asked for sums whose results are known, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..errors import WrongAnswerError
from ..images.picture import Picture
from ..machine import read_processor
from ..model.graph_io import Form, form_of, run_by_shape
from ..model.known_answer import (
    PICTURES,
    SIZE,
    Answer,
    Difference,
    KnownAnswer,
    Tolerance,
    draw,
    read_known_answer,
)
from ..model.locate import ModelFile
from ..model.metadata import ModelMetadata, model_facts, read_properties
from ..model.signature import Session, Signature, read_signature
from .providers import Cpu, Cuda, OpenVINO, Provider, TensorRT

TF32 = {"alpha": Tolerance(0.05, 0.001), "logits": Tolerance(0.2, 0.02)}
HALF = {"alpha": Tolerance(0.2, 0.005), "logits": Tolerance(0.4, 0.03)}
BF16 = {"alpha": HALF["alpha"]}
"""What coarser arithmetic than the file's own may cost: far above rounding, and far below what a
wrong kernel or an overflow does; not yet tuned on hardware. An fp16 file's logits are off by no
more than TF32's."""
BY_CPU = {"alpha": Tolerance(2e-3, 2e-4), "logits": Tolerance(0.2, 0.02)}
"""Of a provider that computes in float32, against the CPU."""
EXACT = {"alpha": Tolerance(0, 0), "logits": Tolerance(0, 0)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A session with all that is needed to ask it."""

    session: Session
    signature: Signature
    metadata: ModelMetadata
    form: Form
    known: KnownAnswer | None

    @classmethod
    def of(cls, session: Session, model: ModelFile) -> "Asked":
        """Read a session.

        Raises:
            ModelError: its graph is of another kind, or its metadata can't be read.
        """
        signature = read_signature(session)
        properties = read_properties(session, model)
        metadata = model_facts(properties, signature, model)
        form = form_of(signature, metadata)
        return cls(session, signature, metadata, form, read_known_answer(properties))

    def answer(self, size: tuple[int, int], shapes: Sequence[tuple[int, int]]) -> Answer:
        """What it answers to drawn pictures of these (height, width), with the network at `size`.

        Raises:
            ModelError: the answer has another shape, holds NaN or isn't a mask.
        """
        prepared = [self.form.prepare(Picture(draw(*shape)), size) for shape in shapes]
        found = run_by_shape(prepared, partial(self.form.run, self.session))
        alphas = [
            self.form.alpha(each, one.picture.size)
            for each, one in zip(found, prepared, strict=True)
        ]
        return Answer(tuple(alphas), None if self.signature.takes_pixels else np.stack(found))

    def sample(self, size: tuple[int, int] | None = None, batch: int | None = None) -> Answer:
        """The same for pictures like those of known answers, as many as the graph takes at once."""
        number = self.signature.batch or batch or len(PICTURES)
        pictures = [PICTURES[index % len(PICTURES)] for index in range(number)]
        if self.signature.takes_pixels:
            pictures, size = pictures[:1], self.metadata.trained_size
        return self.answer(self.signature.size or size or SIZE, pictures)


def same_answers(one: Session, other: Session, model: ModelFile) -> bool:
    """Whether two sessions of a model say the same of themselves and give the same bits."""
    first, second = Asked.of(one, model), Asked.of(other, model)
    facts = [session.get_modelmeta().custom_metadata_map for session in (one, other)]
    off = second.sample().off(first.sample())
    return facts[0] == facts[1] and all(each.within(EXACT[name]) for name, each in off.items())


def coarser(provider: Provider, tolerance: Mapping[str, Tolerance]) -> Mapping[str, Tolerance]:
    """What an answer may differ by on a provider: more where it computes coarser than float32."""
    match provider:
        case Cpu(bf16=False) | Cuda(tf32=False) | OpenVINO(precision="f32"):
            return tolerance
        case Cuda() | TensorRT(fp16=False):
            least = TF32
        case Cpu() | OpenVINO(precision="bf16"):
            least = BF16
        case _:
            least = HALF
    return {
        name: Tolerance(*map(max, tolerance[name], least[name]))
        for name in tolerance.keys() & least.keys()
    }


def check(
    off: Mapping[str, Difference],
    tolerance: Mapping[str, Tolerance],
    what: str,
    whose: str,
    size: tuple[int, int],
    provider: Provider,
) -> None:
    """Refuse an answer that is too far off.

    Args:
        off: the differences.
        tolerance: what is allowed; differences without one count for nothing.
        what: was asked.
        whose: answer it differs from.
        size: (height, width) of the network.
        provider: what ran.

    Raises:
        WrongAnswerError: it names all of this, the versions, and what to try.
    """
    wrong = [name for name in tolerance if name in off and not off[name].within(tolerance[name])]
    if not wrong:
        return
    name = wrong[0]
    largest, mean = off[name]
    # The network's own answer says little where much may be off.
    only_alpha = isinstance(provider, Cpu) and "logits" in tolerance and wrong == ["alpha"]
    raise WrongAnswerError(
        f"{what} is wrong: its {name} differs from {whose} by {largest:.2g} at most and {mean:.2g} "
        f"on average at {format_size(size)}, where {tolerance[name].largest:g} and "
        f"{tolerance[name].mean:g} are allowed, so it is not used; {versions()}; try "
        f"{advice(provider, only_alpha=only_alpha)}"
    )


def versions() -> str:
    """What computed, for a message."""
    import onnxruntime

    return (
        f"onnxruntime {onnxruntime.__version__}, NumPy {np.__version__}, OpenCV {cv2.__version__} "
        f"on {read_processor().model}"
    )


def advice(provider: Provider, *, only_alpha: bool = False) -> str:
    """What to try where a provider answers wrong, as the end of a sentence."""
    if only_alpha:
        return "another version of NumPy or Pillow: the network's own answer is right"
    if not isinstance(provider, Cpu):
        half = getattr(provider, "fp16", False) or getattr(provider, "precision", "f32") != "f32"
        return "it without its lower precision, or --provider cpu" if half else "--provider cpu"
    if provider.bf16:
        return "--provider cpu, without bf16"
    if provider.kleidiai and "NEON" in read_processor().features:
        return "--provider cpu:nokleidiai, or another version of onnxruntime"
    return "another version of onnxruntime, or another provider"


def check_machine() -> None:
    """Compare products of NumPy and sizes changed by OpenCV with results that are known.

    The operands are small whole numbers, so that float32 holds every sum exactly.

    Raises:
        WrongAnswerError: one is wrong: this processor, its emulation, or a library.
    """
    for rows, inner, columns in ((192, 40, 16), (16, 19, 512), (33, 17, 65), (64, 64, 64)):
        left = (np.arange(rows * inner).reshape(rows, inner) * 7 % 17 - 8).astype(np.float32)
        right = (np.arange(columns * inner).reshape(columns, inner) * 5 % 13 - 6).astype(np.float32)
        known = left.astype(np.int64) @ right.T.astype(np.int64)  # integers never meet BLAS
        out = np.empty((rows, columns), np.float32)
        np.matmul(left, right.T, out=out)
        if not (_same(out, known) and _same(left @ np.ascontiguousarray(right.T), known)):
            raise WrongAnswerError(
                f"NumPy multiplies matrices wrong here, so no mask could be right; {versions()}; "
                "try another version of NumPy, or OPENBLAS_CORETYPE=ARMV8 (or Haswell) in the "
                "environment"
            )
    tiles = (np.arange(48 * 80).reshape(48, 80) * 7 % 251).astype(np.float32)
    means = tiles.reshape(12, 4, 20, 4).mean(axis=(1, 3))
    ramp = np.repeat(np.arange(8, dtype=np.float32)[None], 6, 0)
    known = np.repeat(np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)[None], 24, 0)
    small = cv2.resize(tiles, (20, 12), interpolation=cv2.INTER_AREA)
    large = cv2.resize(ramp, (32, 24), interpolation=cv2.INTER_LINEAR)
    if not (_same(small, means, 1e-2) and _same(large, known, 1e-4)):
        raise WrongAnswerError(
            f"OpenCV resizes wrong here, so no cutout could be right; {versions()}; try another "
            "version of opencv-python-headless"
        )


def _same(found: Any, known: NDArray[Any], by: float = 0) -> bool:
    return found.shape == known.shape and bool((np.abs(found - known) <= by).all())
