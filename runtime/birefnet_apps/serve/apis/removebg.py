"""`POST /v1.0/removebg`: remove.bg's parameters, answers and account, as its clients know them.

Names and values are those of its API reference, version 1.0.
"""

import base64
import binascii
import re
from typing import Any

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
from ..form import Fields
from ..job import ENCODINGS, Order, Output, Reply
from .parameters import IGNORED, ApiParameter, Table, Values, one_of, truth, understand

SIZES = {
    **dict.fromkeys(("preview", "small", "regular"), 250_000),
    "medium": 1_500_000,
    "hd": 4_000_000,
    **dict.fromkeys(("full", "4k", "auto"), None),
    "50MP": 50_000_000,
}
"""The most pixels of the result; None: as many as the picture has."""
REMOVEBG_FORMATS = ("auto", "png", "jpg", "webp", "zip")
TYPES = (
    *("auto", "person", "product", "animal", "car", "car_interior", "car_part"),
    *("transportation", "graphics", "other"),
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


def read_removebg(fields: Fields) -> tuple[Order, dict[str, str]]:
    """Read a request's parameters.

    Returns:
        the order, and headers of the answer that say how it was understood.

    Raises:
        Refusal: a parameter isn't known, isn't understood, isn't supported, or doesn't go with
            another; names it.
    """
    values, ignored = understand(fields, PARAMETERS)
    image = _source(values)
    mask = values["channels"] == "alpha"
    color, picture = values["bg_color"], values["bg_image_file"]
    if color is not None and picture is not None:
        raise bad_parameter("bg_image_file", "give it or bg_color, not both")
    layout = _layout(values)
    style = Style(
        mask=mask,
        background=color,
        layout=None if layout == Layout() else layout,
        shadow="drop" if _has_shadow(values) and not mask else "none",
    )
    opaque = picture is not None or (color is not None and color.opacity >= 1)
    output = _output(values["format"], mask, opaque)
    order = Order(
        image,
        "image_file",
        style,
        ENCODINGS[output],
        output=output,
        most_pixels=values["size"],
        region=values["roi"],
        filled=not values["semitransparency"],
        background_image=None if mask else picture,
        must_find=True,
    )
    headers = {} if values["type_level"] == "none" else {"X-Type": "other"}
    return order, headers | ({IGNORED: ", ".join(ignored)} if ignored else {})


def answer_headers(answer: Reply) -> dict[str, str]:
    """What remove.bg's answers say of themselves."""
    height, width = answer.size
    facts = {"X-Width": width, "X-Height": height, "X-Credits-Charged": 0}
    return {name: str(value) for name, value in facts.items()} | {
        f"X-{name.title().replace('_', '-')}": str(value)
        for name, value in _foreground(answer).items()
    }


def answer_json(answer: Reply) -> dict[str, Any]:
    """The answer where `Accept` asks for JSON."""
    content = base64.b64encode(answer.content).decode("ascii")
    return {"data": {"result_b64": content, **_foreground(answer)}}


def _foreground(answer: Reply) -> dict[str, int]:
    """Where the subject is, in the pixels of the picture that was sent."""
    top, left, bottom, right = answer.subject.box or (0, 0, 0, 0)
    return {
        "foreground_top": top,
        "foreground_left": left,
        "foreground_width": right - left,
        "foreground_height": bottom - top,
    }


def _source(values: Values) -> bytes:
    """The picture's bytes."""
    given = [name for name in ("image_file", "image_file_b64") if values[name] is not None]
    if not given:
        raise Refusal(400, "missing_source", "image_file: no picture given")
    if len(given) > 1:
        raise Refusal(400, "multiple_sources", f"give {' or '.join(given)}, not both")
    content: bytes = values[given[0]]
    return content if given == ["image_file"] else _from_base64(content)


def _from_base64(content: bytes) -> bytes:
    text = content.strip()
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    # A form that forgot to escape its plus signs has blanks for them.
    text = text.translate(bytes.maketrans(b" -_", b"++/"), b"\r\n\t")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise bad_parameter("image_file_b64", "no base64") from None


def _output(form: str, mask: bool, opaque: bool) -> Output:
    if form == "auto":
        return "jpg" if opaque and not mask else "png"
    if form == "zip" and mask:
        raise bad_parameter("format", "a zip holds colors and alpha; leave channels out")
    known: dict[str, Output] = {"png": "png", "jpg": "jpg", "webp": "webp", "zip": "zip"}
    return known[form]


def _is_mask(values: Values) -> bool:
    return bool(values["channels"] == "alpha")


def _has_shadow(values: Values) -> bool:
    """`shadow_type` says so, or `add_shadow`, its predecessor, where that is silent."""
    if values["shadow_type"] is None:
        return bool(values["add_shadow"])
    return bool(values["shadow_type"] != "none")


def _layout(values: Values) -> Layout:
    scale, position = values["scale"], values["position"]
    return Layout(
        margins=values["crop_margin"] if values["crop"] else None,
        scale=scale,
        position=_position(position) if position else None if scale is None else CENTER,
    )


def _size(text: str) -> int | None:
    if text not in SIZES:
        raise ValueError(f"is none of {', '.join(SIZES)}")
    return SIZES[text]


def _color(text: str) -> Color:
    digits = _HEX.fullmatch(text)
    try:
        channels = ImageColor.getrgb(f"#{digits[1]}" if digits else text)
    except ValueError:
        raise ValueError("is not a color; give ffffff, fff, ffffff80 or a name") from None
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


def _checked_position(text: str) -> str:
    _position(text)
    return text


def _whole_darkness(text: str) -> str:
    if text != "100":
        raise ValueError("isn't supported: shadows have one darkness, 100")
    return text


def _shadow_type(text: str) -> str:
    if text not in {"none", "drop", "auto"}:
        raise ValueError("isn't supported: there are none, drop and auto")
    return text


PARAMETERS: Table = {
    "image_file": ApiParameter(
        "the picture: PNG, JPEG, WebP, TIFF, GIF (first frame), BMP, PPM, AVIF, JPEG 2000, HEIC "
        "with the extra",
        refused="beside `image_file_b64`; other kinds of files",
    ),
    "image_file_b64": ApiParameter(
        "the picture in base64, also as a `data:` address", refused="beside `image_file`"
    ),
    "image_url": ApiParameter(refused="always: no address is fetched", refuse=url_refused),
    "size": ApiParameter(
        "the most pixels of the result: `full` (as it is; also `auto`, `4k`), `50MP`, `hd` (4 "
        "megapixels), `medium` (1.5), `preview` (0.25; also `small`, `regular`). **The default is "
        "`full`**, where remove.bg's is `preview`",
        refused="others",
        read=_size,
    ),
    "format": ApiParameter(
        "`auto` (PNG, or JPEG before an opaque background), `png`, `jpg` (on white if nothing else "
        "is asked for), `webp`, `zip` (`color.jpg` and `alpha.png`, of 8 bits each)",
        refused="others; `zip` with `channels=alpha`",
        read=one_of(REMOVEBG_FORMATS),
        default="auto",
    ),
    "channels": ApiParameter(
        "`rgba`, `alpha` for the mask",
        refused="others",
        read=one_of(("rgba", "alpha")),
        default="rgba",
    ),
    "bg_color": ApiParameter(
        "`ffffff`, `fff`, `ffffff80`, a name",
        "with `channels=alpha`",
        "others; beside `bg_image_file`",
        _color,
        is_ignored=_is_mask,
    ),
    "bg_image_file": ApiParameter(
        "a picture that is scaled to fill",
        "with `channels=alpha`",
        "beside `bg_color`",
        is_ignored=_is_mask,
    ),
    "bg_image_url": ApiParameter(refused="always: no address is fetched", refuse=url_refused),
    "crop": ApiParameter("truth: down to the subject", read=truth, default=False),
    "crop_margin": ApiParameter(
        "`30px` or `10%` of the subject, one, two or four",
        "without `crop`",
        "more than 50% or 500px",
        _margins,
        (Length(0),) * 4,
        lambda values: not values["crop"],
    ),
    "scale": ApiParameter(
        "`original`, or 10% to 100% of the canvas", refused="others", read=_scale
    ),
    "position": ApiParameter(
        "`original`, `center`, `x%`, `x% y%`; `center` is the default where `scale` is given",
        refused="others",
        read=_checked_position,
    ),
    "roi": ApiParameter(
        "`x1 y1 x2 y2` in px or %: there is no subject outside of it, and the network sees that "
        "part alone",
        refused="others; a part outside of the picture",
        read=_region,
    ),
    "shadow_type": ApiParameter(
        "`none`, `drop`, `auto` (drop)",
        "with `channels=alpha`",
        "others, such as `3D`",
        _shadow_type,
        is_ignored=_is_mask,
    ),
    "add_shadow": ApiParameter(
        "truth: the same as `shadow_type=drop`",
        "beside `shadow_type`; with `channels=alpha`",
        read=truth,
        default=False,
        is_ignored=lambda values: _is_mask(values) or values["shadow_type"] is not None,
    ),
    "shadow_opacity": ApiParameter(
        "`100`",
        "without a shadow; with `channels=alpha`",
        "others: shadows have one darkness",
        _whole_darkness,
        is_ignored=lambda values: _is_mask(values) or not _has_shadow(values),
    ),
    "semitransparency": ApiParameter(
        "`true`; `false` makes opaque what shines through inside the subject, such as windows; "
        "edges stay soft",
        read=truth,
        default=True,
    ),
    "type": ApiParameter(
        "`auto`",
        ", ".join(f"`{kind}`" for kind in TYPES[1:]) + ": there is one model for everything",
        "others",
        one_of(TYPES),
        "auto",
        lambda values: values["type"] != "auto",
    ),
    "type_level": ApiParameter(
        "`none`: no `X-Type`",
        "`1`, `2`, `latest`: `X-Type` is always `other`",
        "others",
        one_of(("none", "1", "2", "latest")),
        "1",
        lambda values: values["type_level"] != "none",
    ),
}
"""The parameters, and what becomes of each."""
