"""`POST /api/remove`: the fields of rembg's server, so that its users change an address only."""

import re

from birefnet_models.base.text import printable
from birefnet_runtime.cutout.background import Color
from birefnet_runtime.cutout.compose import Style

from ..errors import bad_parameter, url_refused
from ..form import Asked, Fields
from ..job import Order

_MATTING = frozenset({"af", "ab", "ae"})
"""Thresholds of alpha matting, without meaning where that is off."""
_COLOR = re.compile(r"\s*\(?\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)?\s*")


def read_order(fields: Fields, model: str) -> Order:
    """Read a request's fields.

    Args:
        fields: of the body or the query.
        model: the name of the model that runs; no other may be asked for.

    Raises:
        Refusal: a field isn't known, isn't understood or isn't supported; names it.
    """
    if "url" in fields:
        raise url_refused("url")
    known = {"file", "model", "a", "om", "ppm", "bgc", "extras", *_MATTING}
    for name in fields:
        if name not in known:
            raise bad_parameter(printable(name), "no such field")
    if "file" not in fields:
        raise bad_parameter("file", "no picture given")
    asked = Asked(fields)
    wanted = asked.text("model", "")
    if wanted and wanted != model:
        raise bad_parameter("model", f"here runs {model}; leave it out, or ask another server")
    if asked.truth("a", False):
        raise bad_parameter("a", "no alpha matting here: the model's alpha is used as it is")
    if asked.text("extras", "") not in {"", "{}", "null"}:
        raise bad_parameter("extras", "this model takes no further arguments")
    mask = asked.truth("om", False)
    return Order(
        fields["file"],
        "image_file",
        Style(mask=mask, background=None if mask else asked.read("bgc", _color, None)),
        hard=asked.truth("ppm", False),
    )


def _color(text: str) -> Color | None:
    found = _COLOR.fullmatch(text)
    channels = [int(number) for number in found.groups()] if found else []
    if not channels or max(channels) > 255:
        raise ValueError("is no color; give red,green,blue,alpha of 0 to 255 each")
    red, green, blue, opacity = channels
    return Color((red, green, blue), opacity / 255) if opacity else None
