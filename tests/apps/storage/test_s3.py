"""Folder runs against the S3 protocol: moto's server on loopback through s3fs."""

import io
import json
import threading
from typing import ClassVar

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
    assert s3.requests["PUT", "served"] == 3 + 7 + 1 + 1, (
        "one for each result, the fixtures', and whether the output can be written to"
    )


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
    assert s3.requests["PUT", "503"] == 3 + 1
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


def test_names_relative_to_a_prefix_hang_on_each_object_alone(model, photos, bucket, tmp_path):
    """A folder, and its files in lists of one, in any order."""
    run("cutout", f"{photos}/", "-o", f"{bucket}/all", "-m", model, "--relative-to", bucket)
    for name in ("sub/c.webp", "a.jpg", "sub/b.png"):
        run(
            *("cutout", f"{photos}/{name}", "-o", f"{bucket}/each/", "-m", model),
            *("--relative-to", f"{bucket}/"),
        )

    assert results(bucket, "each") == ["in/a.jpg.png", "in/sub/b.png.png", "in/sub/c.webp.png"]
    assert results(bucket, "all") == results(bucket, "each")


def test_an_output_that_cannot_be_written_costs_no_picture(model, photos, bucket, s3):
    before = s3.requests["GET", "served"]

    done = run("cutout", f"{photos}/", "-o", "s3://no-such-bucket/out", "-m", model)

    assert done.exit_code == 1
    assert "s3://no-such-bucket/out" in done.stderr
    assert "no such bucket" in done.stderr
    assert s3.requests["GET", "served"] - before <= 2, "a page of names, and no picture"


def test_a_missing_input_bucket_is_no_missing_object(model, s3, bucket):
    done = run("cutout", "s3://no-such-bucket/a.jpg", "-o", f"{bucket}/a.png", "-m", model)

    assert done.exit_code == 1
    assert "s3://no-such-bucket/a.jpg: no such bucket" in done.stderr


def test_credentials_that_are_refused_stop_the_run(model, photos, bucket, photo_bytes, monkeypatch):
    asked = []

    class Expired(Exception):
        response: ClassVar = {
            "Error": {"Code": "ExpiredToken", "Message": "The token has expired."}
        }

    def read(self):
        asked.append(self.place)
        self._failed(remote.ImageError, "can't be read", Expired("The token has expired."))

    fs = fsspec.filesystem("s3")
    for number in range(100):
        fs.pipe_file(f"{bucket}/many/{number:03}.jpg", photo_bytes)
    monkeypatch.setattr(remote.RemoteFile, "read", read)

    done = run("cutout", f"{bucket}/many/", "-o", f"{bucket}/out", "-m", model)

    assert done.exit_code == 1
    assert len(asked) < 50
    assert "expired" in done.stderr
    assert "renew the credentials" in done.stderr


def test_uploads_do_not_wait_for_each_other(model, bucket, photo_bytes, s3, monkeypatch):
    """As many are on their way at once as results there are, whatever the number of threads."""
    real = remote.RemoteFile.write
    barrier = threading.Barrier(6, timeout=60)

    def write(self, content, origin=""):
        if self.place.name.startswith("p"):
            barrier.wait()  # nobody goes on before all six are here
        real(self, content, origin)

    fs = fsspec.filesystem("s3")
    for number in range(6):
        fs.pipe_file(f"{bucket}/in/p{number}.jpg", photo_bytes)
    monkeypatch.setattr(remote.RemoteFile, "write", write)

    done = run("cutout", f"{bucket}/in/", "-o", f"{bucket}/out", "-m", model, "--threads", 1)

    assert done.exit_code == 0, done.stderr
    assert len(results(bucket)) == 6


def test_records_lie_beside_the_results_and_say_what_failed(model, photos, bucket, photo_bytes):
    done = run("cutout", f"{photos}/", "-o", f"{bucket}/out", "-m", model, "--records", "jsonl")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.invalidate_cache()
    (part,) = fs.glob(f"{bucket}/out/birefnet-records/*.jsonl")
    records = {r["input"]: r for r in map(json.loads, fs.cat_file(part).splitlines())}

    assert done.exit_code == 1
    first = records[f"{photos}/a.jpg"]
    assert first["model"] == str(model)
    assert first["etag"] == fs.info(f"{photos}/a.jpg")["ETag"].strip('"')
    assert first["source_bytes"] == len(photo_bytes)
    assert first["result_bytes"] == fs.size(f"{bucket}/out/a.png")
    assert 0 < first["finished"] - first["started"] < 600
    assert "error" in records[f"{photos}/broken.jpg"]

    fs.pipe_file(f"{photos}/broken.jpg", photo_bytes)
    again = run(
        *("cutout", "-o", f"{bucket}/out", "-m", model),
        *("--retry-failed", f"{bucket}/out", "--records", "jsonl"),
    )

    assert "1 cutout in " in again.stderr
    assert ", 1 failed" in again.stderr, "the empty one"
    assert "broken.png" in results(bucket)
    third = run("cutout", "-o", f"{bucket}/out", "-m", model, "--retry-failed", f"{bucket}/out")
    assert "empty.jpg" in third.stderr
    assert "broken.jpg" not in third.stderr


def test_a_version_is_read_by_its_name_and_never_written(model, bucket, photo_bytes, tmp_path):
    """As S3's own URLs name it; without one it is the newest, which is not a picture here."""
    name = bucket.partition("://")[2]
    fs = fsspec.filesystem("s3", version_aware=True)
    fs.call_s3("put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    fs.pipe_file(f"{bucket}/a.jpg", photo_bytes)
    version = fs.info(f"{bucket}/a.jpg")["VersionId"]
    fs.pipe_file(f"{bucket}/a.jpg", b"not an image")
    fs.call_s3("put_object", Bucket=name, Key="in/x?versionId=1.jpg", Body=photo_bytes)
    first = f"{bucket}/a.jpg?versionId={version}"

    done = run("cutout", first, "-o", f"{bucket}/out/", "-m", model, "--json")
    newest = run("cutout", f"{bucket}/a.jpg", "-o", f"{bucket}/new/", "-m", model)
    written = run("cutout", first, "-o", f"{bucket}/b.png?versionId=1", "-m", model)
    folder = run("cutout", f"{bucket}/in/", "-o", f"{bucket}/out", "-m", model)

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["output"] == f"{bucket}/out/a.png"
    assert [end.exit_code for end in (newest, written, folder)] == [1, 1, 1]
    assert "not an image" in newest.stderr
    assert "version can't be written" in written.stderr
    assert "in/x?versionId=1.jpg: its key has ?versionId=" in folder.stderr
    assert results(bucket) == ["a.png"]
