from pathlib import Path

import pytest
from birefnet_apps.storage import RemotePath, is_url, parse_location, shown, typed_location


@pytest.mark.parametrize(
    "text", ["a.jpg", "/a/b.jpg", "s3:/bucket/a.jpg", "C://folder/a.jpg", "://a", "-", "a::b"]
)
def test_what_is_no_url_is_a_path(text):
    assert not is_url(text)
    assert parse_location(text) == Path(text)


def test_a_file_url_is_a_path():
    assert parse_location("file:///a/b c.jpg") == Path("/a/b c.jpg")
    assert parse_location("file:///a/b%20c%C3%B8.jpg") == Path("/a/b cø.jpg")
    assert parse_location("FILE://localhost/a.jpg") == Path("/a.jpg")
    assert parse_location("local:///a/b%20c.jpg") == Path("/a/b%20c.jpg")
    assert parse_location("/a/b%20c.jpg") == Path("/a/b%20c.jpg")


def test_urls_keep_what_paths_would_lose():
    place = parse_location("s3://bucket/a//b/")

    assert place == RemotePath("s3://bucket/a//b/")
    assert typed_location(place) == "s3://bucket/a//b/"
    assert (place.protocol, place.path, place.name, place.suffix) == ("s3", "bucket/a//b", "b", "")
    assert typed_location(place / Path("c/d.png")) == "s3://bucket/a//b/c/d.png"


@pytest.mark.parametrize(
    ("url", "suffix"),
    [
        ("s3://bucket/a.png", ".png"),
        ("s3://bucket/a.d/", ""),
        ("s3://bucket.png", ""),
        ("s3://bucket/a", ""),
    ],
)
def test_the_suffix_is_that_of_an_object(url, suffix):
    assert RemotePath(url).suffix == suffix


def test_below():
    folder = RemotePath("s3://b/in/")

    assert RemotePath("s3a://b/in/x/y.jpg").is_below(folder)
    assert RemotePath("s3://b/in").is_below(folder)
    assert not RemotePath("s3://b/inner/y.jpg").is_below(folder)
    assert not RemotePath("gs://b/in/y.jpg").is_below(folder)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sftp://me:secret@host/a.jpg", "sftp://host/a.jpg"),
        ("https://host/a.jpg?X-Amz-Signature=secret", "https://host/a.jpg?..."),
        ("https://me:secret@host/a.jpg?b=secret", "https://host/a.jpg?..."),
        ("s3://bucket/what?.jpg", "s3://bucket/what?.jpg"),
        ("s3://bucket/\x1b[31m.jpg", "s3://bucket/\\x1b[31m.jpg"),
    ],
)
def test_secrets_are_not_shown(url, text):
    assert shown(RemotePath(url)) == text
    assert f"{RemotePath(url)}".count("secret") == 0
