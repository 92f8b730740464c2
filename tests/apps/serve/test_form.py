import asyncio
import json
import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
from birefnet_apps.serve.errors import Refusal
from birefnet_apps.serve.form import MOST_FIELDS, _unquoted, parse_fields, read_body
from birefnet_apps.serve.limits import UploadBudget
from hypothesis import given
from hypothesis import strategies as st

from .conftest import multipart

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def refused(kind: str, body: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse_fields(kind, body)
    return caught.value


@given(st.dictionaries(st.text("abcdef_", min_size=1), st.binary(min_size=1), max_size=5))
def test_parts_come_out_as_they_went_in(fields):
    if any(b"--a7d1f" in value for value in fields.values()):
        return
    headers, body = multipart(fields)

    assert parse_fields(headers["Content-Type"], body) == fields


@given(st.binary(max_size=400).map(lambda raw: raw.replace(b"a", b"%4") * 900))
def test_escapes_are_undone_in_pieces_as_at_once(text):
    assert _unquoted(text) == unquote_to_bytes(text.replace(b"+", b" "))


def test_empty_fields_stay_empty():
    assert parse_fields(FORM, b"size=&crop=true&&roi") == {"size": b"", "crop": b"true", "roi": b""}
    assert parse_fields(JSON, b'{"size": null, "crop": true, "scale": 5}') == {
        "size": b"",
        "crop": b"true",
        "scale": b"5",
    }


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b"[" * 20_000_000),
        (JSON, b"[" + b"[]," * 5_000_000),
        (JSON, b'{"a":' * 50),
        (JSON, b'{"a": "' + b"\\ud800" + b'"}'),
        (JSON, b'{"a": [1]}'),
        (JSON, b"3"),
        (JSON, b"\xff\xfe"),
        (JSON, b'{"a": ' + b"9" * 100_000 + b"}"),
        (FORM, b"a=1&" * (MOST_FIELDS + 1)),
        (FORM, b"size=1&size=2"),
        (FORM, b"%ff=1"),
        (FORM, b"a" * 1_000 + b"=1"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n" * 200_000),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nno name\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 5_000, b"--x"),
    ],
)
def test_what_is_hostile_is_refused_and_takes_little(kind, body):
    tracemalloc.start()
    try:
        error = refused(kind, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.status == 400
    assert peak < 5_000_000


def test_escapes_take_no_more_than_their_text():
    body = b"a=" + b"%41" * 300_000
    tracemalloc.start()
    fields = parse_fields(FORM, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert fields == {"a": b"A" * 300_000}
    assert peak < 8 * len(body)  # undone at once, twenty times


def test_a_name_is_given_once():
    _, body = multipart({"size": "full"})
    error = refused("multipart/form-data; boundary=a7d1f", body.replace(b"--a7d1f--\r\n", body))

    assert error.title == "size: given twice"
    assert refused(JSON, b'{"size": "full", "size": "hd"}').title == "size: given twice"
    assert refused(FORM, b"size=full&size=hd").title == "size: given twice"
    assert json.dumps(error.as_rembg()) == '{"detail": "size: given twice"}'


@pytest.mark.parametrize("place", range(65_532, 65_538))
def test_an_escape_at_the_border_of_two_pieces_is_undone(place):
    assert _unquoted(b"a" * place + b"%41") == b"a" * place + b"A"


def test_a_form_that_is_cut_between_two_parts_is_refused():
    headers, body = multipart({"image_file": b"abc", "size": "preview"})
    cut = body[: body.index(b"--a7d1f", 5)] + b"--a7d1f\r\n"
    assert refused(headers["Content-Type"], cut).code == "invalid_body"


def test_json_of_many_values_is_not_parsed(monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    assert refused(JSON, b'{"a":[' + b"1," * 1_000 + b"1]}").code == "invalid_body"


def test_the_pieces_of_a_body_are_counted_together():
    pieces = iter([b"x" * 100] * 40)

    async def receive():
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    held = UploadBudget(1e9)
    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(receive, {}, 2_000, 60, held))
    assert (caught.value.code, held.bytes) == ("file_too_large", 0)
