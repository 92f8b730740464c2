"""From what is typed as a model to its `.onnx` file, and whether that is the file it was."""

import os
from pathlib import Path

from birefnet_models.cache import END_TO_END, MODEL, cached_exports
from birefnet_models.checksums import CHECKSUMS, changed_file, read_checksums
from birefnet_models.names import CHECKPOINT_SUFFIXES, REPOSITORY
from birefnet_models.zoo import all_cards, embedded_path, lookup

from ..errors import ModelError


def find_model(model: str | os.PathLike[str]) -> Path:
    """The `.onnx` file of a model.

    Args:
        model: a name of the zoo or of an export in the cache, with `:VARIANT` behind it where one
            of several is meant (`lite`, `lite:fp16`, `owner/repo`), an `.onnx` file, or a directory
            that holds `onnx/model.onnx` or a single `.onnx` file. A name wins over a file that is
            called the same; write `./lite` for the file.

    Raises:
        ModelError: there is none; the message says what was found instead, and what makes it.
    """
    named = _by_name(model) if isinstance(model, str) else None
    if named is not None:
        return named
    path = Path(model)
    if path.is_dir():
        return _in_directory(path)
    if path.suffix in CHECKPOINT_SUFFIXES:
        raise ModelError(f"{model} is a checkpoint; first: birefnet export {model} --output DIR")
    if not path.is_file():
        raise ModelError(_unknown(str(model)))
    return path


def check_files(path: Path) -> None:
    """Compare an `.onnx` file and the weights beside it with the sha256 recorded for them.

    An embedded model's stands in the zoo, an export's in the `SHA256SUMS` beside it. A file
    without a record is taken as it is. It costs 1 to 2 ms a megabyte
    (`benchmarks/results/file_check.json`).

    Raises:
        ModelError: a file was changed, cut or damaged since; or the record can't be read.
    """
    source: str = CHECKSUMS
    try:
        recorded = read_checksums(path.parent)
        checksums = {
            name: recorded[name] for name in (path.name, f"{path.name}_data") if name in recorded
        }
        for card in all_cards():
            if card.sha256 and path == embedded_path(card):
                source, checksums = "the zoo", {path.name: card.sha256}
        changed = changed_file(path.parent, checksums)
    except OSError as error:
        raise ModelError(f"{path}: can't be compared with its record: {error.strerror}") from error
    if changed is not None:
        what = "get it anew" if source == "the zoo" else "export it again, or remove its line there"
        raise ModelError(
            f"{changed} is not the file that {source} records: it was changed or damaged; {what}"
        )


def _by_name(model: str) -> Path | None:
    """The file of a model that is known by this name; None where it can only be a path."""
    name, colon, variant = model.partition(":")
    card = lookup(name)
    if card is not None and card.embedded:
        return embedded_path(card)
    is_path = any(mark in model for mark in (os.sep, ".onnx")) and not REPOSITORY.fullmatch(name)
    if is_path or (card is None and Path(model).exists()):
        return None
    exports = cached_exports(name)
    fitting = [e for e in exports if set(variant.split("-")) <= set(e.variant.split("-"))]
    if fitting or (not colon and exports):
        return (fitting or exports)[0].file
    if exports:
        variants = ", ".join(export.variant for export in exports)
        raise ModelError(f"{name} is in the cache as {variants}, not as {variant}")
    if card is not None or (REPOSITORY.fullmatch(name) and not Path(name).suffix):
        raise ModelError(f"{name} is not in the cache; this puts it there: birefnet export {name}")
    return None


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


def _unknown(model: str) -> str:
    embedded = ", ".join(card.name for card in all_cards() if card.embedded)
    zoo = ", ".join(card.name for card in all_cards() if not card.embedded)
    return (
        f"{model}: no such file, and no embedded model has that name ({embedded}), "
        f"nor one that can be exported ({zoo})"
    )
