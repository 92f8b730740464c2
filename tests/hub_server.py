"""A hub on loopback: what huggingface_hub asks for, answered as the hub answers it.

Repositories with branches and commits, `resolve` with the hub's headers, large files behind a
redirect to another host, ranges, gated and private repositories, and on demand everything that
goes wrong: truncated bodies, dropped connections, pages in place of files, failing servers. It
serves plain files too, as a release page does. Every request is recorded.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from .hub_uploads import LARGE, Uploads


@dataclass
class Repo:
    """One repository: commits with their files, and branches that point at commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    access: str = "open"
    """`open`, `gated` (403 without a right) or `private` (401 without a login)."""

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit and move the branch to it."""
        content = json.dumps([len(self.commits), sorted(files)]).encode()
        commit = hashlib.sha1(content + b"".join(files.values())).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit


@dataclass
class Failure:
    """How answers fail, until the test sets another."""

    cut_at: int | None = None
    """Bodies end after so many bytes, though more were announced."""
    times: int = 1 << 30
    """How many bodies are cut."""
    page: bool = False
    """An HTML page in place of everything."""
    status: int | None = None
    """Every request fails with it."""
    corrupt: bool = False
    """Bodies have the right length and other bytes."""
    ignore_range: bool = False
    wrong_part: bool = False
    """A range is answered with another."""
    weak: bool = False
    """ETags are weak ones."""
    length: str | None = None
    """Stated instead of the Content-Length; empty: none is stated."""
    endless: bool = False
    """Bodies have no end."""
    pause_s: float = 0.0
    """Between the bytes of a body."""
    header_pause_s: float = 0.0
    """Between the bytes of a header."""
    redirect: str = ""
    """Every request is sent on to there."""


class Hub:
    """The server's state, shared with the test."""

    token = "hf_test"

    def __init__(self) -> None:
        self.url = ""
        self.storage = ""
        """Where large files lie: the same server under another name, which the client sees as
        another host, as the hub's storage is."""
        self.reset()

    def reset(self) -> None:
        """Nothing is on it, everything works, and no request was made."""
        self.repos: dict[str, Repo] = {}
        self.files: dict[str, bytes] = {}
        """Plain files, by path, as of a release."""
        self.failure = Failure()
        self.after_listing: Callable[[], object] | None = None
        """Called once the files of a repository were listed."""
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and range."""
        self.authorizations: list[str | None] = []
        """Of the same requests."""
        self.headers: list[dict[str, str]] = []
        """Of the same requests, all."""
        self.uploads: dict[str, bytes] = {}
        """Large files that were uploaded, by their sha256."""
        self.role = "write"
        """What the token may do, as `whoami` says."""
        self.read_only = False
        """Whether everything that would change something is refused."""
        if self.url:
            self.storage = self.url.replace("127.0.0.1", "localhost")

    def repo(self, name: str) -> Repo:
        return self.repos.setdefault(name, Repo())


class Handler(Uploads):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        with suppress(ConnectionError):  # the client may hang up
            self.respond(body=False)

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self.respond(body=True)

    def respond(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        self.hub.authorizations.append(self.headers.get("Authorization"))
        self.hub.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.hub.failure.redirect and "/elsewhere" not in path:
            return self.send(302, b"", {"Location": self.hub.failure.redirect}, body)
        if self.hub.failure.status:
            return self.send(self.hub.failure.status, b"broken", body=body)
        if self.hub.failure.page:
            page = b"<!DOCTYPE html><title>Sign in to the wifi</title>"
            return self.send(200, page, {"Content-Type": "text/html", "ETag": '"page"'}, body)
        if path in self.hub.files:
            content = self.hub.files[path]
            weak = "W/" if self.hub.failure.weak else ""
            return self.send_file(content, {"ETag": f'{weak}"{etag(content)}"'}, body)
        if path.startswith("/blobs/"):
            return self.blob(path.rpartition("/")[2], body)
        parts = path.strip("/").split("/")
        if path == "/api/whoami-v2":
            return self.whoami(body)
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.api("/".join(parts[2:4]), parts[4:], body)
        if len(parts) > 4 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        return self.fail(404, "RepoNotFound", body)

    def api(self, name: str, rest: list[str], body: bool) -> None:
        found = self.open(name, rest[1] if len(rest) > 1 else "main", body, listing=True)
        if found is None:
            return
        commit, files = found
        siblings = [sibling(file, content) for file, content in files.items()]
        answer = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
        answer["private"] = self.hub.repos[name].access == "private"
        self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)
        if self.hub.after_listing:
            self.hub.after_listing()

    def whoami(self, body: bool) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.send(401, b"{}", {}, body)
        user = {"name": "me", "auth": {"accessToken": {"role": self.hub.role}}}
        return self.send(200, json.dumps(user).encode(), {"Content-Type": "application/json"}, body)

    def resolve(self, name: str, revision: str, file: str, body: bool) -> None:
        found = self.open(name, revision, body)
        if found is None:
            return
        commit, files = found
        if file not in files:
            return self.fail(404, "EntryNotFound", body, {"X-Repo-Commit": commit})
        content = files[file]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'}
        if is_large(file):
            headers["ETag"] = f'"{etag(content)}"'
            headers |= {"X-Linked-Etag": f'"{etag(content)}"', "X-Linked-Size": str(len(content))}
            headers["Location"] = f"{self.hub.storage}/blobs/{etag(content)}"
            return self.send(302, b"", headers, body)
        return self.send_file(content, headers, body)

    def open(
        self, name: str, revision: str, body: bool, listing: bool = False
    ) -> tuple[str, dict[str, bytes]] | None:
        """The files at a revision; None after an answer that says why not."""
        repo = self.hub.repos.get(name)
        logged_in = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if repo is None or (repo.access == "private" and not logged_in):
            self.fail(401, "RepoNotFound", body)
            return None
        commit = repo.branches.get(revision, revision)
        if commit not in repo.commits:
            self.fail(404, "RevisionNotFound", body)
            return None
        if repo.access == "gated" and not logged_in and not listing:
            self.fail(403 if "Authorization" in self.headers else 401, "GatedRepo", body)
            return None
        return commit, repo.commits[commit]

    def blob(self, sought: str, body: bool) -> None:
        for repo in self.hub.repos.values():
            for files in repo.commits.values():
                for content in files.values():
                    if etag(content) == sought:
                        return self.send_file(content, {"ETag": f'"{sought}"'}, body)
        return self.fail(404, "EntryNotFound", body)

    def send_file(self, content: bytes, headers: dict[str, str], body: bool) -> None:
        failure = self.hub.failure
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if failure.corrupt:
            content = bytes(len(content))
        asked = self.headers.get("Range")
        unchanged = self.headers.get("If-Range") in (None, headers["ETag"])
        if not asked or failure.ignore_range or not unchanged:
            return self.send(200, content, headers, body)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            return self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"}, body)
        if failure.wrong_part:
            start += 1
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206, content[start:], headers, body)

    def fail(
        self, status: int, code: str, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send(status, b"{}", {"X-Error-Code": code, **(headers or {})}, body)

    def send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, body: bool = True
    ) -> None:
        failure = self.hub.failure
        if failure.header_pause_s:
            self.dribble(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000, failure.header_pause_s)
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        is_file = (headers or {}).get("Content-Type") == "application/octet-stream"
        if is_file and (failure.endless or failure.length is not None):
            self.close_connection = True
        length = str(len(content)) if failure.length is None or not is_file else failure.length
        if length and not (is_file and failure.endless):
            self.send_header("Content-Length", length)
        self.end_headers()
        if not body:
            return
        if failure.cut_at is not None and failure.times > 0 and is_file:
            failure.times -= 1
            content = content[: failure.cut_at]
            self.close_connection = True
        if is_file and failure.pause_s:
            self.dribble(content, failure.pause_s)
        else:
            self.wfile.write(content)
        while is_file and failure.endless:
            self.wfile.write(bytes(1 << 16))

    def dribble(self, content: bytes, pause_s: float) -> None:
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(pause_s)


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(file: str) -> bool:
    return file.endswith(LARGE)


def sibling(file: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": file, "size": len(content)}
    entry["blobId"] = git_hash(content)
    if is_large(file):
        entry["blobId"] = "0" * 40  # of the note in its place
        entry["lfs"] = {"sha256": etag(content), "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub, running until the block ends."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.storage = hub.url.replace("127.0.0.1", "localhost")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
