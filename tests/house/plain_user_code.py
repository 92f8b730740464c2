"""Code as a user writes it. `make check` runs mypy over it: the public types must let it pass.

Every public name of the runtime and the programs is used; a test holds that.
"""

import asyncio
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import birefnet_apps
import birefnet_models
import birefnet_runtime
import numpy as np
from birefnet_apps import CutoutRun, FileReport, cutout_files
from birefnet_runtime import (
    Background,
    BirefnetError,
    Blur,
    Canvas,
    Clean,
    Color,
    Cpu,
    Cuda,
    Encoding,
    ImageBackground,
    ImageError,
    ImageSource,
    Interrupted,
    Layout,
    Length,
    Memory,
    ModelMetadata,
    Named,
    Opening,
    OpenVINO,
    Picture,
    Prediction,
    Prepared,
    Result,
    Segmenter,
    Session,
    SessionInfo,
    Size,
    Style,
    Subject,
    TensorRT,
    compose,
    estimate_foreground,
    find_subject,
    read_image,
    write_image,
)
from numpy.typing import NDArray
from PIL import Image

CAN_GO_WRONG = (
    birefnet_runtime.AccessError,
    birefnet_runtime.CacheError,
    birefnet_runtime.FetchError,
    birefnet_runtime.LicenseError,
    birefnet_runtime.MemoryLimitError,
    birefnet_runtime.MissingExtraError,
    birefnet_runtime.ModelError,
    birefnet_runtime.OfflineError,
    birefnet_runtime.OnlyCheckpointError,
    birefnet_runtime.OnnxFileError,
    birefnet_runtime.OutputError,
    birefnet_runtime.PinError,
    birefnet_runtime.ProviderError,
    birefnet_runtime.SizeError,
    birefnet_runtime.UnknownModelError,
    birefnet_runtime.WrongAnswerError,
    birefnet_apps.ClusterError,
    birefnet_apps.ServeError,
)
MAY_BE_SILENCED: tuple[type[Warning], ...] = (
    birefnet_runtime.MemoryWarning,
    birefnet_runtime.ProviderWarning,
    birefnet_runtime.SizeWarning,
)
logging.getLogger("birefnet").setLevel(logging.INFO)
version: str = birefnet_runtime.__version__


def cut_out(photo: Path, model: str | Path = "nano", size: Size = None) -> Image.Image:
    segmenter = Segmenter(model, size=size, threads=2)
    alpha = segmenter(photo)
    mask = Image.fromarray((alpha * 255).astype(np.uint8))
    image = Image.open(photo)
    image.putalpha(mask)
    return image


def every_kind_of_input(segmenter: Segmenter, photo: Path) -> list[NDArray[np.float32]]:
    pixels: NDArray[np.uint8] = np.zeros((4, 4, 3), np.uint8)
    content = photo.read_bytes()
    sources: list[ImageSource] = [photo, str(photo), content, memoryview(content), pixels]
    sources += [io.BytesIO(content), Image.open(photo), read_image(photo)]
    with open(photo, "rb") as file:
        return [*segmenter.batch(sources), segmenter(file)]


def every_kind_of_result(segmenter: Segmenter, photo: Path) -> NDArray[np.uint8]:
    deep: NDArray[np.uint16] = np.zeros((4, 4, 4), np.uint16)
    behind: list[Background] = [Blur(), Color((255, 255, 255)), ImageBackground(photo)]
    frames = (
        Canvas((1000, 1000)),
        Layout(margins=(Length(9), Length(9), Length(9), Length(0.1, relative=True))),
    )
    style = Style(background=behind[0], crop=0.1, depth=16)
    result: Result = segmenter.compose(photo, style)
    result.save("out.tif")
    result.save("out.webp", Encoding(quality=80))
    for frame in frames:
        segmenter.compose(photo, Style(layout=frame, clean=Clean(main=True))).save(io.BytesIO())
    content: bytes = result.encode(Encoding("webp", quality=90))
    print(len(content), result.subject.box)
    for alpha in segmenter.stream([photo, deep]):
        print(alpha.mean())
    with segmenter:
        return segmenter.cutout(deep, foreground="none")


def step_by_step(segmenter: Segmenter, photo: Path) -> Subject:
    prepared: Prepared = segmenter.prepare(photo)
    (prediction,) = segmenter.run([prepared])
    return finished(segmenter, prepared, prediction)


def finished(segmenter: Segmenter, prepared: Prepared, prediction: Prediction) -> Subject:
    picture: Picture = prepared.picture
    alpha = segmenter.finish(prepared, prediction)
    colors = estimate_foreground(picture.pixels, alpha)
    write_image("colors.png", colors)
    compose(picture, alpha).save("cutout.png")
    return find_subject(alpha)


def every_kind_of_opening(session: Session) -> list[Segmenter]:
    memory: Memory = "low"
    opening = Opening(threads=2, memory=memory, compiled=False, providers="cuda,cpu")
    opened = [Segmenter("lite", **opening), Segmenter(providers=[Cuda(), "cpu"])]
    opened += [Segmenter(providers=one) for one in (Cpu(), OpenVINO(), TensorRT(), Named("coreml"))]
    opened += [Segmenter(size=size) for size in (None, 512, (512, 1024))] + [Segmenter(size="auto")]
    return [*opened, Segmenter.from_session(session)]


def facts(segmenter: Segmenter) -> tuple[int, int]:
    metadata: ModelMetadata = segmenter.metadata
    info: SessionInfo | None = segmenter.session_info
    print(info and info.describe())
    height, width = metadata.trained_size
    return height, width


def a_folder(photos: Sequence[Path], enough: int) -> list[str]:
    done = []
    run: CutoutRun = cutout_files(photos, "cutouts", model="nano", encoding=Encoding("webp"))
    for report in run:
        print(line(report), run.count)
        done.append(report.source)
        if len(done) == enough:
            run.stop()
    return done


def line(report: FileReport) -> str:
    return f"{report.source}: {report.error or report.target}"


async def at_once(segmenter: Segmenter, photos: Sequence[Path]) -> list[Result]:
    try:
        async with asyncio.timeout(60):
            tasks = (asyncio.to_thread(segmenter.compose, photo) for photo in photos)
            return await asyncio.gather(*tasks)
    except TimeoutError:
        segmenter.interrupt()
        return []


def names() -> list[str]:
    return [card.name for card in birefnet_models.all_cards()]


try:
    cut_out(Path("photo.jpg"))
except (ImageError, Interrupted) as error:
    print(error)
except CAN_GO_WRONG as error:
    print("not here:", error)
except BirefnetError as error:
    print(error)
