import pytest
from birefnet_apps.serve.form import prefers_json

PICTURE, JSON = False, True


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PICTURE),
        ("*/*", PICTURE),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/json, text/plain, */*", PICTURE),  # axios
        ("application/json;q=0", PICTURE),
        ("application/json;q=0, */*", PICTURE),
        ("application/json ; Q=0.9 , */*;q=0.8", JSON),
        ("application/json;q=0.8, */*;q=0.9", PICTURE),
        ("application/json, image/png", PICTURE),
        ("image/png, application/json", PICTURE),
        ("application/json, image/*;q=0.5", JSON),
        ("application/json;q=0.5, image/webp", PICTURE),
        ("application/json;q=high", PICTURE),
        ("application/*", JSON),
        ("application/zip, application/json", PICTURE),
        ("text/html", PICTURE),
        ("application/json-patch", PICTURE),
    ],
)
def test_json_is_what_is_preferred_to_pictures(accept, expected):
    assert prefers_json([accept]) is expected


def test_several_headers_are_one():
    assert prefers_json(["application/json", "*/*;q=0.1"]) is True
    assert prefers_json(["application/json", "image/png"]) is False
