"""Results files: what was measured, as JSON, whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from birefnet_models.base.files import replacing


def write_results(output: Path, stored: Mapping[str, Any]) -> None:
    """Write a results file; a reader finds the old one or the new one."""
    with replacing(output) as unnamed:
        unnamed.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
