import base64
import hashlib
import io
import json
import logging
import re
import socket
import tempfile
import zipfile
from contextlib import suppress
from urllib.parse import urlencode

import numpy as np
import pytest
from birefnet_apps.files import steps
from birefnet_apps.serve import app as app_module
from birefnet_apps.serve.errors import Refusal
from birefnet_apps.serve.page import read_page
from birefnet_runtime import Segmenter, read_image
from birefnet_runtime.images.write import Encoding, write_image
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from .conftest import HeldSession, Running, multipart, png, subject, wait_until

REMOVEBG = "/v1.0/removebg"


def test_the_states_of_a_server_are_told(server):
    assert (server.get("/health").status, server.get("/ready").status) == (200, 200)
    info = server.get("/v1/info").json()
    assert (info["model"], info["provider"], info["size"]) == ("made", "cpu", "64x64")
    assert (info["max_megapixels"], info["needs_key"]) == (2.0, False)
    assert "PNG" in info["formats"]


def test_a_served_png_is_the_file_that_cutout_writes(server, model, photo, tmp_path):
    from birefnet_apps.cli.main import main

    (tmp_path / "photo.png").write_bytes(photo)
    arguments = ["cutout", str(tmp_path / "photo.png"), "-o", str(tmp_path / "cut.png")]
    done = CliRunner().invoke(main, [*arguments, "--model", str(model), "--threads", "1"])
    assert done.exit_code == 0, done.output

    served = server.removebg(photo)

    assert served.status == 200
    assert served.headers["Content-Type"] == "image/png"
    assert served.content == (tmp_path / "cut.png").read_bytes()
    assert server.post("/api/remove", {"file": photo}).content == served.content


def test_sixteen_bits_stay(server):
    deep = subject().astype(np.uint16)[..., 0] * 257
    served = server.removebg(png(deep))

    assert read_image(served.content).pixels.dtype == np.uint16


def test_an_answer_says_where_the_subject_is(server, photo):
    headers = server.removebg(photo, size="full").headers

    assert (headers["X-Width"], headers["X-Height"]) == ("80", "48")
    box = [int(headers[f"X-Foreground-{side}"]) for side in ("Left", "Top", "Width", "Height")]
    assert np.abs(np.subtract(box, [30, 12, 20, 24])).max() <= 3
    assert (headers["X-Type"], headers["X-Credits-Charged"]) == ("other", "0")
    assert headers["Cache-Control"] == "no-store"


def test_three_kinds_of_bodies_give_one_answer(server, photo):
    expected = server.removebg(photo).content
    b64 = base64.b64encode(photo).decode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    as_json = {"Content-Type": "application/json"}

    urlencoded = server.request("POST", REMOVEBG, urlencode({"image_file_b64": b64}), form)
    sent_json = json.dumps({"image_file_b64": b64, "crop": False, "roi": None})
    from_json = server.request("POST", REMOVEBG, sent_json, as_json)
    in_parts = server.post(REMOVEBG, {"image_file_b64": f"data:image/png;base64,{b64}"})

    assert urlencoded.content == from_json.content == in_parts.content == expected


def test_json_is_answered_where_it_is_asked_for(server, photo):
    answer = server.post(REMOVEBG, {"image_file": photo}, {"Accept": "application/json"})

    data = answer.json()["data"]
    assert base64.b64decode(data["result_b64"]) == server.removebg(photo).content
    assert data["foreground_width"] == int(answer.headers["X-Foreground-Width"])


def test_the_kinds_of_results(server, photo):
    assert server.removebg(photo, format="webp").image().format == "WEBP"
    jpg = server.removebg(photo, format="jpg").image()
    assert jpg.format == "JPEG"
    assert jpg.getpixel((2, 2)) == (255, 255, 255)
    colored = server.removebg(photo, bg_color="00ff00").image()
    assert colored.format == "JPEG"
    assert np.abs(np.subtract(colored.getpixel((2, 2)), (0, 255, 0))).max() < 5
    translucent = server.removebg(photo, bg_color="ff000080").image()
    assert translucent.getpixel((2, 2)) == (255, 0, 0, 128)
    assert translucent.getpixel((40, 24)) == (255, 255, 255, 255)
    mask = server.removebg(photo, channels="alpha").image()
    assert mask.mode == "L"
    assert (mask.getpixel((40, 24)), mask.getpixel((2, 2))) == (255, 0)


def test_a_zip_holds_colors_and_alpha(server, photo):
    archive = zipfile.ZipFile(io.BytesIO(server.removebg(photo, format="zip").content))

    assert archive.namelist() == ["color.jpg", "alpha.png"]
    whole = server.removebg(photo).image()
    alpha = Image.open(archive.open("alpha.png"))
    assert np.array_equal(np.asarray(alpha), np.asarray(whole)[..., 3])
    assert Image.open(archive.open("color.jpg")).mode == "RGB"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_zip_s_alpha_has_8_bits_whatever_is_sent(server, channels):
    """remove.bg's own Go client reads nothing else."""
    deep = np.full((48, 80, channels), 65_535, np.uint16)
    deep[..., :3] = (subject().astype(np.uint16) * 257)[..., :channels]
    stream = io.BytesIO()
    write_image(stream, np.squeeze(deep), Encoding("png"))

    archive = zipfile.ZipFile(io.BytesIO(server.removebg(stream.getvalue(), format="zip").content))

    alpha = Image.open(archive.open("alpha.png"))
    assert alpha.mode == "L"
    assert (alpha.getpixel((40, 24)), alpha.getpixel((2, 2))) == (255, 0)
    assert Image.open(archive.open("color.jpg")).mode == "RGB"


def test_another_picture_behind(server, photo):
    green = np.zeros((30, 30, 3), np.uint8)
    green[..., 1] = 200

    result = server.removebg(photo, bg_image_file=png(green), format="png").image()

    assert result.getpixel((2, 2)) == (0, 200, 0)
    assert result.getpixel((40, 24)) == (255, 255, 255)


def test_the_subject_is_laid_out(server, photo):
    cropped = server.removebg(photo, crop="true", crop_margin="10px 50%").headers
    tight = server.removebg(photo, crop="true").headers
    wide, tall = int(tight["X-Width"]), int(tight["X-Height"])
    assert int(cropped["X-Height"]) == tall + 20
    assert int(cropped["X-Width"]) == wide + 2 * round(wide / 2)

    moved = server.removebg(photo, scale="100%", position="0% 50%").image()
    alpha = np.asarray(moved)[..., 3]
    assert moved.size == (80, 48)
    rows, columns = np.nonzero(alpha > 128)
    assert (rows.min(), rows.max()) <= (2, 47)
    assert columns.min() <= 3


def test_a_smaller_result(server, tmp_path):
    large = np.kron(subject(), np.ones((20, 20, 1), np.uint8))  # 960 x 1600
    answer = server.removebg(png(large), size="preview")

    width, height = int(answer.headers["X-Width"]), int(answer.headers["X-Height"])
    assert 240_000 < width * height <= 250_000
    assert int(answer.headers["X-Foreground-Left"]) == pytest.approx(600, abs=60)


def test_outside_of_the_region_of_interest_there_is_no_subject(server):
    two = np.zeros((48, 80, 3), np.uint8)
    two[12:36, 5:25] = two[12:36, 50:75] = 255

    alpha = np.asarray(server.removebg(png(two), roi="50% 0% 100% 100%").image())[..., 3]

    assert alpha[:, :40].max() == 0
    assert alpha[24, 62] == 255


def test_a_picture_without_a_subject_is_an_error_of_removebg_s_only(server):
    black = png(np.zeros((48, 80, 3), np.uint8))

    assert server.removebg(black).code() == "unknown_foreground"
    assert server.post("/api/remove", {"file": black}).status == 200


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"type": "cartoon"}, "type"),
        ({"shadow_type": "3D"}, "shadow_type"),
        ({"size": "huge"}, "size"),
        ({"crop_margin": "60%"}, "crop_margin"),
        ({"scale": "5%"}, "scale"),
        ({"position": "1px"}, "position"),
        ({"roi": "0% 0%"}, "roi"),
        ({"bg_color": "nocolor"}, "bg_color"),
        ({"semitransparency": "perhaps"}, "semitransparency"),
        ({"format": "gif"}, "format"),
        ({"bg_image_url": "http://127.0.0.1/"}, "bg_image_url"),
        ({"image_url": "file:///etc/passwd"}, "image_url"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_not_supported_is_named(server, photo, fields, name):
    answer = server.removebg(photo, **fields)

    assert answer.status == 400
    assert answer.title().startswith(f"{name}: ")


def test_a_picture_is_needed(server):
    assert server.post(REMOVEBG, {"size": "full"}).code() == "missing_source"
    assert server.request("POST", REMOVEBG, b"x", {"Content-Type": "text/plain"}).status == 415
    answer = server.removebg(b"no image")
    assert (answer.status, answer.code()) == (400, "failed_to_read_image")


def test_rembg_s_fields(server, photo):
    mask = server.post("/api/remove", {"file": photo, "om": "true", "ppm": "true"}).image()
    assert mask.mode == "L"
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    colored = server.post("/api/remove", {"file": photo, "bgc": "255,0,0,255"}).image()
    assert colored.getpixel((2, 2)) == (255, 0, 0)
    assert server.post("/api/remove?om=true", {"file": photo, "model": "made"}).image().mode == "L"


@pytest.mark.parametrize("fields", [{"model": "sam"}, {"a": "true"}, {"x": "1"}, {"bgc": "red"}])
def test_what_rembg_has_more_is_named(server, photo, fields):
    answer = server.post("/api/remove", {"file": photo, **fields})

    assert answer.status == 400
    assert answer.json()["detail"].startswith(f"{next(iter(fields))}: ")


def test_no_address_is_fetched(server):
    answer = server.get("/api/remove?url=http://169.254.169.254/")

    assert answer.status == 400
    assert "fetches no addresses" in answer.json()["detail"]


def test_an_account_has_zeros(server):
    credits = server.get("/v1.0/account").json()["data"]["attributes"]["credits"]

    assert set(credits.values()) == {0}


def test_other_addresses_and_methods_are_refused_in_one_form(server):
    assert (server.get("/etc/passwd").status, server.get(REMOVEBG).status) == (404, 405)
    assert server.get("/nowhere").code() == "not_found"


def test_a_key_opens(serve, model, photo, caplog):
    server = serve(model, keys=(b"first", b"s3cret"))

    assert server.get("/health").status == server.get("/").status == 200
    assert server.get("/v1/info").json()["needs_key"] is True
    for path in ("/metrics", "/v1.0/account"):
        assert server.get(path).status == 403
    assert server.removebg(photo).code() == "auth_failed"
    wrong = {"X-Api-Key": "s3cre"}
    assert server.post("/api/remove", {"file": photo}, wrong).status == 403
    with caplog.at_level(logging.INFO, "birefnet.serve"):
        for right in ({"X-Api-Key": "s3cret"}, {"Authorization": "Bearer first"}):
            assert server.post(REMOVEBG, {"image_file": photo}, right).status == 200
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_a_scheme_s_case_is_no_matter(serve, model, kind):
    server = serve(model, keys=(b"k",))
    assert server.get("/metrics", Authorization=f"{kind} k").status == 200


def test_a_client_that_is_still_sending_is_told_that_its_key_is_wrong(serve, model):
    server = serve(model, keys=(b"k",))
    body = bytes(5_000_000)
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        connection.sendall(
            f"POST {REMOVEBG} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 403")


def test_a_browser_of_a_site_that_may_can_ask_and_read_with_keys_too(serve, model, photo):
    site = "https://shop.example"
    server = serve(model, keys=(b"k",), origins=(site,))
    asked = server.request(
        "OPTIONS",
        REMOVEBG,
        headers={"Origin": site, "Access-Control-Request-Method": "POST"},
    )
    refused = server.post(REMOVEBG, {"image_file": photo}, {"Origin": site})
    assert (asked.status, refused.status) == (200, 403)
    for answer in (asked, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == site
    assert "X-Ignored" in refused.headers["Access-Control-Expose-Headers"]


def test_a_method_that_is_wrong_comes_with_the_right_one(server):
    assert server.get(REMOVEBG).headers["Allow"] == "POST"


def test_no_second_head_is_sent_into_an_answer(serve, model, photo, monkeypatch, caplog):
    async def deliver(self, scope, send, content, headers):
        start = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": content[:10], "more_body": True})
        raise Refusal(503, "busy", "too late")

    monkeypatch.setattr(app_module.Service, "_deliver", deliver)
    server = serve(model)
    headers, body = multipart({"image_file": photo})
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {REMOVEBG} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        said = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                said += piece
    assert said.count(b"HTTP/1.1") <= 1
    assert "Exception in ASGI" not in caplog.text


def test_base64_whose_plus_signs_a_form_made_blanks_of(server, photo):
    text = base64.b64encode(photo).decode()
    for byte in range(256):  # until there is one
        if "+" in text:
            break
        text = base64.b64encode(photo + bytes([251, byte, 190] * 3)).decode()
    assert "+" in text
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.request("POST", REMOVEBG, f"image_file_b64={text}", form)
    assert (answer.status, answer.content) == (200, server.removebg(photo).content)


def test_a_subject_that_is_scaled_is_in_the_middle(server):
    image = np.zeros((100, 200, 3), np.uint8)
    image[10:40, 10:60] = 255
    alpha = np.asarray(server.removebg(png(image), scale="50%").image())[..., 3]
    rows, columns = np.nonzero(alpha > 128)
    assert abs(rows.min() + rows.max() + 1 - 100) <= 2
    assert abs(columns.min() + columns.max() + 1 - 200) <= 2


def test_a_background_behind_a_mask_is_not_looked_at(server, photo):
    answer = server.removebg(photo, channels="alpha", bg_image_file=b"broken")
    assert (answer.status, answer.headers["X-Ignored"]) == (200, "bg_image_file")


def test_the_page_may_run_what_is_in_it_and_nothing_else(server):
    answer = server.get("/")
    policy = answer.headers["Content-Security-Policy"]

    assert answer.headers["Content-Type"].startswith("text/html")
    (script,) = re.findall(rb"<script>(.*?)</script>", answer.content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    outside = re.findall(rb"""(?:src|href)\s*=\s*["'](?!data:|#)([^"']*)""", read_page())
    assert not [address for address in outside if b"//" in address]


def test_the_page_can_be_left_out(serve, model):
    assert serve(model, page=False).get("/").status == 404


def test_answers_say_nothing_to_browsers_of_other_sites(server, serve, model):
    assert server.get("/health", Origin="https://evil.example").headers["X-Content-Type-Options"]
    for name in server.get("/health", Origin="https://evil.example").headers:
        assert not name.lower().startswith("access-control")

    asked = serve(model, origins=("https://shop.example",))
    headers = asked.get("/health", Origin="https://shop.example").headers
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = asked.get("/health", Origin="https://evil.example").headers
    assert "Access-Control-Allow-Origin" not in other


def test_metrics_count(serve, model, photo):
    server = serve(model)
    server.removebg(photo)
    server.get("/no/such/thing")

    text = server.get("/metrics").content.decode()

    assert 'birefnet_requests_total{code="200",path="/v1.0/removebg"} 1.0' in text
    assert 'birefnet_requests_total{code="404",path="other"} 1.0' in text
    for stage in ("queue", "read", "run", "write"):
        assert f'birefnet_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert "birefnet_queue_depth 0.0" in text
    assert "birefnet_pixels 0.0" in text
    assert "birefnet_held_bytes 0.0" in text
    assert 'birefnet_batch_size_bucket{le="1.0"} 1.0' in text
    assert 'model="made"' in text
    assert 'provider="cpu"' in text


def test_a_request_is_one_line_without_what_was_sent(server, photo, caplog):
    with caplog.at_level(logging.INFO, "birefnet.serve"):
        server.removebg(photo, bg_color="ffffff")
        server.get("/no%0Asuch%1b[31m")
        wait_until(lambda: len(caplog.records) == 2)

    lines = [record.getMessage() for record in caplog.records]
    assert "POST /v1.0/removebg 200" in lines[0]
    assert "pixels=3840" in lines[0]
    assert r"/no\nsuch\x1b[31m 404" in lines[1]


def test_nothing_of_a_request_is_written_to_disk(server, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    noise = np.random.default_rng(3).integers(0, 255, (800, 800, 3), np.uint8)
    noise[200:600, 200:600] = 255

    assert server.removebg(png(noise)).status == 200


def test_a_bomb_is_refused_by_its_header(server, photo, monkeypatch):
    """88 megapixels in some kilobytes; nothing of it is decoded."""
    stream = io.BytesIO()
    Image.new("1", (11_000, 8_000)).save(stream, "PNG")
    assert len(stream.getvalue()) < 50_000
    for owner, name in ((steps, "decode"), (Image.Image, "load")):
        monkeypatch.setattr(owner, name, lambda *_: pytest.fail("it was decoded"))

    for field in ("image_file", "bg_image_file"):
        fields = {"image_file": photo, field: stream.getvalue()}
        answer = server.post(REMOVEBG, fields)
        assert (answer.status, answer.code()) == (413, "resolution_too_high")
        assert "11000 x 8000" in answer.title()


def test_an_icon_can_t_say_one_size_and_have_another(server):
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "ICO")

    assert server.removebg(stream.getvalue()).code() == "failed_to_read_image"


def test_errors_tell_nothing_of_the_inside(serve, photo, caplog):
    session = HeldSession()
    session.go.set()
    server = serve(session)
    session.fail_on = lambda tensor: True

    failed = server.removebg(photo)

    assert (failed.status, failed.code()) == (500, "model_failed")
    session.run = lambda *_: [].x  # type: ignore[attr-defined,method-assign]
    unexpected = server.removebg(photo)
    assert (unexpected.status, unexpected.code()) == (500, "internal_error")
    for answer in (failed, unexpected):
        assert b"/" not in answer.content.replace(b"image/", b"")
        assert b"Traceback" not in answer.content


KINDS = (
    "multipart/form-data; boundary=a7d1f",
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data",
    "",
)
PIECES = st.sampled_from(
    [
        *(b"--a7d1f", b"--a7d1f--", b"\r\n", b'Content-Disposition: form-data; name="image_file"'),
        *(b'; filename="x"', b"image_file_b64=", b"&size=%", b'{"image_file_b64":', b"[[[[", b"{}"),
        *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"II*\0", b"GIF89a"),
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    pieces=st.lists(st.one_of(PIECES, st.binary(max_size=60)), max_size=12),
    path=st.sampled_from([REMOVEBG, "/api/remove"]),
)
def test_whatever_is_sent_gets_an_answer(server: Running, caplog, kind, pieces, path):
    caplog.clear()
    answer = server.request("POST", path, b"".join(pieces), {"Content-Type": kind})

    assert answer.status in {400, 413, 415}, answer.content
    assert not [record for record in caplog.records if record.exc_info]
    wait_until(lambda: server.service._held.bytes == server.service._queue.count == 0)


def test_pictures_that_are_damaged_get_an_answer(server, photo, caplog):
    draw = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(photo)
        for place in draw.integers(8, len(damaged), 4):
            damaged[place] = draw.integers(256)
        assert server.removebg(bytes(damaged)).status in {200, 400, 413}
    assert not [record for record in caplog.records if record.exc_info]


def test_a_client_from_pypi_works_as_it_is(serve, model, photo, monkeypatch):
    import remove_bg_api

    server = serve(model, keys=(b"key",))
    monkeypatch.setattr(remove_bg_api, "API_URL", f"http://127.0.0.1:{server.port}/v1.0")
    expected = Segmenter(model).compose(photo)
    client = remove_bg_api.RemoveBg("key")

    by_file = client.remove_bg_bytes(photo, raw=True, size="full")
    by_text = client.remove_bg_base64(base64.b64encode(photo), raw=True, size="full")

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(by_file))), expected.pixels)
    assert by_text == by_file
