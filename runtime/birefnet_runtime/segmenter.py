"""Image in, alpha out."""

import os
import warnings

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, MemoryWarning, ModelError, ProviderWarning, SizeWarning
from .foreign import as_logits, model_facts
from .image_io import ImageSource, read_image
from .locate import find_model
from .memory import DEFAULT, SETTINGS, Memory, as_bytes, choose
from .metadata import ModelMetadata
from .ort_errors import first_line, onnxruntime_errors
from .postprocess import to_alpha
from .preprocess import to_tensor
from .providers import Providers
from .session import Opening, Session, open_session
from .signature import read_signature
from .sizing import Size, auto_size, check_fixed, check_size, quality_note


class Segmenter:
    """A model, open and ready.

    Args:
        model: the name of an embedded or exported model (`lite`, `lite:fp16`), an `.onnx` file, or
            a directory that holds one. A name wins over a file that is called the same; write
            `./lite` for the file. Other tools' exports run too, within their limits.
        size: at which size the network runs: None for the size it was trained at, N for N x N,
            (height, width), or "auto" for the image's aspect ratio within as many pixels.
        threads: for one operator; by default as many as cores may be used.
        providers: what to run on, the preferred first: names ("cpu", "cuda", "tensorrt",
            "openvino"), records with options, or "auto", the best that works without changing the
            answer. What can't run is an error unless another is named behind it.
        memory: settings of the CPU by name: "fast", "balanced" or "low".
        max_memory: bytes that the process may take, or text such as "1GB". The settings follow from
            it, and, where `size` is left open, a smaller size if need be.
        verbose: let ONNX Runtime's own log lines through to stderr.
        session: what to run; all that is said of the model and how to run it then counts for
            nothing.

    Raises:
        ModelError: no such model, or a file that ONNX Runtime can't load.
        ProviderError: none of the providers can run here; says why and what to install.
        SizeError: `size` is no multiple of what the network needs.
        MemoryLimitError: no settings keep the model below `max_memory`; says what would.
        MissingExtraError: onnxruntime is not installed.
    """

    metadata: ModelMetadata
    opening: Opening | None = None
    """What it runs on and what was passed over; None for a session that was handed in."""

    def __init__(
        self,
        model: str | os.PathLike[str] = "nano",
        *,
        size: Size = None,
        threads: int | None = None,
        providers: Providers = "auto",
        memory: Memory = DEFAULT,
        max_memory: float | str | None = None,
        verbose: bool = False,
        session: Session | None = None,
    ) -> None:
        path = None
        if session is None:
            path = find_model(model)
            if max_memory is not None:
                choice = choose(path, size, as_bytes(max_memory))
                memory, size = choice.memory, choice.size
                if choice.note:
                    warnings.warn(choice.note, MemoryWarning, stacklevel=2)
            opened = open_session(
                path,
                providers=providers,
                cpu=SETTINGS[memory],
                threads=threads,
                sizes=() if size is None else (size,),
                verbose=verbose,
            )
            session, self.opening = opened, opened.opening
            for note in self.opening.notes():
                warnings.warn(note, ProviderWarning, stacklevel=2)
        self._session = session
        self._signature = read_signature(session)
        self.metadata = model_facts(session, self._signature, path)
        self._fixed_size = self._resolve(size)
        self._warned = False

    def __call__(self, image: ImageSource) -> NDArray[np.float32]:
        """Find the subject.

        Args:
            image: path or bytes of an image file, or uint8 (H, W, 3) RGB, 0–255, or a PIL image.
                The EXIF orientation of a file is applied; alpha is composited over white.

        Returns:
            float32 (H, W) in [0, 1] at the image's own size: 1 is subject, 0 is background.

        Raises:
            ImageError: the input is no such image.
            ModelError: the run failed.
        """
        pixels = read_image(image)
        height, width, _ = pixels.shape
        size = self.model_size((height, width))
        self._warn_if_far(size)
        tensor = to_tensor(pixels, size, self.metadata.mean, self.metadata.std)
        return to_alpha(self.logits(tensor)[0, 0], (height, width))

    def logits(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the graph alone.

        Args:
            tensor: float32 (batch, 3, height, width), normalised RGB.

        Returns:
            float32 (batch, 1, height, width), logits.

        Raises:
            ImageError: the tensor has another layout or type.
            SizeError: the network can't run at this height and width.
            ModelError: the run failed, or its answer holds NaN or infinity.
        """
        if tensor.ndim != 4 or tensor.shape[1] != 3 or tensor.dtype != np.float32:
            raise ImageError(
                "expected a tensor as float32 (batch, 3, height, width), "
                f"got {tensor.dtype} {tensor.shape}"
            )
        batch, _, height, width = tensor.shape
        self._check((height, width))
        try:
            logits = self._signature.run(self._session, tensor)
        except onnxruntime_errors() as error:
            raise ModelError(f"ONNX Runtime can't run the model: {first_line(error)}") from error
        if logits.shape != (batch, 1, height, width):
            raise ModelError(f"the model answered {logits.shape} to an input of {tensor.shape}")
        if not np.isfinite(logits).all():
            raise ModelError("the model's answer holds NaN or infinity")
        return as_logits(logits) if self.metadata.output == "mask" else logits

    @property
    def is_half(self) -> bool:
        """Whether the graph takes float16."""
        return self._signature.dtype == np.float16

    def warm_up(self, size: tuple[int, int] | None = None, batch: int = 1) -> None:
        """Run the graph once on nothing, so that the first image of this shape doesn't wait.

        On a GPU the first run of each shape chooses algorithms and makes buffers.

        Args:
            size: (height, width) of the network; None: that for a square image.
            batch: images in one run.

        Raises:
            SizeError: the network can't run at this size.
            ModelError: the run failed.
        """
        height, width = size or self.model_size((1, 1))
        self.logits(np.zeros((batch, 3, height, width), np.float32))

    def model_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which the network runs for an image of this (height, width)."""
        return self._fixed_size or auto_size(
            image_size, self.metadata.trained_size, self.metadata.size_multiple
        )

    def _resolve(self, size: Size) -> tuple[int, int] | None:
        """The size that holds for every image; None where it depends on the image."""
        if size is None or (size == "auto" and self.metadata.fixed):
            size = self.metadata.trained_size
        elif size == "auto":
            return None
        elif isinstance(size, int):
            size = (size, size)
        return self._check(size)

    def _check(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.metadata.fixed:
            return check_fixed(size, self.metadata.trained_size)
        return check_size(size, self.metadata.size_multiple)

    def _warn_if_far(self, size: tuple[int, int]) -> None:
        note = quality_note(size, self.metadata.trained_size, self.metadata.trained_range)
        if note and not self._warned:
            self._warned = True
            warnings.warn(note, SizeWarning, stacklevel=3)
