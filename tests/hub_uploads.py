"""The other half of the hub on loopback: what pushing asks for, answered as the hub answers it."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from .hub_server import Hub

LARGE = (".safetensors", ".bin", ".pth", ".onnx", "_data")
"""How the names end of files that are kept outside git, behind a redirect."""


class Uploads(BaseHTTPRequestHandler):
    """Answers to POST and PUT: repositories made, files uploaded, commits added."""

    hub: Hub

    def do_POST(self) -> None:
        content = self.body()
        path = self.record()
        parts = path.strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}" or self.hub.read_only:
            return self.answer(403 if "Authorization" in self.headers else 401, {"error": "no"})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(json.loads(content))
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            return self.answer(200, self.batch(json.loads(content)))
        name, verb = "/".join(parts[2:4]), parts[4]
        if verb == "preupload":
            return self.answer(200, {"files": list(map(self.mode, json.loads(content)["files"]))})
        assert verb == "commit", path
        return self.commit(name, [json.loads(line) for line in content.splitlines()])

    def do_PUT(self) -> None:
        content = self.body()
        oid = self.record().rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.uploads[oid] = content
        self.answer(200, {})

    def record(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, None))
        self.hub.authorizations.append(self.headers.get("Authorization"))
        return path

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def create(self, wanted: dict[str, object]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        url = {"url": f"{self.hub.url}/{name}"}
        if name in self.hub.repos:
            return self.answer(409, url | {"error": "You already created this model repo"})
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repo(name).access = "private" if private else "open"
        self.hub.repo(name).commit({".gitattributes": b""})
        return self.answer(200, url)

    def mode(self, file: dict[str, object]) -> dict[str, object]:
        mode = "lfs" if str(file["path"]).endswith(LARGE) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def batch(self, wanted: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        def action(entry: dict[str, object]) -> dict[str, object]:
            upload = {"href": f"{self.hub.url}/upload/{entry['oid']}"}
            return {**entry, "actions": {"upload": upload}}

        return {"transfer": "basic", "objects": list(map(action, wanted["objects"]))}

    def commit(self, name: str, lines: list[dict[str, dict[str, str]]]) -> None:
        repo = self.hub.repos[name]
        files = dict(repo.commits[repo.branches["main"]])
        for line in lines:
            value = line["value"]
            if str(line["key"]) == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif str(line["key"]) == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = repo.commit(files)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self.answer(200, {"commitUrl": url, "commitOid": commit, "success": True})

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
