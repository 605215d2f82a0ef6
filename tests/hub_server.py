"""A hub on this machine: as much of the Hugging Face API over HTTP as downloads and uploads need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = 4096
"""Bytes from which a file is kept as git-lfs keeps it: named by its SHA-256."""


@dataclass
class Repositories:
    """What the server has: files by repository, and how it behaves."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    cut_at: int | None = None  # end a download's connection after so many bytes of the file
    refuse: bool = False  # answer downloads with 503
    spoil: bool = False  # change a byte of every download
    uploads: dict[str, bytes] = field(default_factory=dict)  # git-lfs objects by SHA-256

    def downloads(self, name: str) -> list[str]:
        """The Range headers of the downloads of a file, "" where all of it was asked for."""
        return [span for method, path, span in self.asked if method == "GET" and path.endswith("/" + name)]


def sibling(name: str, content: bytes) -> dict[str, object]:
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    known: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git}
    if len(content) >= LARGE:
        known["lfs"] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "pointerSize": 134,
        }
    return known


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Repositories

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.repositories.asked.append((self.command, path, self.headers.get("Range", "")))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._describe(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._send_file(found[1], found[2])
        else:
            self._json(404, {"error": "not found"})

    def _describe(self, repo: str) -> None:
        files = self.repositories.files.get(repo)
        if files is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [sibling(name, content) for name, content in sorted(files.items())]
        self._json(200, {"id": repo, "sha": COMMIT, "private": False, "siblings": siblings})

    def _send_file(self, repo: str, name: str) -> None:
        content = self.repositories.files.get(repo, {}).get(name)
        if content is None:
            self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        if self.repositories.refuse and self.command == "GET":
            self._json(403, {"error": "closed for now"})
            return
        known = sibling(name, content)
        lfs = known.get("lfs")
        etag = lfs["sha256"] if isinstance(lfs, dict) else known["blobId"]
        if self.repositories.spoil:
            content = bytes([content[0] ^ 1]) + content[1:]
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, "0"])[1])
        part = content[begin:]
        self.send_response(206 if begin else 200)
        headers = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{etag}"',
            "X-Linked-Etag": f'"{etag}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(part)),
        }
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.repositories.cut_at
        if cut is not None and cut < begin + len(part):
            self.wfile.write(part[: max(0, cut - begin)])
            self.repositories.refuse = True  # and the line stays dead
            self.close_connection = True
            return
        self.wfile.write(part)

    def _json(self, code: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.repositories.asked.append(("POST", path, ""))
        if path == "/api/repos/create":
            given = json.loads(body)
            repo = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
            self.repositories.files.setdefault(repo, {})
            self._json(200, {"url": f"http://{self.headers['Host']}/{repo}", "name": repo, "id": repo})
        elif path == "/api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            self._json(200, self._batch(json.loads(body)))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], body)
        else:
            self._json(404, {"error": "not found"})

    def _batch(self, given: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        def place(oid: object) -> dict[str, object]:
            return {"upload": {"href": f"http://{self.headers['Host']}/lfs/{oid}", "header": {}}}

        objects = [{**known, "actions": place(known["oid"])} for known in given["objects"]]
        return {"transfer": "basic", "objects": objects}

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.repositories.uploads[self.path.rpartition("/")[2]] = body
        self._json(200, {})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.repositories.files[repo][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.repositories.files[repo][value["path"]] = self.repositories.uploads[value["oid"]]
        url = f"http://{self.headers['Host']}/{repo}"
        self._json(200, {"commitUrl": f"{url}/commit/{COMMIT}", "commitOid": COMMIT, "hookOutput": ""})


@contextmanager
def serving() -> Iterator[tuple[str, Repositories]]:
    """The address of a running hub, and what it has."""
    repositories = Repositories()
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
