"""The page at `GET /`, and the policy that lets a browser run what is in it and nothing else."""

import base64
import hashlib
import re
from importlib.resources import files

POLICY_WITHOUT_PAGE = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every answer that is no page."""


def read_page() -> bytes:
    """The page, one file of HTML with its style and its script in it."""
    return files("birefnet_apps.serve").joinpath("page.html").read_bytes()


def page_policy(page: bytes) -> str:
    """Content-Security-Policy of the page: its own script and style by their hashes, pictures that
    the browser holds, and requests to this server."""
    scripts, styles = (
        " ".join(_hash(block) for block in re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.S))
        for tag in (b"script", b"style")
    )
    allowed = "connect-src 'self'; img-src 'self' blob: data:"
    return f"{POLICY_WITHOUT_PAGE}; script-src {scripts}; style-src {styles}; {allowed}"


def _hash(block: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(block).digest()).decode("ascii")
    return f"'sha256-{digest}'"
