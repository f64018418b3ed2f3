"""A small hub on this machine: as much of its API as downloads ask for, with gates, gaps and cut connections."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """Files by path; those in ``large`` have a SHA-256, as the hub keeps it of large files."""

    files: dict[str, bytes]
    large: set[str] = field(default_factory=set)
    gated: bool = False
    cut_once: set[str] = field(default_factory=set)
    """Their first download breaks in the middle."""
    whole_only: bool = False
    """Whatever part of a file is asked for, all of it is sent."""
    spoilt: set[str] = field(default_factory=set)
    """They arrive other than they were announced."""


class Hub(ThreadingHTTPServer):
    """Serves ``repositories`` and remembers what it was asked for in ``asked`` (method, path, range)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self, file: str) -> list[str | None]:
        """The ranges asked for in each download of a file."""
        return [r for method, path, r in self.asked if method == "GET" and path.endswith(f"/{file}")]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is not worth a traceback."""


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range")))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/tree/[^/]+)?(/revision/[^/]+)?", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        match = api or resolve
        repository = self.server.repositories.get(match[1]) if match else None
        if repository is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        elif resolve and repository.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, with_body)
        elif resolve:
            self._file(repository, resolve[2], with_body)
        elif api and api[2]:
            self._send(200, json.dumps(self._tree(repository)).encode(), {}, with_body)
        else:
            self._send(200, json.dumps(self._info(match[1], repository)).encode(), {}, with_body)

    def _info(self, name: str, repository: Repository) -> dict[str, object]:
        siblings = [
            {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
            | (
                {"lfs": {"sha256": entry["lfs"]["oid"], "size": entry["size"], "pointerSize": 1}}
                if "lfs" in entry
                else {}
            )
            for entry in self._tree(repository)
        ]
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}

    def _tree(self, repository: Repository) -> list[dict]:
        entries = []
        for path, content in repository.files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            if path in repository.large:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
            entries.append(entry)
        return entries

    def _file(self, repository: Repository, file: str, with_body: bool) -> None:
        content = repository.files[file]
        kind = hashlib.sha256 if file in repository.large else hashlib.sha1
        headers = {"ETag": f'"{kind(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if file in repository.spoilt:
            content = content[::-1]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if repository.whole_only:
            start = 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = with_body and file in repository.cut_once
        repository.cut_once.discard(file) if cut else None
        self._send(206 if start else 200, content[start:], headers, with_body, cut)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True
