"""From what is typed as a model to its `.onnx` file, and what is known of that file."""

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from birefnet_models.base.errors import AccessError, OfflineError, OnlyCheckpointError
from birefnet_models.base.hashes import (
    CHECKSUMS,
    changed_file,
    checksums_beside,
    graph_sha256,
    remembered_sha256,
)
from birefnet_models.base.names import CHECKPOINT_SUFFIXES
from birefnet_models.base.onnx_file import OnnxFile, read_onnx
from birefnet_models.base.text import did_you_mean, printable
from birefnet_models.cache import END_TO_END, MODEL, MODEL_OF_PRECISION, cached_exports
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_models.reference import DEFAULT_REVISION, HubModel, Remote, parse_reference
from birefnet_models.zoo import all_cards, embedded_path, lookup

from ..errors import ModelError
from ..stderr import log
from .build import built, is_made_of_its_repository, variant_words


class ModelFile(os.PathLike[str]):
    """A model that was found: its `.onnx` file, and what that says, each read once.

    It is handed on in place of the path, so that nobody looks the model up again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sha256: dict[Path, str] = {}
        self._is_checked = False

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"ModelFile({str(self.path)!r})"

    @cached_property
    def graph(self) -> OnnxFile:
        """The graph without its weights' values.

        Raises:
            OnnxFileError: the file can't be read.
        """
        return read_onnx(self.path)

    @cached_property
    def sha256(self) -> str:
        """Of the file and of the weights beside it, in hexadecimal.

        Raises:
            OSError: one can't be read.
        """
        return graph_sha256(self.path, self.sha256_of)

    def sha256_of(self, file: Path) -> str:
        """Of one of its files.

        Raises:
            OSError: it can't be read.
        """
        if file not in self._sha256:
            self._sha256[file] = remembered_sha256(file)
        return self._sha256[file]

    def check(self) -> None:
        """Compare the file and the weights beside it with the sha256 recorded for them.

        An embedded model's stands in the zoo, that of an export and of what was fetched in the
        `SHA256SUMS` beside it. A file without a record is taken as it is. It costs 1 to 2 ms a
        megabyte (`benchmarks/results/file_check.json`), the first time: a file that wasn't touched
        since isn't read again.

        Raises:
            ModelError: a file was changed, cut or damaged since; or the record can't be read.
        """
        if self._is_checked:
            return
        path, source = self.path, CHECKSUMS
        try:
            checksums = checksums_beside(path)
            for card in all_cards():
                if card.sha256 and path == embedded_path(card):
                    source, checksums = "the zoo", {path.name: card.sha256}
            changed = changed_file(path.parent, checksums, self.sha256_of)
        except OSError as error:
            raise ModelError(
                f"{path}: can't be compared with its record: {error.strerror}"
            ) from error
        if changed is not None:
            what = (
                "get it again"
                if source == "the zoo"
                else "make or fetch it again, or remove its line there"
            )
            raise ModelError(
                f"{changed} is not the file that {source} records: it was changed or damaged; "
                f"{what}"
            )
        self._is_checked = True


def as_model_file(file: str | os.PathLike[str]) -> ModelFile:
    """The model of an `.onnx` file, which isn't looked for."""
    return file if isinstance(file, ModelFile) else ModelFile(Path(file))


def find_model(model: str | os.PathLike[str], how: FetchOptions = DEFAULT_OPTIONS) -> ModelFile:
    """Find the `.onnx` file of a model, which is fetched if its name says so and it isn't here.

    Args:
        model: what it is called:

            - a name of the zoo or of an export in the cache, with `:VARIANT` behind it where one of
              several is meant: `lite`, `lite:fp16`. It wins over a file that is called the same;
              write `./lite` for the file;
            - an `.onnx` file, or a directory that holds `onnx/model.onnx` or a single `.onnx` file,
              with `:PRECISION` behind it where it holds several: `shoes-onnx:int8`;
            - a repository of the hub, `OWNER/NAME[@REVISION][:PRECISION]`, where neither an export
              nor a file here is called so; or the URL of an `.onnx`. These two are fetched into the
              cache once, checked and pinned;

            What is a checkpoint and not yet an `.onnx` (a name of the zoo, a repository without
            one) is fetched and made into one once, in the cache, where the export is installed.


            A `Path` is always a file or a directory. A model that was found is taken as it is.
        how: how it is fetched and pinned. Without `say` a logger, `birefnet`, gets the lines.

    Raises:
        ModelError: there is none; the message says what was found instead, and what makes it.
        MissingExtraError: it has to be made, and the export is not installed.
        LicenseError: it has terms that were not accepted.
        FetchError: it can't be fetched: offline, no access, no such file.
        PinError: it is not the pinned one.
    """
    if isinstance(model, ModelFile):
        return model
    named = _by_name(model, how) if isinstance(model, str) else None
    return ModelFile(named or _by_path(model))


def _by_path(model: str | os.PathLike[str]) -> Path:
    path = Path(model)
    if path.is_dir():
        return _in_directory(path)
    if path.suffix in CHECKPOINT_SUFFIXES:
        raise ModelError(f"{model} is a checkpoint; first: birefnet export {model} --output DIR")
    folder, colon, precision = str(model).rpartition(":")
    if colon and not path.is_file() and os.path.isdir(folder):
        return _in_directory_at(Path(folder), precision)
    if not path.is_file():
        raise ModelError(_unknown(str(model)))
    return path


def _by_name(model: str, how: FetchOptions) -> Path | None:
    """The file of a model that is known by this name; None where it can only be a path."""
    reference = parse_reference(model)
    if reference is not None and "://" in model:
        return _fetched(reference, how)
    name, colon, variant = model.partition(":")
    card = lookup(name)
    if card is not None and card.embedded:
        return embedded_path(card)
    is_path = any(mark in model for mark in (os.sep, ".onnx")) and reference is None
    if is_path or (card is None and os.path.exists(model)):
        return None
    exports = cached_exports(name)
    fitting = [e for e in exports if set(variant.split("-")) <= set(e.variant.split("-"))]
    if fitting or (not colon and exports):
        return (fitting or exports)[0].file
    if exports and not (variant_words(variant) and (card or is_made_of_its_repository(exports[0]))):
        variants = ", ".join(export.variant for export in exports)
        raise ModelError(f"{name} is in the cache as {variants}, not as {variant}")
    if exports or card:
        return built(card.name if card else name, variant, how)
    return _from_hub(model, reference, how)


def _from_hub(model: str, reference: Remote | None, how: FetchOptions) -> Path | None:
    """The file of a repository, ready-made or made of the checkpoint there; None where the name is
    of another form."""
    if not isinstance(reference, HubModel):
        return None
    if reference.card is not None:  # at a revision: an export of it has a place of its own
        raise ModelError(
            f"{model}: this makes it: birefnet export {reference.repo}@{reference.revision} "
            "--output DIR"
        )
    if os.path.exists(reference.repo):
        raise ModelError(
            f"{model}: {reference.repo} is a folder here, which wins over a repository of the hub; "
            f"give the .onnx in it, or https://huggingface.co/{reference.repo} for the repository"
        )
    try:
        return _fetched(reference, how)
    except OnlyCheckpointError:
        if reference.revision != DEFAULT_REVISION:
            raise
        return built(reference.repo, reference.precision or "", how)
    except (AccessError, OfflineError) as error:
        raise type(error)(f"{error}; nor is a file or folder here called {model}") from error


def _fetched(reference: Remote, how: FetchOptions) -> Path:
    from birefnet_models.fetch import ready_made  # an HTTP client, for this alone

    return ready_made(reference, replace(how, say=how.say or log.info))


def _in_directory(directory: Path) -> Path:
    """The one model of an export directory, or of another tool's folder."""
    if (whole := directory / MODEL).is_file():
        return whole
    for folder in (directory / MODEL.parent, directory):
        every = sorted(folder.glob("*.onnx"))
        # A file that takes pixels is a further one; alone, it is the model.
        files = [file for file in every if not file.name.startswith(END_TO_END)] or every
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files)
            raise ModelError(f"{directory} holds several models ({names}); name the one to use")
    raise ModelError(f"{directory}: an export directory holds {MODEL.as_posix()}; this one doesn't")


def _in_directory_at(directory: Path, precision: str) -> Path:
    """The model of an export directory in a precision: `shoes-onnx:int8`."""
    if precision in MODEL_OF_PRECISION and (directory / MODEL_OF_PRECISION[precision]).is_file():
        return directory / MODEL_OF_PRECISION[precision]
    held = {name for name, file in MODEL_OF_PRECISION.items() if (directory / file).is_file()}
    here = f"holds {', '.join(sorted(held))}" if held else "holds no export"
    raise ModelError(
        f"{directory} {here}, not {printable(precision)}{did_you_mean(precision, held)}"
    )


def _unknown(model: str) -> str:
    hint = did_you_mean(model, [card.name for card in all_cards()]) or ";"
    return (
        f"{printable(model)}: no such file, and no model is named so{hint} `birefnet models` lists "
        "what is known by name; a repository of the hub is OWNER/NAME"
    )
