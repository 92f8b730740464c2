"""The public face of the export; onnx enters with the first call, not with the import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from birefnet_models.base.extras import naming_extras
from birefnet_models.cache import export_directory
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_models.zoo import lookup

from .checkpoint.fetch import LocalCheckpoint, fetch
from .errors import ExportError, PrecisionError
from .options import ExportOptions, ExportReport, ExportRequest, graph_form
from .precision.request import Precision


@naming_extras()
def export_onnx(
    checkpoint: str | Path,
    output_dir: str | Path | None = None,
    *,
    opset: int | None = None,
    lowering: str | None = None,
    verify: bool = True,
    trained_size: tuple[int, int] | None = None,
    external_data: bool = False,
    precision: str = "fp32",
    calibrate: str | Path | None = None,
    min_iou: float | None = None,
    name: str | None = None,
    multi_scale: str | None = None,
    end_to_end: bool = False,
    fetching: FetchOptions = DEFAULT_OPTIONS,
) -> ExportReport:
    """Turn a BiRefNet checkpoint into one ONNX graph with dynamic batch, height and width.

    Writes `onnx/model.onnx` (with fp16 `model_fp16.onnx`, with int8 `model_quantized.onnx`),
    `config.json` and `preprocessor_config.json` below `output_dir`, each whole or not at all. Input
    and output of the graph are those of `signature`.

    Args:
        checkpoint: a name of the zoo (`lite`), a repository of the hub (`OWNER/NAME@REVISION`), the
            URL of a file, a `.safetensors` or `.pth` file, or a directory with `model.safetensors`.
        output_dir: made if it does not exist; by default the model's place in the cache.
        opset: one of `OPSETS`, not before the lowering's first; by default the lowering's own.
        lowering: one of `LOWERINGS`; by default `native` with fp16, which is for GPUs, else `rows`.
        verify: compare the file in ONNX Runtime with the checkpoint in NumPy, in float64, before it
            gets its name.
        trained_size: height and width; by default what the zoo or a `preprocessor_config.json`
            beside the checkpoint says. Without either, users of the file assume 1024 x 1024.
        external_data: write the weights beside the graph, to `onnx/model.onnx_data`. ONNX Runtime
            maps them into memory instead of copying them.
        precision: one of `PRECISIONS`; input and output are float32 with each.
        calibrate: a folder of images like those to come, for int8 and fp16. With them int8's large
            convolutions are quantized too, and the masks are compared with float32's; fp16's
            head-room is measured on them instead of the package's two photographs.
        min_iou: the mean IoU of these masks below which int8 is refused; by default .99.
        name: in the cache; by default the zoo's or the repository's. A local checkpoint has none.
        multi_scale: `none` or `add`, which the tensors of some fine-tunes can't tell apart
            (upstream's `mul_scl_ipt`); without it, these are refused.
        end_to_end: write `onnx/model_end_to_end.onnx` as well (with fp16 and int8
            `model_end_to_end_fp16.onnx` and `model_end_to_end_quantized.onnx`): uint8 (batch,
            height, width, 3) RGB of any size to uint8 (batch, height, width) alpha, with the
            network at the trained size inside.
        fetching: how a checkpoint from elsewhere is fetched and pinned.

    Raises:
        FetchError: the checkpoint can't be had.
        PinError: the checkpoint is not the pinned one.
        CheckpointError: the checkpoint can't be read or doesn't fit.
        GraphError: the graph breaks its contract.
        ParityError: the graph computes something other than the checkpoint.
        PrecisionError: there is no such precision, the calibration images are no use, or int8's
            masks keep less than `min_iou`.
        ImageError: one of them can't be read.
        ExportError: the opset, the lowering or the trained size is not possible, or the output
            can't be written.
    """
    (report,) = export_precisions(
        checkpoint,
        output_dir,
        (precision,),
        opset=opset,
        lowering=lowering,
        verify=verify,
        trained_size=trained_size,
        external_data=external_data,
        calibrate=calibrate,
        min_iou=min_iou,
        name=name,
        multi_scale=multi_scale,
        end_to_end=end_to_end,
        fetching=fetching,
    )
    return report


def export_precisions(
    checkpoint: str | Path,
    output_dir: str | Path | None = None,
    precisions: Sequence[str] = ("fp32", "fp16", "int8"),
    **options: Unpack[ExportOptions],
) -> tuple[ExportReport, ...]:
    """Export a checkpoint in several precisions, in one run.

    The checkpoint is fetched and read once, the reference that all are compared with is computed
    once, and a graph that two of them share is built once. A file that is finished stays, whatever
    becomes of the next.

    Args:
        checkpoint: as of `export_onnx`.
        output_dir: of all files; by default each lies in its own place in the cache.
        precisions: of `PRECISIONS`, in the order in which they are made; each once.
        options: those of `export_onnx`. Calibration images are for those of the precisions that
            have a use for them.

    Returns:
        A report for each precision.

    Raises:
        BirefnetError: as `export_onnx` does.
    """
    fetching = options.get("fetching", DEFAULT_OPTIONS)
    requests = [_request(name, precisions, options) for name in dict.fromkeys(precisions)]
    if not requests:
        raise PrecisionError("no precision is asked for; name one at least, such as fp32")
    from .pipeline import Target, run_export

    step = fetching.step or (lambda what: None)
    step("fetching the checkpoint")
    fetched = fetch(checkpoint, fetching)
    name = None if output_dir else _cache_name(options.get("name"), fetched)
    targets = []
    for request in requests:
        form = f"{request.precision.name}-{request.form.lowering.name}"
        directory = Path(output_dir) if output_dir else export_directory(str(name), form)
        targets.append(Target(directory, request))
    return tuple(replace(report, name=name) for report in run_export(fetched, targets, step))


def _request(name: str, among: Sequence[str], options: ExportOptions) -> ExportRequest:
    """What is asked of one precision, less what only others of them have a use for."""
    calibrate, min_iou = options.get("calibrate"), options.get("min_iou")
    if name == "fp32" and len(among) > 1:
        calibrate = None
    if name != "int8" and "int8" in among:
        min_iou = None
    return ExportRequest(
        form=graph_form(options.get("lowering"), options.get("opset"), name),
        precision=Precision(name, Path(calibrate) if calibrate is not None else None, min_iou),
        trained_size=options.get("trained_size"),
        multi_scale=options.get("multi_scale"),
        verify=options.get("verify", True),
        external_data=options.get("external_data", False),
        end_to_end=options.get("end_to_end", False),
    )


def _cache_name(asked: str | None, fetched: LocalCheckpoint) -> str:
    """Choose the name of the export in the cache."""
    known = lookup(asked) if asked else None
    if known is not None and known != fetched.card:
        raise ExportError(f"{asked} is the name of another model ({known.id}); choose another name")
    name = asked or fetched.name
    if name is None:
        raise ExportError(
            f"{fetched.path}: a local checkpoint needs a directory for its export (--output) or a "
            "name in the cache (--name)"
        )
    return name
