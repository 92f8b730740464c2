"""`POST /v1.0/removebg`: remove.bg's parameters, answers and account, as its clients know them.

Names and values are those of its API reference, version 1.0.
"""

import base64
import binascii
import re
from typing import Any

from birefnet_models.base.text import printable
from birefnet_runtime.cutout.background import Color
from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.cutout.layout import (
    CENTER,
    Layout,
    Length,
    Margins,
    parse_length,
    parse_margins,
    parse_position,
)
from PIL import ImageColor

from ...files.steps import Region
from ..errors import Refusal, bad_parameter, url_refused
from ..form import Asked, Fields
from ..job import ENCODINGS, Answer, Order, Output

SIZES = {
    **dict.fromkeys(("preview", "small", "regular"), 250_000),
    "medium": 1_500_000,
    "hd": 4_000_000,
    **dict.fromkeys(("full", "4k", "auto"), None),
    "50MP": 50_000_000,
}
"""The most pixels of the result; None: as many as the picture has."""
FORMATS = ("auto", "png", "jpg", "webp", "zip")
PARAMETERS = frozenset(
    {"image_file", "image_file_b64", "image_url", "size", "format", "channels", "type"}
    | {"type_level", "bg_color", "bg_image_file", "bg_image_url", "crop", "crop_margin", "roi"}
    | {"scale", "position", "shadow_type", "shadow_opacity", "add_shadow", "semitransparency"}
)
MOST_MARGIN_SHARE, MOST_MARGIN_PIXELS = 0.5, 500
ACCOUNT = {
    "data": {
        "attributes": {
            "credits": {"total": 0, "subscription": 0, "payg": 0, "enterprise": 0},
            "api": {"free_calls": 0, "sizes": "all"},
        }
    }
}
_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


def read_order(fields: Fields) -> tuple[Order, dict[str, str]]:
    """Read a request's parameters.

    Returns:
        the order, and headers of the answer that say how it was understood.

    Raises:
        Refusal: a parameter isn't known, isn't understood, isn't supported, or doesn't go with
            another; names it.
    """
    for name in fields:
        if name not in PARAMETERS:
            raise bad_parameter(printable(name), "no such parameter")
    for name in ("image_url", "bg_image_url"):
        if name in fields:
            raise url_refused(name)
    image = _source(fields)
    asked = Asked(fields)
    mask = asked.one_of("channels", ("rgba", "alpha"), "rgba") == "alpha"
    color = asked.read("bg_color", _color, None)
    picture = fields.get("bg_image_file")
    if color is not None and picture is not None:
        raise bad_parameter("bg_image_file", "give it or bg_color, not both")
    asked.only("type", ("auto",), "there is one model for everything")
    level = asked.one_of("type_level", ("none", "1", "2", "latest"), "1")
    layout = _layout(asked)
    style = Style(
        mask=mask,
        background=color,
        layout=None if layout == Layout() else layout,
        shadow="drop" if _shadow(asked) else "none",
    )
    opaque = picture is not None or (color is not None and color.opacity >= 1)
    output = _output(asked, mask, opaque)
    order = Order(
        image,
        "image_file",
        style,
        ENCODINGS[output],
        output=output,
        most_pixels=asked.read("size", _size, None),
        region=asked.read("roi", _region, None),
        filled=not asked.truth("semitransparency", True),
        background_image=None if mask else picture,
        must_find=True,
    )
    return order, {} if level == "none" else {"X-Type": "other"}


def answer_headers(answer: Answer) -> dict[str, str]:
    """What remove.bg's answers say of themselves."""
    height, width = answer.size
    facts = {"X-Width": width, "X-Height": height, "X-Credits-Charged": 0}
    return {name: str(value) for name, value in facts.items()} | {
        f"X-{name.title().replace('_', '-')}": str(value)
        for name, value in _foreground(answer).items()
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """The answer where `Accept` asks for JSON."""
    content = base64.b64encode(answer.content).decode("ascii")
    return {"data": {"result_b64": content, **_foreground(answer)}}


def _foreground(answer: Answer) -> dict[str, int]:
    """Where the subject is, in the pixels of the picture that was sent."""
    top, left, bottom, right = answer.subject.box or (0, 0, 0, 0)
    return {
        "foreground_top": top,
        "foreground_left": left,
        "foreground_width": right - left,
        "foreground_height": bottom - top,
    }


def _source(fields: Fields) -> bytes:
    """The picture's bytes."""
    given = [name for name in ("image_file", "image_file_b64") if name in fields]
    if not given:
        raise Refusal(400, "missing_source", "image_file: no picture given")
    if len(given) > 1:
        raise Refusal(400, "multiple_sources", f"give {' or '.join(given)}, not both")
    if given == ["image_file"]:
        return fields["image_file"]
    text = fields["image_file_b64"].strip()
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    # A form that forgot to escape its plus signs has blanks for them.
    text = text.translate(bytes.maketrans(b" -_", b"++/"), b"\r\n\t")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise bad_parameter("image_file_b64", "no base64") from None


def _output(asked: Asked, mask: bool, opaque: bool) -> Output:
    form = asked.one_of("format", FORMATS, "auto")
    if form == "auto":
        return "jpg" if opaque and not mask else "png"
    if form == "zip" and mask:
        raise bad_parameter("format", "a zip holds colors and alpha; leave channels out")
    known: dict[str, Output] = {"png": "png", "jpg": "jpg", "webp": "webp", "zip": "zip"}
    return known[form]


def _shadow(asked: Asked) -> bool:
    asked.only("shadow_type", ("none", "drop", "auto"), "there are none, drop and auto")
    asked.only("shadow_opacity", ("", "100"), "shadows have one darkness")
    return asked.text("shadow_type", "none") in {"drop", "auto"} or asked.truth("add_shadow", False)


def _layout(asked: Asked) -> Layout:
    crop = asked.truth("crop", False)
    margins = asked.read("crop_margin", _margins, (Length(0),) * 4)
    scale = asked.read("scale", _scale, None)
    position = asked.read("position", _position, None if scale is None else CENTER)
    return Layout(margins=margins if crop else None, scale=scale, position=position)


def _size(text: str) -> int | None:
    if text not in SIZES:
        raise ValueError(f"is none of {', '.join(SIZES)}")
    return SIZES[text]


def _color(text: str) -> Color:
    digits = _HEX.fullmatch(text)
    try:
        channels = ImageColor.getrgb(f"#{digits[1]}" if digits else text)
    except ValueError:
        raise ValueError("is no color; give ffffff, fff, ffffff80 or a name") from None
    red, green, blue, *opacity = channels
    return Color((red, green, blue), opacity[0] / 255 if opacity else 1)


def _margins(text: str) -> Margins:
    margins = parse_margins(text)
    for length in margins:
        if length.amount > (MOST_MARGIN_SHARE if length.relative else MOST_MARGIN_PIXELS):
            raise ValueError("is more than 50% or 500px")
    return margins


def _region(text: str) -> Region:
    match [parse_length(part) for part in text.split()]:
        case [left, top, right, bottom]:
            return left, top, right, bottom
    raise ValueError("is not four places, as 0% 10px 100% 500px")


def _scale(text: str) -> float | None:
    if text == "original":
        return None
    share = parse_length(text)
    if not share.relative or not 0.1 <= share.amount <= 1:
        raise ValueError("is neither original nor 10% to 100%")
    return share.amount


def _position(text: str) -> tuple[float, float] | None:
    return None if text == "original" else parse_position(text)
