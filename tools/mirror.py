"""A loopback server of weights: OpenAI's store at /{size}/{file}, the Hugging Face Hub at /{repository}/resolve/...

It serves a dict from paths ("124M/hparams.json", "openai-community/gpt2/config.json") to bytes or files, behaves as
those servers do, and misbehaves where a test asks for it, in the ways of tests/weights/mirror_faults.py.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Fault = Callable[["Handler", bytes], bool]
"""Called with the handler and the content in place of the usual answer; True where it has answered."""


class Mirror:
    """The server, in threads of its own, between `with` and its end; `url` is its address."""

    def __init__(self, files: dict[str, bytes | Path] | None = None) -> None:
        self.files = dict(files or {})
        self.faults: dict[str, list[Fault]] = {}
        """For each path, what to do wrong in the next answers, one each; a fault that stays is `always(fault)`."""
        self.hidden: set[str] = set()
        """What OpenAI's store leaves out: "range", "md5", "etag", "length"."""
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and Range of each request."""
        self.served: Counter[str] = Counter()
        """Bytes of content sent, for each path."""
        self.listing: list[str] = []
        """Further names that the Hub's listings claim to have."""
        self.ended = threading.Event()
        self.pace: Callable[[str, int], None] = lambda path, n_bytes: None
        """Called before each piece of a body with what was served of the path so far."""
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.mirror = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Mirror":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def content(self, path: str) -> bytes | None:
        found = self.files.get(path)
        return found.read_bytes() if isinstance(found, Path) else found

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            faults = self.faults.get(path, [])
            return faults[0] if faults and getattr(faults[0], "stays", False) else faults.pop(0) if faults else None

    def asked(self, path: str) -> int:
        return sum(asked == path for _, asked, _ in self.requests)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def mirror(self) -> Mirror:
        return self.server.mirror

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        try:
            self._answer(unquote(urlsplit(self.path).path).strip("/"))
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True  # the client went away, as killed ones do

    def _answer(self, path: str) -> None:
        self.mirror.requests.append((self.command, path, self.headers.get("Range", "")))
        if found := re.fullmatch(r"api/models/([\w.-]+/[\w.-]+)/(revision|tree)/[\w.-]+", path):
            self.send_json(hub_information(self.mirror, *found.groups()))
        elif found := re.fullmatch(r"([\w.-]+/[\w.-]+)/resolve/[\w.-]+/(.+)", path):
            self._hub_file(f"{found[1]}/{found[2]}")
        else:
            self._store_file(path)

    def _store_file(self, path: str) -> None:
        """As Azure's blob store, which OpenAI uses."""
        content, hidden = self.mirror.content(path), self.mirror.hidden
        fault = self.mirror.next_fault(path)
        if fault and fault(self, content):
            return
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        tag = f'"0x{hashlib.sha1(content).hexdigest()[:15].upper()}"'
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if "etag" not in hidden:
            headers["ETag"] = tag
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or "range" in hidden or self.headers.get("If-Range", tag) != tag:
            if "md5" not in hidden:
                headers["Content-MD5"] = md5(content)
            self.send_content(path, content, headers)
        elif int(asked[1]) >= len(content):
            self.send_empty(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{len(content)}"})
        else:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_content(path, content[start:], headers, HTTPStatus.PARTIAL_CONTENT)

    def _hub_file(self, path: str) -> None:
        content = self.mirror.content(path)
        fault = self.mirror.next_fault(path)
        if fault and fault(self, content):
            return
        headers = {"X-Repo-Commit": COMMIT}
        if content is None:
            self.send_empty(HTTPStatus.NOT_FOUND, headers | {"X-Error-Code": "EntryNotFound"})
            return
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        self.send_content(path, content, headers | {"Content-Type": "application/octet-stream"})

    def send_content(self, path: str, content: bytes, headers: dict, status=HTTPStatus.OK, length=None) -> None:
        """The content, in pieces that are counted; a `length` other than its own is a lie."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "length" in self.mirror.hidden:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":
            return
        for i in range(0, len(content), 1 << 16):
            self.mirror.pace(path, self.mirror.served[path])
            piece = content[i : i + (1 << 16)]
            self.mirror.served[path] += len(piece)  # first, since who has got it may already look
            self.wfile.write(piece)

    def send_empty(self, status: HTTPStatus, headers: dict) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def send_json(self, data) -> None:
        content = json.dumps(data).encode()
        headers = {"Content-Type": "application/json"}
        self.send_content("api", content, headers, HTTPStatus.OK if data is not None else HTTPStatus.NOT_FOUND)


def hub_information(mirror: Mirror, repository: str, kind: str) -> dict | list | None:
    """What the Hub's API says of a repository: its commit and files."""
    names = [path.removeprefix(f"{repository}/") for path in mirror.files if path.startswith(f"{repository}/")]
    names += mirror.listing
    if kind == "revision":
        return {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
    contents = {name: mirror.content(f"{repository}/{name}") or b"listed" for name in names}
    return [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for name, content in contents.items()
    ]


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()
