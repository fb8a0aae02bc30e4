"""A hub on this machine: as much of Hugging Face's API as its client asks for where models are fetched and pushed.

Files are held as by the real one: small ones by git's SHA-1, weights by SHA-256 in a large file storage.
"""

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
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".onnx", ".bin", ".hcq", ".h5")
"""Endings of what lies in the large file storage."""
TOKEN = "hf_local"


@dataclass
class Repository:
    """A model: its files, who may read them, and the names of what there is of it."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    revisions: set[str] = field(default_factory=lambda: {"main"})

    @property
    def commit(self) -> str:
        names = sorted((name, hashlib.sha1(body).hexdigest()) for name, body in self.files.items())
        return hashlib.sha1(json.dumps(names).encode()).hexdigest()


@dataclass
class LocalHub:
    """What is kept, what goes wrong, and what was asked.

    Args:
        address: to be HF_ENDPOINT.
        repositories: by id.
        cut: of a file's next answers, how many bytes are sent before the line breaks; by name.
        spoilt: names of files whose bytes are others than their digests say.
        asked: method and path of each request, and its range.
    """

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def add(self, id: str, folder: Path, licence: str = "apache-2.0") -> Repository:
        """Keep a folder's files under an id, with a model card, and pickles that nobody is to fetch."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        card = f"---\nlicense: {licence}\n---\n".encode()
        self.repositories[id] = Repository({**files, "README.md": card, "pytorch_model.bin": b"pickled" * 100})
        return self.repositories[id]

    def environment(self, home: Path) -> dict[str, str]:
        """In which a command asks this hub and no other, and keeps what it fetches below `home`."""
        own = {"HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "HCQ_CACHE": str(home / "own")}
        # Xet's client speaks to servers of its own kind alone; without it files go by the older protocol.
        return {**own, "HF_ENDPOINT": self.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": ""}


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A hub that runs."""
    hub = LocalHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()


def _git_sha1(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _entry(name: str, body: bytes) -> dict[str, Any]:
    """A file, as the list of files tells of it."""
    sha256 = hashlib.sha256(body).hexdigest()
    if not name.endswith(LARGE):
        return {"type": "file", "path": name, "size": len(body), "oid": _git_sha1(body)}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(body)}\n".encode()
    lfs = {"oid": sha256, "sha256": sha256, "size": len(body), "pointerSize": len(pointer)}
    return {"type": "file", "path": name, "size": len(body), "oid": _git_sha1(pointer), "lfs": lfs}


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        path = self._noted()
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if about and (found := self._readable(about[1], about[2] or "main")):
            self._json(self._about(about[1], found))
        elif tree and (found := self._readable(tree[1], tree[2])):
            self._json([_entry(name, body) for name, body in found.files.items()])
        elif file and (found := self._readable(file[1], file[2], file=True)):
            self._file(found, file[3])
        elif not (about or tree or file):
            self._json({"error": "not found"}, 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path, body = self._noted(), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, 401)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            return self._json({"files": [self._mode(each) for each in json.loads(body)["files"]]})
        if path.endswith(".git/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            return self._json({"transfer": "basic", "objects": [self._place(each) for each in wanted]})
        if path.startswith("/stored/"):
            return self._json({}, 200 if path.rpartition("/")[2] in self.hub.stored else 404)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self._json({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        name, body = self._noted().rpartition("/")[2], self._body()
        right = hashlib.sha256(body).hexdigest() == name
        if right:
            self.hub.stored[name] = body
        self._json({}, 200 if right else 400)

    def _noted(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _readable(self, id: str, revision: str, file: bool = False) -> Repository | None:
        """A repository that may be read; else it is answered here. Of a gated one all may know what is in it."""
        found = self.hub.repositories.get(id)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found is None or (found.private and not known):
            # As the real hub does: who is not known is not told whether it exists.
            self._json({"error": "Repository not found"}, 404 if known else 401, "RepoNotFound")
        elif revision not in {*found.revisions, found.commit}:
            self._json({"error": f"Invalid rev id: {revision}"}, 404, "RevisionNotFound")
        elif file and found.gated and not known:
            self._json({"error": "Access to this model is restricted"}, 401, "GatedRepo")
        else:
            return found
        return None

    def _about(self, id: str, found: Repository) -> dict[str, Any]:
        card = found.files.get("README.md", b"").decode()
        licence = re.search(r"^license: (.*)$", card, re.M)
        entries = [_entry(name, body) for name, body in found.files.items()]
        siblings = [{"rfilename": each["path"], "blobId": each["oid"], **each} for each in entries]
        facts = {"_id": "0", "id": id, "modelId": id, "sha": found.commit, "tags": [], "downloads": 0, "likes": 0}
        about = {"private": found.private, "gated": "manual" if found.gated else False, "siblings": siblings}
        return {**facts, **about, "cardData": {"license": licence[1]} if licence else {}}

    def _file(self, found: Repository, name: str) -> None:
        if name not in found.files:
            return self._json({"error": "Entry not found"}, 404, "EntryNotFound")
        body, entry = found.files[name], _entry(name, found.files[name])
        digest = entry.get("lfs", {}).get("sha256", entry["oid"])
        begun = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(begun[1]) if begun else 0
        sent = bytes(len(body)) if name in self.hub.spoilt else body
        self.send_response(206 if begun else 200)
        self.send_header("X-Repo-Commit", found.commit)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Accept-Ranges", "bytes")
        if begun:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if cuts := self.hub.cut.get(name):
            self.wfile.write(sent[first : first + cuts.pop(0)])
            self.close_connection = True
            return self.connection.shutdown(2)
        self.wfile.write(sent[first:])
        return None

    def _create(self, wanted: dict[str, Any]) -> None:
        id = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
        there = id in self.hub.repositories
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"  # as clients say it by now
        if not there:
            self.hub.repositories[id] = Repository({}, private=private)
        self._json({"url": f"{self.hub.address}/{id}", "name": id, "id": "0"}, 409 if there else 200)

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith(LARGE) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.hub.stored:
            return wanted
        place = {"href": f"{self.hub.address}/stored/{wanted['oid']}"}
        return {**wanted, "actions": {"upload": place, "verify": place}}

    def _commit(self, id: str, lines: list[dict[str, Any]]) -> None:
        found = self.hub.repositories[id]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.stored[value["oid"]]
        url = f"{self.hub.address}/{id}/commit/{found.commit}"
        self._json({"success": True, "commitOid": found.commit, "commitUrl": url, "hookOutput": ""})

    def _json(self, document: Any, status: int = 200, code: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", document["error"])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
