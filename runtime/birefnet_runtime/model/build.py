"""A model that isn't here is made from its checkpoint, once a machine, by the package that can.

That is the export, which this library doesn't import: an entry point of the group
`birefnet.builders` names a function that takes a checkpoint, a precision and a lowering.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from birefnet_models.base.errors import BirefnetError, CacheError, LicenseError, PinError
from birefnet_models.base.extras import install_command, missing_extra
from birefnet_models.base.files import cache_root, exclusive
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.onnx_file import read_onnx
from birefnet_models.base.text import did_you_mean, joined, printable
from birefnet_models.cache import MODEL_OF_PRECISION, CachedExport, cached_exports, export_directory
from birefnet_models.pins import LOCK_FILE, FetchOptions
from birefnet_models.zoo import lookup

from ..errors import MissingExtraError, ModelError
from ..stderr import log

Builder = Callable[[str, str, str | None, FetchOptions], Path]
"""Makes the `.onnx` of a checkpoint (a name of the zoo, or a repository) in a precision and a
lowering (None: the precision's own), fetched so, in the cache."""

GROUP = "birefnet.builders"
LOWERING_WORDS = ("native", "rows", "gridsample")
"""Words of a variant beside its precision, as the export has them."""


def variant_words(variant: str) -> tuple[str, str | None] | None:
    """Precision and lowering that the words of a variant mean, such as `fp16` or `rows-fp32`; None
    where one of them is neither."""
    words = set(variant.split("-")) - {""}
    precisions, lowerings = words & MODEL_OF_PRECISION.keys(), words & set(LOWERING_WORDS)
    if words - precisions - lowerings or len(precisions) > 1 or len(lowerings) > 1:
        return None
    return next(iter(precisions), "fp32"), next(iter(lowerings), None)


def is_made_of_its_repository(export: CachedExport) -> bool:
    """Whether an export in the cache came from the checkpoint of the repository that it is called
    after, so that another variant can be made."""
    source = read_onnx(export.file).properties.get(f"{METADATA_PREFIX}source", "")
    return source.partition("@")[0].replace("/", "--") == export.name


def built(name: str, variant: str, how: FetchOptions) -> Path:
    """The `.onnx` of a model, made of its checkpoint if it isn't in the cache.

    Processes and threads that ask for the same wait for the first one, and find it.

    Args:
        name: of the zoo, or `OWNER/NAME` of a checkpoint's repository.
        variant: words of its precision and lowering; empty for float32.
        how: how the checkpoint is fetched and pinned. Without `say` a logger, `birefnet`, gets the
            lines.

    Raises:
        ModelError: there is no such variant, or no room for it.
        MissingExtraError: the export is not installed.
        LicenseError: the model has terms that were not accepted.
        BirefnetError: what goes wrong when it is fetched, built or compared, with what to do.
    """
    words = variant_words(variant)
    if words is None:
        raise ModelError(
            f"{name}:{printable(variant)}: {printable(variant)} is not a precision "
            f"({joined(list(MODEL_OF_PRECISION), ' or ')})"
            f"{did_you_mean(variant, MODEL_OF_PRECISION)}"
        )
    precision, lowering = words
    builder = _builder(name)
    how = replace(how, say=how.say or log.info)
    try:
        place = export_directory(name, precision).parent
        place.mkdir(parents=True, exist_ok=True)
        with exclusive(place / f".{precision}-{lowering or ''}.lock"):
            if (file := _in_cache(name, precision, lowering)) is None:  # or another has made it
                file = _made(builder, name, precision, lowering, how)
    except LicenseError as error:
        terms = str(error).partition("; accept")[0]
        raise LicenseError(
            f"{terms}; accept that with: birefnet models --fetch {name} --accept-license"
        ) from error
    except OSError as error:
        raise ModelError(
            f"{name}: can't be stored in {error.filename or cache_root()}: {error.strerror}; set "
            f"BIREFNET_CACHE to a directory with room that can be written, or {_instead(name)}"
        ) from error
    except CacheError:
        raise
    except BirefnetError as error:
        raise type(error)(f"{error}; or {_instead(name)}") from error
    return file


def _made(
    builder: Builder, name: str, precision: str, lowering: str | None, how: FetchOptions
) -> Path:
    try:
        return builder(name, precision, lowering, how)
    except PinError as error:
        if how.lock != LOCK_FILE or not isinstance(error.__cause__, OSError):
            raise
        # A working directory that can't be written to: the cache remembers.
        return builder(name, precision, lowering, replace(how, lock=cache_root() / LOCK_FILE))


def _in_cache(name: str, precision: str, lowering: str | None) -> Path | None:
    wanted = {precision, lowering} - {None}
    fitting = (e for e in cached_exports(name) if wanted <= set(e.variant.split("-")))
    return next((export.file for export in fitting), None)


def _builder(name: str) -> Builder:
    """The function that makes models, if what it needs is installed: asked before the network is.

    Raises:
        MissingExtraError: it isn't.
    """
    for entry in metadata.entry_points(group=GROUP):
        try:
            builder: Builder = entry.load()
            return builder
        except ModuleNotFoundError as error:
            missing = missing_extra(error.name)
            if missing is None:
                raise
            raise _not_installed(name, f" ({error.name} is missing)") from error
    raise _not_installed(name, "")


def _not_installed(name: str, what: str) -> MissingExtraError:
    return MissingExtraError(
        f"{name} is not in the cache, and what makes it from its checkpoint is not "
        f"installed{what}: {install_command('export')}; or {_instead(name)}"
    )


def _instead(name: str) -> str:
    """What a user can do who can't have a model made here."""
    card = lookup(name)
    ready = card.ready_made if card else None
    return (
        f"take a ready-made file (--model {ready or 'OWNER/NAME of one, or its URL'}), or an "
        f"export copied from elsewhere (--model {os.path.join('DIR', 'onnx', 'model.onnx')})"
    )
