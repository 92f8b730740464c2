"""What becomes of each parameter: honored, honored by doing nothing, or refused."""

import numpy as np
import pytest
from birefnet_apps.serve.apis import rembg, removebg

from .conftest import multipart, png, subject

REMOVEBG, REMBG = "/v1.0/removebg", "/api/remove"
TABLES = {REMOVEBG: removebg.PARAMETERS, REMBG: rembg.parameters("made")}
PICTURE = {REMOVEBG: "image_file", REMBG: "file"}
ALPHA = {"channels": "alpha"}
SHADOW = {"shadow_type": "drop", "shadow_opacity": "100"}
BEHIND = png(np.full((9, 9, 3), 80, np.uint8))

# Parameters, and those of them that have no effect.
IGNORED = [
    *((REMOVEBG, {"type": kind}, "type") for kind in removebg.TYPES[1:]),
    *((REMOVEBG, {"type_level": level}, "type_level") for level in ("1", "2", "latest")),
    (REMOVEBG, {"crop_margin": "10px"}, "crop_margin"),
    (REMOVEBG, {"crop": "false", "crop_margin": "10px"}, "crop_margin"),
    (REMOVEBG, {"bg_color": "red", **ALPHA}, "bg_color"),
    (REMOVEBG, {"bg_image_file": BEHIND, **ALPHA}, "bg_image_file"),
    (REMOVEBG, {"shadow_type": "drop", **ALPHA}, "shadow_type"),
    (REMOVEBG, {"add_shadow": "true", **ALPHA}, "add_shadow"),
    (REMOVEBG, {"shadow_opacity": "100", **ALPHA}, "shadow_opacity"),
    (REMOVEBG, {"shadow_opacity": "100"}, "shadow_opacity"),
    (REMOVEBG, {"shadow_opacity": "100", "shadow_type": "none"}, "shadow_opacity"),
    (REMOVEBG, {"add_shadow": "true", "shadow_type": "none"}, "add_shadow"),
    (REMOVEBG, {"type": "car", "crop_margin": "1px"}, "crop_margin, type"),
    *((REMBG, {"model": name}, "model") for name in rembg.MODELS),
    *((REMBG, {name: "10"}, name) for name in ("af", "ab", "ae")),
    (REMBG, {"om": "true", "bgc": "1,2,3,255"}, "bgc"),
    (REMBG, {"model": "u2net", "a": "false", "af": "240", "ab": "10"}, "model, af, ab"),
]
# Parameters, the first of which is refused.
REFUSED = [
    *((REMOVEBG, {name: "http://127.0.0.1/"}) for name in ("image_url", "bg_image_url")),
    (REMOVEBG, {"image_file_b64": "AAAA"}),
    (REMOVEBG, {"size": "huge"}),
    (REMOVEBG, {"format": "gif"}),
    (REMOVEBG, {"format": "zip", **ALPHA}),
    (REMOVEBG, {"channels": "rgb"}),
    (REMOVEBG, {"bg_color": "nocolor"}),
    (REMOVEBG, {"bg_color": "nocolor", **ALPHA}),
    (REMOVEBG, {"bg_image_file": BEHIND, "bg_color": "red"}),
    (REMOVEBG, {"crop": "perhaps"}),
    (REMOVEBG, {"crop_margin": "60%"}),
    (REMOVEBG, {"crop_margin": "-1px", "crop": "true"}),
    (REMOVEBG, {"scale": "5%"}),
    (REMOVEBG, {"position": "1px"}),
    (REMOVEBG, {"roi": "0% 0%"}),
    (REMOVEBG, {"roi": "100% 0% 100% 100%"}),
    (REMOVEBG, {"shadow_type": "3D"}),
    (REMOVEBG, {"shadow_opacity": "50", "shadow_type": "drop"}),
    (REMOVEBG, {"add_shadow": "drop"}),
    (REMOVEBG, {"semitransparency": "half"}),
    (REMOVEBG, {"type": "cartoon"}),
    (REMOVEBG, {"type_level": "3"}),
    (REMOVEBG, {"colour": "red"}),
    (REMOVEBG, {"colour": ""}),
    (REMBG, {"url": "http://127.0.0.1/"}),
    *((REMBG, {"model": name}) for name in ("sam", "u2net_cloth_seg", "u2net_custom", "nothing")),
    *((REMBG, {name: value}) for name in ("af", "ab", "ae") for value in ("abc", "256", "-1")),
    *((REMBG, {name: "perhaps"}) for name in ("om", "ppm", "a")),
    (REMBG, {"a": "true"}),
    (REMBG, {"bgc": "red"}),
    (REMBG, {"bgc": "1,2,3,256", "om": "true"}),
    (REMBG, {"extras": '{"sam_prompt": []}'}),
    (REMBG, {"size": "full"}),
]
# Parameters that change the answer.
HONORED = [
    *((REMOVEBG, {"size": "preview"}), (REMOVEBG, {"format": "webp"}), (REMOVEBG, ALPHA)),
    *((REMOVEBG, {"bg_color": "f00"}), (REMOVEBG, {"bg_image_file": BEHIND})),
    (REMOVEBG, {"crop": "true"}),
    (REMOVEBG, {"crop_margin": "9px", "crop": "true"}),
    *((REMOVEBG, {"scale": "50%"}), (REMOVEBG, {"position": "0% 0%"})),
    (REMOVEBG, {"roi": "0% 0% 50% 100%"}),
    *((REMOVEBG, {"shadow_type": kind}) for kind in ("drop", "auto")),
    *((REMOVEBG, {"add_shadow": "true"}), (REMOVEBG, SHADOW)),
    (REMOVEBG, {"semitransparency": "false"}),
    *((REMBG, {"om": "true"}), (REMBG, {"ppm": "true"}), (REMBG, {"bgc": "255,0,0,255"})),
]
# Parameters that may be said, and leave the answer as it is.
SAID = [
    *((REMOVEBG, {name: "original"}) for name in ("scale", "position")),
    *((REMOVEBG, {"size": size}) for size in ("full", "auto", "4k", "50MP")),
    *((REMOVEBG, {"type": "auto"}), (REMOVEBG, {"type_level": "none"})),
    *((REMOVEBG, {"shadow_type": "none"}), (REMOVEBG, {"image_url": "", "roi": ""})),
    (REMBG, {"a": "false"}),
    *((REMBG, {"model": "made"}), (REMBG, {"extras": "{}"}), (REMBG, {"url": ""})),
]


@pytest.fixture(scope="module")
def shaded() -> bytes:
    """A picture that is large enough for `preview`, and half transparent to the model in a part."""
    image = np.kron(subject(), np.ones((11, 11, 1), np.uint8))
    image[200:300, 400:480] = 130
    return png(image)


@pytest.fixture(scope="module")
def plain(server, shaded) -> dict[str, bytes]:
    return {path: server.post(path, {PICTURE[path]: shaded}).content for path in TABLES}


def named(cases: list[tuple[str, dict[str, str | bytes]]]) -> list[str]:
    return [f"{path.split('/')[-1]}-{'-'.join(fields)}" for path, fields, *_ in cases]


@pytest.mark.parametrize(("path", "fields", "ignored"), IGNORED, ids=named(IGNORED))
def test_what_has_no_effect_is_named(server, shaded, plain, path, fields, ignored):
    answer = server.post(path, {PICTURE[path]: shaded, **fields})

    assert (answer.status, answer.headers["X-Ignored"]) == (200, ignored)
    others = {name: what for name, what in fields.items() if name not in ignored.split(", ")}
    assert answer.content == server.post(path, {PICTURE[path]: shaded, **others}).content


@pytest.mark.parametrize(("path", "fields"), REFUSED, ids=named(REFUSED))
def test_what_is_refused_is_named(server, shaded, path, fields):
    answer = server.post(path, {PICTURE[path]: shaded, **fields})

    assert answer.status == 400
    title = answer.title() if path == REMOVEBG else answer.json()["detail"]
    assert next(iter(fields)) in title
    assert not title.startswith("the body")


@pytest.mark.parametrize(("path", "fields"), HONORED, ids=named(HONORED))
def test_what_is_honored_changes_the_answer(server, shaded, plain, path, fields):
    answer = server.post(path, {PICTURE[path]: shaded, **fields})

    assert (answer.status, answer.headers["X-Ignored"]) == (200, None)
    assert answer.content != plain[path]


@pytest.mark.parametrize(("path", "fields"), SAID, ids=named(SAID))
def test_what_may_be_said_is(server, shaded, plain, path, fields):
    answer = server.post(path, {PICTURE[path]: shaded, **fields})

    assert (answer.status, answer.headers["X-Ignored"]) == (200, None)
    assert answer.content == plain[path]


@pytest.mark.parametrize("path", TABLES)
def test_every_row_of_the_table_is_tried(path):
    tried = {
        "honored": {name for where, fields in HONORED + SAID if where == path for name in fields},
        "ignored": {
            name for where, _, said in IGNORED if where == path for name in said.split(", ")
        },
        "refused": {next(iter(fields)) for where, fields in REFUSED if where == path},
    }
    sources = {"image_file", "image_file_b64", "file"}  # tried in every other test
    for name, row in TABLES[path].items():
        for column, names in tried.items():
            if getattr(row, column) and not (name in sources and column != "ignored"):
                assert name in names, (name, column)


@pytest.mark.parametrize("path", TABLES)
def test_the_query_counts_too(server, shaded, path):
    name = PICTURE[path]
    mask, other = ("channels=alpha", "type=car") if path == REMOVEBG else ("om=1", "model=u2net")
    answer = server.post(f"{path}?{mask}&{other}", {name: shaded})
    assert (answer.status, answer.image().mode) == (200, "L")
    assert answer.headers["X-Ignored"] == other.partition("=")[0]

    for query, field in (("colour=red", {}), (mask, dict([mask.split("=")]))):
        headers, body = multipart({name: shaded, **field})
        refused = server.request("POST", f"{path}?{query}", body, headers)
        assert refused.status == 400
        assert query.partition("=")[0] in refused.content.decode()


def test_rembg_s_errors_name_its_own_field(serve, model, photo):
    server = serve(model, max_pixels=100)
    for content in (b"no picture", photo):
        detail = server.post(REMBG, {"file": content}).json()["detail"]
        assert "image_file" not in detail
    assert server.post(REMBG, {"file": b"no picture"}).json()["detail"].startswith("file: ")
