import os
import secrets

import fsspec
import pytest
from birefnet_apps.storage import remote
from s3fs import S3FileSystem
from studies.service.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server():
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The server, calm, and credentials for it as everybody's programs read them."""
    s3_server.calm()
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # of botocore, within each of s3fs's
    monkeypatch.setattr(S3FileSystem, "retries", 3)
    S3FileSystem.clear_instance_cache()
    remote._file_system.cache_clear()
    yield s3_server
    s3_server.calm()


@pytest.fixture
def bucket(s3):
    """The URL of a new bucket."""
    name = f"bucket-{secrets.token_hex(4)}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty, and its URL."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield "memory://"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
