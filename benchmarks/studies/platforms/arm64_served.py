"""One request to a server that is started for it."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

PATIENCE_S = 900
"""For an answer: under emulation, on a busy machine."""


def served_mask(command: list[str], environment: dict[str, str], photograph: Path) -> Any:
    """Start the command, which listens on loopback and says where, and ask for a mask.

    Returns:
        uint8 (height, width).

    Raises:
        SystemExit: the server ended instead; says its last line.
    """
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            address, line = None, ""
            assert server.stderr
            for line in server.stderr:
                if address := re.search(r"http://[\d.]+:\d+", line):
                    break
            if not address:
                raise SystemExit(f"birefnet serve: ended: {line.strip()}")
            picture = base64.b64encode(photograph.read_bytes()).decode()
            asked = {"image_file_b64": picture, "channels": "alpha", "format": "png"}
            request = Request(
                f"{address.group()}/v1.0/removebg",
                json.dumps(asked | {"size": "full"}).encode(),
                {"Content-Type": "application/json"},
            )
            with urlopen(request, timeout=PATIENCE_S) as answer:
                image = Image.open(io.BytesIO(answer.read()))
            return np.asarray(image.convert("L"))
        finally:
            server.kill()
