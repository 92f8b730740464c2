"""`POST /api/remove`: the fields of rembg's server, so that its users change an address only."""

import re
from functools import partial

from birefnet_runtime.cutout.background import Color
from birefnet_runtime.cutout.compose import Style

from ..errors import bad_parameter, url_refused
from ..form import Fields
from ..job import Order
from .parameters import IGNORED, ApiParameter, Table, number, truth, understand

MODELS = (
    *("u2net", "u2netp", "u2net_human_seg", "silueta", "isnet-general-use", "isnet-anime"),
    *("birefnet-general", "birefnet-general-lite", "birefnet-general-fp16", "birefnet-portrait"),
    *("birefnet-dis", "birefnet-hrsod", "birefnet-cod", "birefnet-massive", "bria-rmbg"),
    "withoutbg",
)
"""rembg's models that cut out a subject, which is what the model here does. The others give
something else (garments), want something else (points), or are their owner's."""
_COLOR = re.compile(r"\s*\(?\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)?\s*")


def read_rembg(fields: Fields, model: str) -> tuple[Order, dict[str, str]]:
    """Read a request's fields.

    Args:
        fields: of the body and the query.
        model: the name of the model that runs.

    Returns:
        the order, and headers of the answer that say how it was understood.

    Raises:
        Refusal: a field isn't known, isn't understood or isn't supported; names it.
    """
    values, ignored = understand(fields, parameters(model))
    if values["file"] is None:
        raise bad_parameter("file", "no picture given")
    mask = values["om"]
    order = Order(
        values["file"],
        "file",
        Style(mask=mask, background=None if mask else values["bgc"]),
        hard=values["ppm"],
    )
    return order, {IGNORED: ", ".join(ignored)} if ignored else {}


def parameters(model: str) -> Table:
    """rembg's parameters, where a model of this name runs."""
    threshold = ApiParameter(
        ignored="0 to 255: there is no alpha matting here",
        refused="others",
        read=number(0, 255),
        is_ignored=lambda values: True,
    )
    return {
        "file": ApiParameter("the picture"),
        "url": ApiParameter(refused="always: no address is fetched", refuse=url_refused),
        "model": ApiParameter(
            "the name of the model that runs, as `/v1/info` tells it",
            "rembg's models that cut out a subject: " + ", ".join(f"`{name}`" for name in MODELS),
            "others, such as `sam` and `u2net_cloth_seg`",
            partial(_model, own=model),
            model,
            lambda values: values["model"] != model,
        ),
        "om": ApiParameter("truth: only the mask", read=truth, default=False),
        "ppm": ApiParameter("truth: a smooth mask without grays", read=truth, default=False),
        "bgc": ApiParameter(
            "`red,green,blue,alpha` of 0 to 255 each",
            "with `om`",
            "others",
            _color,
            is_ignored=lambda values: values["om"],
        ),
        "a": ApiParameter(
            "`false`",
            refused="`true`: the model's own alpha is used as it is",
            read=_no_matting,
            default=False,
        ),
        "af": threshold,
        "ab": threshold,
        "ae": threshold,
        "extras": ApiParameter(
            "`{}`, `null`", refused="others: the model takes no further arguments", read=_no_extras
        ),
    }


def _model(text: str, own: str) -> str:
    if text not in (own, *MODELS):
        raise ValueError(f"doesn't run here, but {own}; leave it out, or ask another server")
    return text


def _no_matting(text: str) -> bool:
    if truth(text):
        raise ValueError("isn't supported: no alpha matting here, the model's alpha is used")
    return False


def _no_extras(text: str) -> None:
    if text not in {"{}", "null"}:
        raise ValueError("isn't supported: this model takes no further arguments")


def _color(text: str) -> Color | None:
    found = _COLOR.fullmatch(text)
    channels = [int(number) for number in found.groups()] if found else []
    if not channels or max(channels) > 255:
        raise ValueError("is not a color; give red,green,blue,alpha of 0 to 255 each")
    red, green, blue, opacity = channels
    return Color((red, green, blue), opacity / 255) if opacity else None
