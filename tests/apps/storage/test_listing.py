"""Listing: page by page, in the memory of one page."""

import tracemalloc
from collections import deque
from itertools import islice
from types import SimpleNamespace

import fsspec
import fsspec.asyn
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
        monkeypatch.setattr(remote, "_file_system", lambda root, versions=False: fake)
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

    with pytest.raises(ImageError, match=r"s3://b/in: .* out of order"):
        list(remote.RemoteFile(RemotePath("s3://b/in")).names_below())


def test_a_listing_that_breaks_off_says_that_the_rest_is_unknown(store):
    store(FakeS3(5000, breaks_at=2000))
    failures = []

    jobs = list(jobs_below(RemotePath("s3://b/in"), RemotePath("s3://b/out"), ".png", failures))

    (failure,) = failures
    assert len(jobs) == 2000, "what came before is done"
    assert all(word in str(failure.error) for word in ("s3://b/in", "2000 names", "unknown"))


class FakeAzure:
    """adlfs as far as listings go: a client whose pages come one by one, in its own loop."""

    def __init__(self, names):
        self.names, self.loop = names, fsspec.asyn.get_loop()

    def _strip_protocol(self, url):
        return url.partition("://")[2].rstrip("/")

    @property
    def service_client(self):
        return self

    def get_container_client(self, container):
        assert container == "b"
        return self

    def list_blobs(self, name_starts_with, results_per_page):
        self.names = [name for name in self.names if name.startswith(name_starts_with)]
        return self

    async def by_page(self):
        for name in self.names:
            yield self._page(name)

    async def _page(self, name):
        yield SimpleNamespace(name=name)


@pytest.mark.parametrize(
    ("names", "jobs", "failed"),
    [
        (["in/a.jpg", "in/dd//x.jpg", "in/dd/y.jpg"], ["a", "dd/y"], ["dd//x.jpg", "empty part"]),
        (["in/dd/y.jpg", "in/dd.jpg"], ["dd/y", "dd"], []),  # folders sorted each by itself
    ],
)
def test_blobs_of_azure(store, names, jobs, failed):
    """A folder without a name, of which adlfs's own walk says nothing, gets a line."""
    store(FakeAzure(names))
    failures = []

    found = list(jobs_below(RemotePath("az://b/in"), RemotePath("az://b/o"), ".png", failures))

    assert [job.target.url for job in found] == [f"az://b/o/{name}.png" for name in jobs]
    assert len(failures) == bool(failed)
    assert all(word in str(failures[0].error) for word in failed)
