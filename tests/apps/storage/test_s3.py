"""Folder runs against the S3 protocol: moto's server on loopback through s3fs."""

import io
import json

import fsspec
import numpy as np
import pytest
from birefnet_apps.cli import main as cli
from birefnet_apps.storage import RemotePath, remote
from click.testing import CliRunner
from PIL import Image


def run(*arguments: object):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.fixture
def photo_bytes(picture) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def photos(bucket, photo_bytes):
    """A folder of three pictures and what is none; returns its URL."""
    fs = fsspec.filesystem("s3")
    objects = {
        "a.jpg": photo_bytes,
        "sub/b.png": photo_bytes,
        "sub/c.webp": photo_bytes,
        "broken.jpg": b"no image",
        "empty.jpg": b"",
        "notes.txt": b"x",
        ".hidden.png": photo_bytes,
    }
    for key, content in objects.items():
        fs.pipe_file(f"{bucket}/in/{key}", content)
    return f"{bucket}/in"


def results(bucket, below="out"):
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.invalidate_cache()
    return sorted(path.partition(f"/{below}/")[2] for path in fs.find(f"{bucket}/{below}"))


def test_a_folder_to_a_folder_and_what_fails(model, photos, bucket, s3):
    done = run("cutout", photos, "-o", f"{bucket}/out", "-m", model, "--json")

    assert done.exit_code == 1
    assert results(bucket) == ["a.png", "sub/b.png", "sub/c.png"]
    lines = done.stderr.splitlines()
    assert f"birefnet: {photos}/empty.jpg: the file is empty" in lines
    assert any(line.startswith(f"birefnet: {photos}/broken.jpg: not an image") for line in lines)
    assert lines[-1].startswith("birefnet: 3 cutouts in ")
    assert lines[-1].endswith(f", 2 failed: {bucket}/out")
    records = {record["input"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert records[f"{photos}/sub/b.png"]["output"] == f"{bucket}/out/sub/b.png"
    assert records[f"{photos}/empty.jpg"]["output"] is None
    assert s3.requests["PUT", "served"] == 3 + 7 + 1, "one for each result, and the fixtures'"


def test_results_equal_local_ones_byte_for_byte(model, photos, bucket, tmp_path, photo_bytes):
    (tmp_path / "a.jpg").write_bytes(photo_bytes)
    run("cutout", tmp_path / "a.jpg", "-o", tmp_path / "a.png", "-m", model)

    run("cutout", f"{photos}/a.jpg", "-o", f"{bucket}/one.png", "-m", model)
    run("cutout", f"{photos}/a.jpg", "-o", tmp_path / "fetched.png", "-m", model)
    run("cutout", tmp_path / "a.jpg", "-o", f"{bucket}/there/", "-m", model)

    local = (tmp_path / "a.png").read_bytes()
    fs = fsspec.filesystem("s3")
    assert fs.cat_file(f"{bucket}/one.png") == local
    assert fs.cat_file(f"{bucket}/there/a.png") == local
    assert (tmp_path / "fetched.png").read_bytes() == local


def test_a_run_goes_on_where_it_stopped(model, photos, bucket, photo_bytes):
    fs = fsspec.filesystem("s3")
    fs.pipe_file(f"{bucket}/out/sub/b.png", b"there")

    done = run("cutout", photos, "-o", f"{bucket}/out", "-m", model, "--skip-existing")

    assert "2 cutouts in " in done.stderr
    assert ", 1 there already, 2 failed" in done.stderr
    assert fs.cat_file(f"{bucket}/out/sub/b.png") == b"there"


def test_in_place_results_are_no_inputs(model, photos, bucket):
    for spelled in ("", "/"):
        done = run("cutout", f"{photos}{spelled}", "-o", photos, "-m", model)
        assert ", 2 failed" in done.stderr

    assert [name for name in results(bucket, "in") if name.endswith(".png.png")] == [
        "sub/b.png.png"
    ]
    assert "a.jpg.png" in results(bucket, "in")
    assert "a.jpg.png.png" not in results(bucket, "in")
    assert "3 there already" in done.stderr


def test_a_list_in_the_store_to_a_folder_here(model, photos, bucket, tmp_path):
    content = f"{photos}/a.jpg\n{photos}/sub/b.png\n{photos}/gone.jpg\n"
    fsspec.filesystem("s3").pipe_file(f"{bucket}/list.txt", content.encode())

    done = run(
        *("cutout", "--files-from", f"{bucket}/list.txt", "-o", tmp_path / "out", "-m", model)
    )

    assert done.exit_code == 1
    assert f"birefnet: {photos}/gone.jpg: no such object" in done.stderr.splitlines()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


def test_503s_and_slow_answers_are_the_drivers_to_bear(model, photos, bucket, s3):
    s3.failing, s3.slow_s = True, 0.02

    done = run("cutout", photos, "-o", f"{bucket}/out", "-m", model)

    assert results(bucket) == ["a.png", "sub/b.png", "sub/c.png"]
    assert ", 2 failed" in done.stderr
    assert s3.requests["PUT", "503"] == 3
    assert s3.requests["GET", "503"] >= 5


def test_one_object_that_always_fails_fails_alone_and_leaves_nothing(model, photos, bucket, s3):
    s3.refuse = "/out/sub/b.png"

    done = run("cutout", photos, "-o", f"{bucket}/out", "-m", model)

    assert done.exit_code == 1
    s3.refuse = ""
    assert results(bucket) == ["a.png", "sub/c.png"]
    (line,) = [line for line in done.stderr.splitlines() if "out/sub/b.png" in line]
    assert line.startswith(f"birefnet: {bucket}/out/sub/b.png: can't be written: ")


def test_a_bucket_that_is_not_there_is_one_line(model, s3, photos):
    done = run("cutout", "s3://no-such-bucket/in/", "-o", "s3://no-such-bucket/out", "-m", model)

    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith("birefnet: s3://no-such-bucket/in/: ")
    assert "Traceback" not in done.stderr


def test_a_listing_that_breaks_off_is_a_failure_and_ends_the_run(model, photos, bucket, s3):
    pages = remote.RemoteFile(RemotePath(photos)).names_below()
    assert next(pages) == ".hidden.png"
    s3.refuse = bucket.partition("://")[2]

    done = run("cutout", f"{photos}/", "-o", f"{bucket}/out", "-m", model)

    assert done.exit_code == 1
    assert f"birefnet: {photos}/: can't be listed: " in done.stderr


def test_large_objects_are_one_put(bucket, s3):
    before = s3.requests["PUT", "served"]

    remote.RemoteFile(RemotePath(f"{bucket}/large.tif")).write(bytes(120 << 20))

    assert s3.requests["PUT", "served"] == before + 1
    assert s3.requests["POST", "served"] == 0
    assert np.equal(fsspec.filesystem("s3").size(f"{bucket}/large.tif"), 120 << 20)


def test_a_sibling_that_appears_later_changes_no_name(model, bucket, photo_bytes):
    fs = fsspec.filesystem("s3")
    fs.pipe_file(f"{bucket}/in/a.jpg", photo_bytes)
    run("cutout", f"{bucket}/in", "-o", f"{bucket}/out", "-m", model)
    fs.pipe_file(f"{bucket}/in/a.webp", photo_bytes[:-12])

    done = run("cutout", f"{bucket}/in", "-o", f"{bucket}/out", "-m", model, "--skip-existing")

    assert results(bucket) == ["a.png", "a.webp.png"]
    assert "1 cutout in " in done.stderr
    assert ", 1 there already" in done.stderr


def test_a_result_of_another_object_is_neither_overwritten_nor_taken_for_ones_own(
    model, bucket, photo_bytes, picture, tmp_path
):
    """Two lists in turn: x/1.jpg, then y/1.jpg, which was made of another picture."""
    stream = io.BytesIO()
    Image.fromarray(picture[:, ::-1]).save(stream, "PNG")
    fs = fsspec.filesystem("s3")
    fs.pipe_file(f"{bucket}/x/1.jpg", photo_bytes)
    fs.pipe_file(f"{bucket}/y/1.jpg", stream.getvalue())
    ends = []
    for name, options in (("x", []), ("y", []), ("y", ["--skip-existing"])):
        (tmp_path / "list").write_text(f"{bucket}/{name}/1.jpg\n")
        arguments = ("--files-from", tmp_path / "list", "-o", f"{bucket}/out/", "-m", model)
        ends.append(run("cutout", *arguments, *options))
        content = fs.cat_file(f"{bucket}/out/1.png")
        if name == "x":
            before = content

    assert [done.exit_code for done in ends] == [0, 1, 1]
    assert "--relative-to" in ends[1].stderr
    assert "there already" not in ends[2].stderr
    assert content == before
