"""`config.pbtxt` of one model: what Triton serves it as.

The fields are those of `ModelConfig` in Triton's `model_config.proto`; the accelerator's parameters
those that its ONNX Runtime backend hands to the TensorRT provider.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
from birefnet_models.base.files import temporary_folder
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.onnx_file import OnnxFile, ValueInfo
from birefnet_models.base.text import first_line, format_size
from birefnet_models.cache import END_TO_END, end_to_end_file
from birefnet_runtime.errors import ModelError, OutputError, WrongAnswerError
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.model.graph_io import Prepared, stated_form
from birefnet_runtime.model.known_answer import (
    Answer,
    Difference,
    KnownAnswer,
    draw,
    encoded,
    read_known_answer,
)
from birefnet_runtime.model.locate import ModelFile, as_model_file
from birefnet_runtime.model.metadata import ModelMetadata, concrete_sizes, read_metadata
from birefnet_runtime.model.size import Size
from birefnet_runtime.session.judge import coarser
from birefnet_runtime.session.ort_options import tensorrt_options
from birefnet_runtime.session.providers import Cpu, Cuda, Provider, TensorRT
from birefnet_runtime.session.tensorrt import derive_profile

TRITON_RELEASE = "26.07"
"""The first release whose ONNX Runtime (1.27) has the CPU and CUDA kernels of `DeformConv`, which
came with 1.25."""
CONFIG_MARK = "# Written by birefnet triton"
"""What our configurations begin with, so that nobody else's is overwritten."""
ENGINES = "/var/cache/birefnet"
"""Where engines are kept, in the server's container: mounted there, they outlast it."""
QUEUE_DELAY_US = 5_000
"""How long a request may wait for others of its shape."""
MOST_QUEUED = 64
TIMEOUT_US = 30_000_000
"""How many requests may wait, and how long: what comes beyond is refused at once."""

_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8"}


@dataclass(frozen=True, slots=True)
class Serving:
    """How models are to be served."""

    max_batch: int = 8
    instances: int = 1
    """Of each model, on each GPU, or on the CPU."""
    tensorrt: bool = False
    warmup: tuple[Size, ...] = ()
    """Sizes that are run once before a model counts as ready: of the network, or of the images."""


def config_text(name: str, model: OnnxFile, serving: Serving) -> str:
    """The configuration of a model.

    Raises:
        ModelError: its graph can't be batched, or has a type that Triton's tensors don't have here.
        SizeError: the network can't run at one of the sizes.
    """
    metadata = read_metadata(model.properties)
    (image, *others), outputs = model.inputs, model.outputs
    takes_pixels = image.dtype == "uint8"
    if others or isinstance(_shape(image)[0], int):
        raise ModelError(
            f"{model.path}: Triton batches along a free first axis of one input, and this graph "
            f"has {', '.join(f'{i.name} {_shape(i)}' for i in model.inputs)}; `birefnet export` "
            "makes one that can be batched"
        )
    shapes = [
        [*size, 3] if takes_pixels else [3, *size]
        for asked in serving.warmup
        for size in _sizes(asked, metadata, takes_pixels)
    ]
    lines = [
        f"{CONFIG_MARK}, for Triton {TRITON_RELEASE} or later (ONNX Runtime 1.25: DeformConv).",
        *_field("name", name),
        *_field("backend", "onnxruntime"),
        *_field("default_model_filename", model.path.name),
        f"max_batch_size: {serving.max_batch}",
        *_tensors("input", [image]),
        *_tensors("output", outputs),
        f"instance_group [ {{ count: {serving.instances} }} ]",
        *_batching(),
        *(_accelerator(name, model, metadata, serving) if serving.tensorrt else ()),
        *_warmups(image, shapes),
    ]
    return "\n".join(lines) + "\n"


def _sizes(asked: Size, metadata: ModelMetadata, pixels: bool) -> list[tuple[int, int]]:
    """A size as typed, of the network; of images any will do."""
    if not pixels:
        return concrete_sizes(asked, metadata)
    if isinstance(asked, int):
        return [(asked, asked)]
    return [asked] if isinstance(asked, tuple) else [metadata.trained_size]


def _shape(value: ValueInfo) -> Sequence[int | str]:
    if not value.shape:
        raise ModelError(f"{value.name} has no shape, which a configuration needs")
    return value.shape


def _field(name: str, text: str) -> Iterator[str]:
    yield f"{name}: {json.dumps(text)}"


def _tensors(kind: str, values: Iterable[ValueInfo]) -> Iterator[str]:
    """Name, type and dims; the batch, which comes first, is `max_batch_size`'s matter."""
    for value in values:
        if value.dtype not in _TYPES:
            raise ModelError(
                f"{value.name} is {value.dtype}, which is not a tensor of an image model"
            )
        dims = ", ".join(str(d) if isinstance(d, int) else "-1" for d in _shape(value)[1:])
        yield f"{kind} [ {{"
        yield from (f"  {line}" for line in _field("name", value.name))
        yield f"  data_type: {_TYPES[value.dtype]}"
        yield f"  dims: [ {dims} ]"
        yield "} ]"


def _batching() -> Iterator[str]:
    yield "dynamic_batching {"
    yield f"  max_queue_delay_microseconds: {QUEUE_DELAY_US}"
    yield "  default_queue_policy {"
    yield "    timeout_action: REJECT"
    yield f"    default_timeout_microseconds: {TIMEOUT_US}"
    yield "    allow_timeout_override: true"
    yield f"    max_queue_size: {MOST_QUEUED}"
    yield "  }"
    yield "}"


def _accelerator(
    name: str, model: OnnxFile, metadata: ModelMetadata, serving: Serving
) -> Iterator[str]:
    """TensorRT within ONNX Runtime, with one engine for all sizes between the named ones."""
    half = model.properties.get(f"{METADATA_PREFIX}precision") == "fp16"
    profile = derive_profile(metadata, serving.warmup, serving.max_batch)
    options = tensorrt_options(
        TensorRT(fp16=half, profile=profile), input_name=model.inputs[0].name
    )
    # What the backend has names of its own for, or sets itself.
    for own in ("device_id", "trt_fp16_enable", "trt_max_workspace_size", "trt_cuda_graph_enable"):
        del options[own]
    folder = f"{ENGINES}/{name}"
    options |= {
        "precision_mode": "FP16" if half else "FP32",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }
    yield "optimization {"
    yield "  execution_accelerators {"
    yield "    gpu_execution_accelerator [ {"
    yield '      name: "tensorrt"'
    yield from (f"      {line}" for line in _parameters(options))
    yield "    } ]"
    yield "  }"
    yield "}"


def _parameters(options: Mapping[str, str]) -> Iterator[str]:
    for key, value in options.items():
        yield f"parameters {{ key: {json.dumps(key)} value: {json.dumps(value)} }}"


def _warmups(image: ValueInfo, shapes: Iterable[Sequence[int]]) -> Iterator[str]:
    for shape in shapes:
        dims = ", ".join(map(str, shape))
        yield "model_warmup [ {"
        yield f"  name: {json.dumps(format_size(shape))}"
        yield "  batch_size: 1"
        yield f"  inputs {{ key: {json.dumps(image.name)} value: {{"
        yield f"    data_type: {_TYPES[image.dtype]} dims: [ {dims} ] zero_data: true"
        yield "  } }"
        yield "} ]"


# A model repository on disk: each model's folder appears whole or not at all.


CONFIG = "config.pbtxt"
PIXELS = "-pixels"
"""Behind the name of the model that takes pixels."""


def write_repository(
    file: str | os.PathLike[str], repository: Path, serving: Serving, name: str | None = None
) -> list[Path]:
    """Write the folder of a model, and of the one from pixels to alpha beside it, if there is one.

    Args:
        file: the `.onnx` file, or a model that was found; its weights beside it are copied along.
        repository: made if it does not exist. Folders that were written here before are replaced.
        serving: how it is to be served. TensorRT is for the graph that takes tensors.
        name: of the model; by default the one in its metadata, or its folder's.

    Returns:
        The folders.

    Raises:
        ModelError: a file is damaged, or its graph can't be served.
        OnnxFileError: it can't be read.
        OutputError: a folder of this name is somebody else's, or it can't be written.
    """
    models = _models(as_model_file(file), name)
    folders = [repository / each for each in models]
    for folder in folders:
        _check_ours(folder)
    without = replace(serving, tensorrt=False)  # engines are for the network's own input
    texts = [
        config_text(each, one.graph, without if each.endswith(PIXELS) else serving)
        for each, one in models.items()
    ]
    try:
        repository.mkdir(parents=True, exist_ok=True)
        for folder, text, one in zip(folders, texts, models.values(), strict=True):
            _write(folder, text, one)
    except OSError as error:
        raise OutputError(f"{repository}: can't be written: {error.strerror}") from error
    return folders


def _models(model: ModelFile, name: str | None) -> dict[str, ModelFile]:
    """The models to be served, by their names."""
    name = name or model_name(model)
    if re.sub(r"[^\w.-]+", "", name).strip(".") != name:
        raise OutputError(
            f"{name!r} can't be the name of a model; give --name letters, digits, - _ and ."
        )
    if model.path.name.startswith(END_TO_END):
        return {name + PIXELS: model}
    whole = end_to_end_file(model.path)
    return {name: model} | (
        {name + PIXELS: ModelFile(whole)} if whole.is_file() and whole != model.path else {}
    )


def _write(folder: Path, text: str, model: ModelFile) -> None:
    """Write a model's folder beside its place, and then put it there."""
    model.check()
    file = model.path
    with temporary_folder(folder.parent) as scratch:
        made = scratch / "new"
        (made / "1").mkdir(parents=True)
        (made / CONFIG).write_text(text, encoding="utf-8")
        if (asked := known_request(model)) is not None:
            known, request, _ = asked
            answer = {"request": request, "answer": json.loads(encoded(known))}
            (made / ANSWER).write_text(json.dumps(answer) + "\n", encoding="utf-8")
        for each in (file, file.with_name(f"{file.name}_data")):
            if each.is_file():  # the graph names its weights' file, so it keeps that name
                shutil.copyfile(each, made / "1" / each.name)
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(made, folder)


# The known answer, asked for as any client of the server would ask.


ANSWER = "known_answer.json"
"""A request, as KServe's protocol has it in JSON, and what is right to answer."""
_DATATYPES = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}


def known_request(model: ModelFile) -> tuple[KnownAnswer, dict[str, Any], list[Prepared]] | None:
    """A model's known answer, the request that asks for it, and the pictures; None without one.

    Raises:
        ModelError: it can't be read.
    """
    known = read_known_answer(model.graph.properties)
    if known is None:
        return None
    form = stated_form(model)
    prepared = [form.prepare(Picture(draw(*each)), known.size) for each in known.pictures]
    tensor = np.concatenate([each.tensor for each in prepared])
    (port,) = model.graph.inputs
    request = {
        "inputs": [
            {
                "name": port.name,
                "shape": list(tensor.shape),
                "datatype": _DATATYPES[port.dtype],
                "data": [float(f"{value:.8g}") for value in tensor.ravel().tolist()]
                if port.dtype != "uint8"
                else tensor.ravel().tolist(),
            }
        ],
        "outputs": [{"name": model.graph.outputs[0].name}],
    }
    return known, request, prepared


def check_server(url: str, name: str, file: str | os.PathLike[str]) -> dict[str, Difference]:
    """Ask a server that speaks KServe's protocol, as Triton does, for a model's known answer.

    Args:
        url: of the server, as http://localhost:8000.
        name: of the model there.
        file: the model that it serves.

    Raises:
        WrongAnswerError: its answer is wrong.
        ModelError: the file has no known answer, or the server gives none.
    """
    model = as_model_file(file)
    if (asked := known_request(model)) is None:
        raise ModelError(f"{model.path}: carries no known answer; export it again")
    known, request, prepared = asked
    place = f"{url.rstrip('/')}/v2/models/{quote(name)}/infer"
    call = Request(place, json.dumps(request).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(call, timeout=60) as response:
            output = json.load(response)["outputs"][0]
        values = np.asarray(output["data"], np.float32).reshape(output["shape"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{place}: gives no answer: {first_line(error)}") from error
    form = stated_form(model)
    is_alpha = model.graph.inputs[0].dtype == "uint8"
    masks = values if is_alpha else values[:, 0]
    sizes = [each.picture.size for each in prepared]
    alphas = [form.alpha(mask, size) for mask, size in zip(masks, sizes, strict=True)]
    off = known.off(Answer(tuple(alphas), None if is_alpha else masks))
    tolerance = coarser(_provider_of(url, name), known.tolerance)
    wrong = [name for name, allowed in tolerance.items() if not off[name].within(allowed)]
    if wrong:
        raise WrongAnswerError(
            f"{place}: answers wrong: its {wrong[0]} is off by {off[wrong[0]].largest:.2g} at most "
            f"and {off[wrong[0]].mean:.2g} on average; try another backend or release of the server"
        )
    return off


def _provider_of(url: str, name: str) -> Provider:
    """What a server runs a model on, as far as it says: Triton does. ONNX Runtime's CUDA rounds to
    TF32 there, for its backend has no option against it."""
    try:
        with urlopen(f"{url.rstrip('/')}/v2/models/{quote(name)}/config", timeout=60) as response:
            config = json.load(response)
        accelerators = config.get("optimization", {}).get("execution_accelerators", {})
        for each in accelerators.get("gpu_execution_accelerator", []):
            if each["name"] == "tensorrt":
                return TensorRT(fp16=each.get("parameters", {}).get("precision_mode") == "FP16")
        kinds = {each.get("kind") for each in config.get("instance_group", [])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Cpu()
    return Cuda(tf32=True) if "KIND_GPU" in kinds else Cpu()


def _check_ours(folder: Path) -> None:
    """Raises `OutputError` where the folder is there and was not written by `birefnet triton`."""
    try:
        if not folder.exists() or (folder / CONFIG).read_text("utf-8").startswith(CONFIG_MARK):
            return
    except (OSError, UnicodeDecodeError):
        pass  # no such file in it, or none of ours
    raise OutputError(
        f"{folder}: is there and was not written by birefnet triton; give another --output or "
        "--name, or remove it"
    )


def model_name(file: ModelFile) -> str:
    """What a model is called: by its metadata, else by the folder it lies in."""
    model = file.graph
    folder = model.path.absolute().parent
    stated = model.properties.get(f"{METADATA_PREFIX}model")
    name = stated or (folder.parent.name if folder.name == "onnx" else model.path.stem)
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "birefnet"
