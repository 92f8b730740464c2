"""Listing: page by page, in the memory of one page."""

import tracemalloc
from collections import deque
from itertools import islice

import pytest
from birefnet_apps.files.remote_folder import jobs_below
from birefnet_apps.storage import RemotePath, remote
from birefnet_apps.storage.remote import pages_below
from birefnet_runtime.errors import ImageError
from studies.service.fake_s3 import FakeS3


class FakeGcs:
    """Three pages of Google's interface."""

    def call(self, method, path, bucket, *, json_out, **query):
        assert (method, path, bucket, json_out) == ("GET", "b/{}/o", "b", True)
        page = int(query.get("pageToken", 0))
        items = [{"name": f"in/{page}{n}.jpg"} for n in range(2)]
        return {"items": items, **({"nextPageToken": str(page + 1)} if page < 2 else {})}


@pytest.fixture
def store(monkeypatch):
    def use(fake):
        monkeypatch.setattr(remote, "_file_system", lambda root: fake)
        return fake

    return use


def test_google_pages():
    pages = list(pages_below(FakeGcs(), "b/in", "gs"))

    assert pages == [["00.jpg", "01.jpg"], ["10.jpg", "11.jpg"], ["20.jpg", "21.jpg"]]


def test_pages_are_asked_for_as_names_are_drawn(store):
    fake = store(FakeS3(100_000))

    names = remote.RemoteFile(RemotePath("s3://b/in")).names_below()

    assert list(islice(names, 1500))[-1] == "00001499.jpg"
    assert fake.asked == ["in/", "in/"]


def peak_bytes_of_jobs(store, count):
    fake = store(FakeS3(count))
    failures = []
    tracemalloc.start()
    try:
        jobs = jobs_below(RemotePath("s3://b/in"), RemotePath("s3://b/out"), ".png", failures)
        drawn, last = deque(enumerate(jobs, 1), maxlen=1).pop()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    number = f"{count - 1:08d}"
    assert (drawn, failures, len(fake.asked)) == (count, [], count // 1000)
    assert str(last.source) == f"s3://b/in/{number}.jpg"
    assert str(last.target) == f"s3://b/out/{number}.png"
    return peak


@pytest.mark.slow
def test_jobs_take_the_memory_of_a_page_however_many_there_are(store):
    peak_bytes_of_jobs(store, 1000)

    assert peak_bytes_of_jobs(store, 6000) < 1.2 * peak_bytes_of_jobs(store, 2000)


def test_keys_out_of_order_are_refused(store):
    store(FakeS3(3, name=lambda n: f"in/{9 - n}.jpg"))

    with pytest.raises(ImageError, match=r"s3://b/in: is listed out of order"):
        list(remote.RemoteFile(RemotePath("s3://b/in")).names_below())
