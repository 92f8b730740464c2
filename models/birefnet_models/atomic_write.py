"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path`, which becomes `path` when all went well.

    If the block raises, the temporary file is removed and `path` is what it was. The temporary
    file has the suffix of `path`, so that writers which look at it choose the same format.
    """
    temporary = path.with_name(f".birefnet-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
