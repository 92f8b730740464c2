"""Image in, alpha out."""

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Self, TypedDict

import numpy as np
from birefnet_models.base.text import first_line, format_size, joined
from numpy.typing import NDArray

from .cutout.compose import Result, Style, compose, shown_alpha
from .cutout.foreground import Estimator
from .cutout.memory import check_fits
from .cutout.refine import Prediction, alpha_of, run_refined
from .errors import MemoryWarning, ModelError, ProviderWarning, SizeWarning
from .images.picture import Picture
from .images.read import ImageSource, read_image
from .machine import release_memory
from .model.graph_io import Prepared, form_of, run_by_shape
from .model.locate import ModelFile, find_model
from .model.metadata import ModelMetadata, model_facts, read_properties, unstated_size_note
from .model.signature import Session, read_signature
from .model.size import Size, auto_size, check_fixed, check_size, quality_note
from .pipeline import overlap
from .session.memory import (
    DEFAULT,
    SETTINGS,
    Memory,
    as_bytes,
    choose,
    saturation_notes,
    what_fits,
)
from .session.open import open_session
from .session.ort_errors import onnxruntime_errors
from .session.ort_session import SessionInfo
from .session.providers import Providers
from .trial import footprint_of, takes_kernels


class Opening(TypedDict, total=False):
    """How a model is opened: what `Segmenter` takes by name, to be handed on whole."""

    size: Size
    threads: int | None
    providers: Providers
    memory: Memory | None
    max_memory: float | str | None
    picture_bytes: float | None
    compiled: bool
    verbose: bool
    refine: bool


class Segmenter:
    """A model, open and ready.

    Threads may share it. Sent to another process (pickled), it opens its model there anew; in a
    forked one, too, when it first runs. As a context manager it gives its memory back when the
    block ends.

    Images are paths, bytes of image files, open files, PIL images, or arrays: uint8 or uint16,
    (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA. The EXIF orientation of a file is applied. The
    network sees 8-bit sRGB; alpha that the image has already is composited over white for it, and
    multiplied into the result.

    Args:
        model: the name of an embedded or exported model (`lite`, `lite:fp16`), an `.onnx` file, or
            a directory that holds one. A name wins over a file that is called the same; write
            `./lite` for the file. A repository of the hub (`OWNER/NAME@REVISION:PRECISION`) or the
            URL of an `.onnx` is fetched once. Other tools' exports run too, within their limits.
        size: at which size the network runs: None for the size it was trained at, N for N x N,
            (height, width), or "auto" for the image's aspect ratio within as many pixels.
        threads: for one operator; by default as many as cores may be used.
        providers: what to run on, the preferred first: names ("cpu", "cuda", "tensorrt",
            "openvino", or any that ONNX Runtime has, as "coreml"), records with options, or "auto",
            the best that works without changing the answer. What can't run is an error unless
            another is named behind it.
        memory: settings of the CPU by name: "fast", "balanced" or "low". By default balanced, or
            what `max_memory` leads to.
        max_memory: bytes that the process may take, or text such as "1GB". What is left open of
            `memory` and `size` follows from it: the largest size, and the fastest settings there,
            that leave `picture_bytes`, or else what leaves most. `memory_left` says how much. A
            file that doesn't say how much memory it needs is run once, small, to find out.
        picture_bytes: of `max_memory`, what pictures need at once; by default as much as a
            photograph of 12 megapixels where any size leaves that, else nothing.
        compiled: on the CPU, open the graph in the form that ONNX Runtime optimized it to here,
            which is kept in the cache from the first time on.
        verbose: let ONNX Runtime's own log lines through to stderr.
        refine: where the subject fills little of the picture, run its surroundings again, alone.
        session: deprecated, for `from_session`.

    Raises:
        ModelError: no such model, or a file that ONNX Runtime can't load.
        FetchError, PinError: a model that can't be fetched, or is not the pinned one.
        ProviderError: none of the providers can run here; says why and what to install.
        SizeError: `size` is not a multiple of what the network needs.
        MemoryLimitError: no settings keep the model below `max_memory`; says what would.
        MissingExtraError: onnxruntime is not installed.
        TypeError: a session together with what says how one is to be opened.
    """

    metadata: ModelMetadata
    memory_left: float | None = None
    """Bytes that `max_memory` leaves for pictures beside the model; None without a limit."""
    session_info: SessionInfo | None = None
    """The provider it runs on and those passed over; None for a session that was handed in."""
    what_fits: Callable[[float], str] | None = None
    """Called with the bytes that a refused picture takes: which `--size` or `--max-memory` it fits
    with, as the end of a sentence; None without a limit."""
    _recipe: "Callable[[], Segmenter] | None" = None
    """Opens the same model anew; None for a session that was handed in."""

    def __init__(
        self,
        model: str | os.PathLike[str] = "nano",
        *,
        size: Size = None,
        threads: int | None = None,
        providers: Providers = "auto",
        memory: Memory | None = None,
        max_memory: float | str | None = None,
        picture_bytes: float | None = None,
        compiled: bool = True,
        verbose: bool = False,
        refine: bool = False,
        session: Session | None = None,
    ) -> None:
        opening = Opening(
            size=size,
            threads=threads,
            providers=providers,
            memory=memory,
            max_memory=max_memory,
            picture_bytes=picture_bytes,
            compiled=compiled,
            verbose=verbose,
            refine=refine,
        )
        if session is not None:
            _check_alone(model, opening)
            message = "Segmenter(session=s) is deprecated; use Segmenter.from_session(s)"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            self._adopt(session, None, size=size, refine=refine)
            return
        file = find_model(model)
        self._recipe = partial(type(self), file.path.absolute(), **opening)
        kernels = max_memory is not None and takes_kernels(file, providers)
        if max_memory is not None:
            limit = as_bytes(max_memory)
            footprint = footprint_of(file, limit, kernels=kernels)
            choice = choose(file, footprint, size, limit, picture_bytes, memory)
            memory, size = choice.memory, choice.size
            self.memory_left = limit - choice.estimate_bytes
            self.what_fits = partial(what_fits, footprint, size, limit)
            if choice.note:
                warnings.warn(choice.note, MemoryWarning, stacklevel=2)
        cpu = SETTINGS[memory or DEFAULT]
        opened = open_session(
            file,
            providers=providers,
            cpu=replace(cpu, kernels="on") if kernels else cpu,
            threads=threads,
            sizes=() if size is None else (size,),
            compiled=compiled,
            most_bytes=inf if max_memory is None else as_bytes(max_memory),
            verbose=verbose,
        )
        if max_memory is not None or memory == "low":
            release_memory()  # of what opening took
        self.session_info = opened.info
        self._adopt(opened, file, size=size, refine=refine)
        properties = read_properties(opened, file)
        for note in (*opened.info.notes(), *saturation_notes(properties)):
            warnings.warn(note, ProviderWarning, stacklevel=2)
        states = "birefnet.trained_size" in properties
        if size is None and not states and (unstated := unstated_size_note(properties)):
            warnings.warn(unstated, SizeWarning, stacklevel=2)

    @classmethod
    def from_session(
        cls,
        session: Session,
        *,
        size: Size = None,
        refine: bool = False,
        metadata: ModelMetadata | None = None,
    ) -> Self:
        """A Segmenter on a session that is open already: ONNX Runtime's, or one like it.

        Args:
            session: what to run.
            size: as in the class.
            refine: as in the class.
            metadata: how the model wants its input; by default what the session's own metadata
                says, and upstream's values where it says nothing.

        Raises:
            ModelError: its graph is of another kind, or its metadata can't be read.
            SizeError: the network can't run at `size`.
        """
        self = cls.__new__(cls)
        self._adopt(session, None, size=size, refine=refine, metadata=metadata)
        return self

    def _adopt(
        self,
        session: Session,
        file: ModelFile | None,
        *,
        size: Size,
        refine: bool,
        metadata: ModelMetadata | None = None,
    ) -> None:
        """Take a session that is open; `file` is its model's, where that is known."""
        self._session: Session | None = session
        self._signature = read_signature(session)
        self.metadata = metadata or model_facts(
            read_properties(session, file), self._signature, file
        )
        self._form = form_of(self._signature, self.metadata)
        self._fixed_size = self._resolve(size)
        self._refine = refine
        self._warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was opened with: another process opens the model anew.

        Raises:
            ModelError: its session was handed in.
        """
        if self._recipe is None:
            raise ModelError(
                "a Segmenter whose session was handed in can't be sent to another process; "
                "open one there, or give it a model instead of a session"
            )
        return self._recipe, ()

    def __repr__(self) -> str:
        info = self.session_info
        where = f", {info.provider.name}" if info else ""
        size = "auto" if self._fixed_size is None else format_size(self._fixed_size)
        closed = ", closed" if self._session is None else ""
        return f"<Segmenter: {size}{where}{closed}>"

    def __call__(self, image: ImageSource) -> NDArray[np.float32]:
        """The same as `alpha`."""
        return self.alpha(image)

    def alpha(self, image: ImageSource) -> NDArray[np.float32]:
        """Find the subject.

        Args:
            image: as the class says.

        Returns:
            float32 (H, W) in [0, 1] at the image's own size: 1 is subject, 0 is background.

        Raises:
            ImageError: the input is no such image.
            ModelError: the run failed.
        """
        (alpha,) = self.batch([image])
        return alpha

    def cutout(self, image: ImageSource, *, foreground: Estimator = "blur") -> NDArray[np.uint8]:
        """Cut the subject out, with its own colors where it is partly transparent.

        Args:
            image: as the class says. 16-bit images come out in 8 bits; `compose` keeps them.
            foreground: how those colors are estimated: `blur`, `pymatting`, or `none` for the
                image's.

        Returns:
            uint8 (H, W, 4) RGBA, 0–255, not premultiplied, in the image's color space.

        Raises:
            ImageError, ModelError: as `alpha`.
            MissingExtraError: `pymatting` is not installed.
        """
        pixels = self.compose(image, Style(depth=8, foreground=foreground)).pixels
        return np.asarray(pixels, dtype=np.uint8)

    def compose(self, image: ImageSource, style: Style | None = None) -> Result:
        """Make what `style` asks for, ready to be saved: `compose(photo).save("cutout.png")`.

        Args:
            image: as the class says.
            style: a transparent cutout by default.

        Raises:
            ImageError, ModelError: as `alpha`.
            MissingExtraError: `pymatting` is not installed.
        """
        prepared = self.prepare(image)
        (prediction,) = self.run([prepared])
        return compose(prepared.picture, self.finish(prepared, prediction), style)

    def batch(self, images: Iterable[ImageSource]) -> list[NDArray[np.float32]]:
        """Find the subjects of several images, those of one model size in one run of the graph.

        Worth it where the provider gains: GPUs do, CPUs don't, and memory grows with the batch.

        Args:
            images: each as the class says.

        Returns:
            For each image float32 (H, W) in [0, 1], at its own size.

        Raises:
            ImageError, ModelError: as `alpha`; nothing is returned then.
        """
        prepared = [self.prepare(image) for image in images]
        return list(map(self._shown, prepared, self.run(prepared)))

    def stream(
        self, images: Iterable[ImageSource], *, batch: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Find the subjects of any number of images, one after another, in bounded memory.

        The next images are read while the graph runs; `images` is drawn from as results are taken.

        Args:
            images: each as the class says.
            batch: how many may go through the graph at once.

        Yields:
            For each image, in order, float32 (H, W) in [0, 1], at its own size.

        Raises:
            ImageError, ModelError: as `alpha`; the stream ends there.
        """
        return overlap(images, self.prepare, self.run, self._shown, batch=batch)

    def close(self) -> None:
        """Free the model's memory, to the operating system. Runs that are under way end first."""
        self._session = None
        release_memory()

    def reopen(self) -> None:
        """Open the model again after `close`, as it was opened; nothing is done while it is open.

        Raises:
            ModelError: its session was handed in; or, as the other errors of the class, it can't be
                opened any more.
        """
        if self._session is not None:
            return
        if self._recipe is None:
            raise ModelError("a session that was handed in can't be opened again once it is closed")
        self._session = self._recipe()._session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def prepare(self, image: ImageSource) -> Prepared:
        """Read an image and make the graph's input of it: the first of three steps.

        `prepare`, `run`, `finish` may be called from different threads, to overlap them.

        Args:
            image: as the class says.

        Raises:
            ImageError: the input is no such image.
        """
        picture = read_image(image)
        size = self.model_size(picture.size)
        note = quality_note(size, self.metadata.trained_size, self.metadata.trained_range)
        if note and not self._warned:
            self._warned = True
            warnings.warn(note, SizeWarning, stacklevel=_callers_level())
        return self._form.prepare(picture, size)

    def run(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Run the graph on prepared images, those of one model size at once: the second step.

        Returns:
            For each float32 (height, width), logits at the model's size; of a model that gives
            alpha, uint8 (H, W). With `refine` a `Refined` of those that were run twice.

        Raises:
            ModelError: as `logits`.
        """
        run = partial(run_by_shape, run=self._run)
        if not self._refine:
            return [*run(prepared)]
        return run_refined(prepared, self._form, self.model_size, run)

    def finish(self, prepared: Prepared, prediction: Prediction) -> NDArray[np.float32]:
        """Bring logits to the image's own size: the third step.

        Args:
            prepared: the image.
            prediction: as `run` returns it.

        Returns:
            float32 (H, W) in [0, 1], the subject's alpha as `compose` takes it: alpha that the
            image had already isn't multiplied in yet.
        """
        return alpha_of(prediction, self._form, prepared.picture.size)

    def logits(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the graph alone.

        Args:
            tensor: float32 (batch, 3, height, width), normalized RGB.

        Returns:
            float32 (batch, 1, height, width), logits.

        Raises:
            ImageError: the tensor has another layout or type.
            SizeError: the network can't run at this height and width.
            ModelError: the run failed, its answer holds NaN or infinity, the model is closed, or
                it gives alpha and no logits.
            Interrupted: `interrupt` ended it.
        """
        if self.metadata.output == "alpha":
            raise ModelError("this model gives alpha, and its logits stay inside the graph")
        if tensor.ndim == 4 and tensor.shape[1] == 3:
            self._check((tensor.shape[2], tensor.shape[3]))
        return self._run(tensor)[:, None]

    def interrupt(self) -> None:
        """End the runs that are under way in other threads: each raises Interrupted.

        On the CPU within milliseconds, at the graph's next node; a session that was handed in runs
        on if it can't be told.
        """
        interrupt = getattr(self._session, "interrupt", None)
        if interrupt is not None:
            interrupt()

    @property
    def is_half(self) -> bool:
        """Whether the graph takes float16."""
        return self._signature.dtype == np.float16

    def check_fits(self, name: str, size: tuple[int, int], needed: float) -> None:
        """Check that a picture stays below what `max_memory` leaves beside the model.

        Args:
            name: what it is called.
            size: its (height, width).
            needed: bytes that it takes at its peak, as `cutout.memory.peak_bytes` says.

        Raises:
            ImageError: it doesn't; says how much it takes, how much is left, and what would do.
        """
        if self.memory_left is not None:
            check_fits(name, size, needed, self.memory_left, self.what_fits)

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
        size = self._check(size or self.model_size((1, 1)))
        nothing = Picture(np.zeros((*size, 3), np.uint8))
        self._run(np.repeat(self._form.prepare(nothing, size).tensor, batch, 0))

    def model_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which the network runs for an image of this (height, width)."""
        return self._fixed_size or auto_size(
            image_size, self.metadata.trained_size, self.metadata.size_multiple
        )

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The answers of the graph to a batch, one for each image; errors are those of `logits`."""
        session = self._session  # a run keeps it, whoever closes meanwhile
        if session is None:
            raise ModelError("the model is closed")
        try:
            return self._form.run(session, batch)
        except onnxruntime_errors(RuntimeError) as error:  # that is what bound runs raise
            raise ModelError(f"ONNX Runtime can't run the model: {first_line(error)}") from error

    def _shown(self, prepared: Prepared, prediction: Prediction) -> NDArray[np.float32]:
        return shown_alpha(prepared.picture, self.finish(prepared, prediction))

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


def _check_alone(model: str | os.PathLike[str], opening: Opening) -> None:
    """Refuse to be told how a model is opened where an open session is given, too."""
    defaults = inspect.signature(Segmenter).parameters
    given: dict[str, Any] = {"model": model, **opening}
    said = [name for name, value in given.items() if value != defaults[name].default]
    if wrong := [name for name in said if name not in ("size", "refine")]:
        raise TypeError(
            f"{joined(wrong)}: of no use with session=, which is open already; leave one out"
        )


def _callers_level() -> int:
    """The `stacklevel` with which `warnings.warn` points at the code that uses this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and f"{frame.f_globals.get('__package__')}.".startswith(f"{__package__}."):
        frame, level = frame.f_back, level + 1
    return level
