"""A hub on this machine: the parts of the protocol that a pull uses, with faults on demand.

    with Hub({"owner/name": {"model.gguf": b"..."}}) as hub:
        hub.faults.cut_after = 100_000
        run(env=hub.environment(cache))

    GET  /api/models/REPO[/revision/REV][?blobs=true]    listing with sizes and hashes
    GET  /api/models/REPO/tree/REV                       the same, as huggingface_hub's snapshots want it
    GET, HEAD  /REPO/resolve/REV/FILE                    the file, or a redirect to it; ranges work
    GET, HEAD  /cdn/SHA256                               where files are stored

Files ending in .gguf are large files with a SHA-256, as on the hub; others lie in git itself.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

BLOCK = 16_384
E2B, E4B, ALT = "ggml-org/gemma-4-E2B-it-GGUF", "ggml-org/gemma-4-E4B-it-GGUF", "unsloth/gemma-4-E2B-it-GGUF"
"""Names of public repositories; what is in them here is random."""


@dataclass
class Faults:
    """What goes wrong; nothing, at first."""

    cut_after: int | None = None
    """Connections end after so many bytes of a file."""
    cuts: int = 10**9
    """How many connections are cut."""
    reset: bool = False
    """A cut is a reset, not an orderly end."""
    wrong_hash: set[str] = field(default_factory=set)
    """Files whose contents are not what the listing says."""
    status: int | None = None
    """Every request is answered so."""
    file_status: int | None = None
    """Every request for a file is answered so."""
    challenge: str | None = None
    """WWW-Authenticate of those answers."""
    error_code: str | None = None
    """X-Error-Code of those answers."""
    transient: int = 0
    """So many requests for files are answered with 503 first."""
    drip: float = 0.0
    """Seconds between blocks."""
    block: int = BLOCK
    """Bytes of a block."""
    no_ranges: bool = False
    """Every answer is the whole file."""
    names: list[str] = field(default_factory=list)
    """Further names in the listing, which nobody should trust."""
    oid: str | None = None
    """What the listing says of every file's hash."""
    longer: int = 0
    """So many more bytes come than the listing says."""
    nonsense: bool = False
    """The listing is no JSON."""
    token: str | None = None
    """Without this token everything is answered with 401."""
    listing: bytes | None = None
    """What every request for a listing is answered with."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of that answer."""
    location: str | None = None
    """Where every request of the hub itself is sent on to."""
    no_rest: bool = False
    """Requests for a part of a file are answered with 416."""
    promise: int = 0
    """So many more bytes are promised than come."""
    redirect: bool = True
    """Files are stored elsewhere, as the hub's large files are."""


class Hub:
    """The server, in threads of this process."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.faults = Faults()
        self.requests: list[tuple[str, str, str | None]] = []
        """(method, path, Range) of all requests so far."""
        self.tokens_at_storage = 0
        """Requests that carried a token to where it does not belong."""
        self.sent = 0
        """Bytes of files that went out."""
        self._stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def storage(self) -> str:
        """The same under another name: large files lie on another host, which must not see the token."""
        return self.url.replace("127.0.0.1", "localhost")

    def environment(self, cache: Path) -> dict[str, str]:
        """What a child process has to know."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_CACHE": str(cache),
            "HF_HOME": str(cache.parent / "hf-home"),
            "HF_HUB_DOWNLOAD_TIMEOUT": "3",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def commit(self, repository: str) -> str:
        """A hash of what is there."""
        digest = hashlib.sha1(repository.encode())
        for name, data in sorted(self.repositories[repository].items()):
            digest.update(name.encode() + hashlib.sha256(data).digest())
        return digest.hexdigest()

    def count(self, part: str) -> int:
        """Requests whose path has this in it."""
        return sum(part in path for _, path, _ in self.requests)

    def wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        faults = hub.faults
        try:
            stored = path.startswith("/cdn/")  # signed addresses need no token
            hub.tokens_at_storage += stored and "Authorization" in self.headers
            if faults.token and not stored and self.headers.get("Authorization") != f"Bearer {faults.token}":
                self._refuse(401, "RepoNotFound")
            elif faults.location and not stored:
                self._send(302, b"", {"Location": faults.location})
            elif faults.status:
                self._refuse(faults.status, faults.error_code)
            elif path.startswith("/api/models/"):
                self._listing(path.removeprefix("/api/models/"))
            elif stored:
                self._stored(path.removeprefix("/cdn/"))
            elif "/resolve/" in path:
                self._resolve(path)
            else:
                self._refuse(404, "EntryNotFound")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _listing(self, rest: str) -> None:
        repository = "/".join(rest.split("/")[:2])
        files = self.hub.repositories.get(repository)
        if files is None:
            self._refuse(404, "RepoNotFound")
            return
        if self.hub.faults.listing is not None:
            self._send(200, self.hub.faults.listing, self.hub.faults.headers)
            return
        if self.hub.faults.nonsense:
            self._send(200, b"<html>Please log in to the network", {"Content-Type": "text/html"})
            return
        if "/tree/" in rest:
            tree = [self._branch(name, data) for name, data in files.items()]
            self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            return
        siblings = []
        for name, data in files.items():
            siblings.append(self._entry(name, data))
        siblings += [self._entry(name, b"GGUF") for name in self.hub.faults.names]
        answer = {
            "id": repository,
            "modelId": repository,
            "sha": self.hub.commit(repository),
            "siblings": siblings,
        }
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _entry(self, name: str, data: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": _git_sha1(data)}
        if name.endswith(".gguf"):
            oid = self.hub.faults.oid or hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": oid, "size": len(data), "pointerSize": 134}
        return entry

    def _branch(self, name: str, data: bytes) -> dict[str, object]:
        sha256 = hashlib.sha256(data).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": _git_sha1(data)}
        if name.endswith(".gguf"):
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
        return entry

    def _resolve(self, path: str) -> None:
        repository, _, rest = path.removeprefix("/").partition("/resolve/")
        name = rest.partition("/")[2]
        files = self.hub.repositories.get(repository)
        if files is None or name not in files:
            self._refuse(404, "RepoNotFound" if files is None else "EntryNotFound")
            return
        faults = self.hub.faults
        if faults.file_status:
            self._refuse(faults.file_status, faults.error_code)
            return
        if faults.transient > 0:
            faults.transient -= 1
            self._refuse(503, None)
            return
        data = files[name]
        sha256 = hashlib.sha256(data).hexdigest()
        headers = {
            "ETag": f'"{sha256[:32]}"',
            "X-Repo-Commit": self.hub.commit(repository),
            "X-Linked-Etag": f'"{sha256}"',
            "X-Linked-Size": str(len(data)),
            # The real hub offers its Xet storage too; a pull must not need it.
            "X-Xet-Hash": sha256,
        }
        if faults.redirect:
            place = f"{self.hub.storage}/cdn/{sha256}?signed=1&name={name}"
            self._send(302, b"", headers | {"Location": place})
        else:
            self._file(name, data, headers)

    def _stored(self, sha256: str) -> None:
        for files in self.hub.repositories.values():
            for name, data in files.items():
                if hashlib.sha256(data).hexdigest() == sha256:
                    self._file(name, data, {"ETag": f'"{sha256[:32]}"'})
                    return
        self._refuse(404, None)

    def _file(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        faults = self.hub.faults
        if name in faults.wrong_hash:
            data = data[:-1] + bytes([data[-1] ^ 1])
        data += b"x" * faults.longer
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and not faults.no_ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            if start >= len(data) or last or faults.no_rest:
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.send_response(status)
        for key, value in (
            headers | {"Content-Length": str(len(data) - start + faults.promise), "Accept-Ranges": "bytes"}
        ).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(data)
        cut = faults.cut_after is not None and faults.cuts > 0 and start + faults.cut_after < end
        if cut:
            faults.cuts -= 1
            end = start + (faults.cut_after or 0)
        for at in range(start, end, faults.block):
            block = data[at : min(end, at + faults.block)]
            self.wfile.write(block)
            self.hub.sent += len(block)
            if faults.drip:
                self.hub.wait(faults.drip)
        self.close_connection |= bool(faults.promise)
        if cut:
            if faults.reset:
                self.wfile.flush()
                time.sleep(0.05)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True

    def _refuse(self, status: int, code: str | None) -> None:
        headers = {"X-Error-Code": code, "WWW-Authenticate": self.hub.faults.challenge}
        self._send(status, b"{}", {name: value for name, value in headers.items() if value})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
