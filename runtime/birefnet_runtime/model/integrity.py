"""Whether a model's files are those that were recorded when they were made."""

from pathlib import Path

from birefnet_models.checksums import CHECKSUMS, changed_file, read_checksums
from birefnet_models.zoo import all_cards, embedded_path

from ..errors import ModelError


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
