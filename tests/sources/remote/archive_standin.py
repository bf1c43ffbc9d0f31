"""An archive on loopback: a STAC API with paging, files by ranges, signatures and tokens that end."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class ArchiveStandIn:
    """Files under `root` at ``/files/...``; items at ``/stac``; what was asked for is counted.

    Attributes
    ----------
    guard : str
        ``none``, ``signature`` (a query ``sig=<number>``) or ``token`` (a bearer token).
    lives : int
        Requests that a signature or token opens before it ends.
    faults : callable
        ``(path, number of the request)`` -> None, a status, ``reset``, ``short`` or ``wrong``.
    store : ArchiveStandIn, optional
        Where files are: who is let in is sent on to a signed link there, others to a page that asks who they
        are, as NASA Earthdata does it.
    """

    root: Path
    items: list[dict[str, Any]] = field(default_factory=list)
    guard: str = "none"
    lives: int = 10**9
    page: int = 2
    ranges: bool = True
    faults: Callable[[str, int], Any] = lambda path, number: None
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    given: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    issued: int = 0
    left: int = 0
    users: dict[str, str] = field(default_factory=dict)
    store: ArchiveStandIn | None = None
    links: dict[str, int] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> ArchiveStandIn:
        standin = self
        self.lock = threading.Lock()

        class Handler(_Handler):
            state = standin

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def href(self, path: Path) -> str:
        return f"{self.url}/files/{path.relative_to(self.root)}"

    def add(self, item: str, collection: str, day: str, box: list[float], **assets: Path) -> dict[str, Any]:
        """An item whose assets are files."""
        found = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": item,
            "collection": collection,
            "geometry": None,
            "bbox": box,
            "properties": {"datetime": f"{day}T17:00:00Z", "updated": f"{day}T20:00:00Z"},
            "links": [],
            "assets": {key: {"href": self.href(path)} for key, path in assets.items()},
        }
        self.items.append(found)
        return found

    def count(self, what: str) -> int:
        return sum(what in path for _, path, _ in self.seen)

    def issue(self) -> str:
        self.issued, self.left = self.issued + 1, self.lives
        return f"t{self.issued}"

    def opens(self, handler: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> bool:
        if self.guard == "none":
            return True
        if self.guard == "link":  # a store takes either a signature or a bearer token, never both
            with self.lock:
                key = query.get("sig", [""])[0]
                self.links[key] = self.links.get(key, 0) - 1
                return self.links[key] >= 0 and "Authorization" not in handler.headers
        key = query.get("sig", [""])[0]
        if self.guard == "token":
            key = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.lock:
            self.left -= 1
            return key == f"t{self.issued}" and self.left >= 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ArchiveStandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._any()

    def do_GET(self) -> None:
        self._any()

    def do_POST(self) -> None:
        self._any()

    def _any(self) -> None:
        state, parts = self.state, urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with state.lock:
            number = state.count(parts.path)
            state.seen.append((self.command, self.path, self.headers.get("Range") or ""))
            state.headers.append(dict(self.headers.items()))
        fault = state.faults(parts.path, number)
        if isinstance(fault, int):
            return self._send(fault, b"no", {"Retry-After": "0.01"} if fault == 429 else {})
        if fault == "reset":
            self.close_connection = True
            return self.connection.close()
        query = urllib.parse.parse_qs(parts.query)
        if parts.path.startswith("/files/"):
            return self._file(parts.path, query, fault)
        if parts.path == "/sign_in":
            return self._send(200, b"<html>who are you?</html>", {"Content-Type": "text/html"})
        if parts.path.startswith("/sign/"):
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2700))
            return self._json({"token": f"sig={state.issue()}", "msft:expiry": ends})
        if parts.path.endswith("/find_or_create_token"):
            ok = self.headers.get("Authorization") in state.users
            return self._json([{"access_token": state.issue()}]) if ok else self._send(401, b"who?")
        return self._stac(parts.path, json.loads(body) if body else {}, query)

    def _stac(self, path: str, body: dict[str, Any], query: dict[str, list[str]]) -> None:
        state, base = self.state, f"{self.state.url}/stac"
        if path == "/stac":
            rules = ("core", "item-search", "item-search#query")
            return self._json(
                {
                    "type": "Catalog",
                    "stac_version": "1.0.0",
                    "id": "standin",
                    "description": "x",
                    "conformsTo": [f"https://api.stacspec.org/v1.0.0/{rule}" for rule in rules],
                    "links": [
                        {"rel": "self", "href": base},
                        {
                            "rel": "search",
                            "href": f"{base}/search",
                            "type": "application/geo+json",
                            "method": "POST",
                        },
                    ],
                }
            )
        first, last = body.get("datetime", "../..").split("/")
        west, south, east, north = body["bbox"]
        if not -180 <= west <= east <= 180:
            return self._send(400, b"bbox: expected west <= east in -180 to 180")
        found = [
            item
            for item in state.items
            if item["collection"] in body["collections"]
            and (first == ".." or item["properties"]["datetime"] >= first)
            and (last == ".." or item["properties"]["datetime"][:10] <= last[:10])
            and not (
                item["bbox"][0] > east
                or item["bbox"][2] < west
                or item["bbox"][1] > north
                or item["bbox"][3] < south
            )
        ]
        at = int(body.get("token", 0))
        answer: dict[str, Any] = {
            "type": "FeatureCollection",
            "features": found[at : at + state.page],
            "links": [],
        }
        if at + state.page < len(found):
            more = {**body, "token": at + state.page}
            answer["links"] = [{"rel": "next", "href": f"{base}/search", "method": "POST", "body": more}]
        return self._json(answer)

    def _file(self, path: str, query: dict[str, list[str]], fault: Any) -> None:
        state, place = self.state, self.state.root / path.removeprefix("/files/")
        opens = state.opens(self, query)
        if state.store is not None:
            other = state.store
            if not opens:
                return self._send(302, b"", {"Location": f"{other.url}/sign_in"})
            with other.lock:
                key = f"s{len(other.links)}"
                other.links[key] = other.lives
            return self._send(302, b"", {"Location": f"{other.url}{path}?sig={key}"})
        if not opens:
            return self._send(401 if state.guard == "token" else 403, b"ended")
        if not place.is_file():
            return self._send(404, b"none")
        content = place.read_bytes()
        marks = {"ETag": hashlib.md5(content).hexdigest(), "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            return self._send(200, content, marks)
        start, stop = 0, len(content)
        said = self.headers.get("Range")
        if said and state.ranges:
            a, b = said.removeprefix("bytes=").split("-")
            start, stop = int(a), min(int(b) + 1, len(content))
            marks["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        part = content[start:stop]
        if fault == "wrong":
            part = part[: len(part) // 2]
        if fault == "short":
            return self._send(206, part, marks, cut=len(part) // 2)
        with state.lock:
            state.given[path] += len(part)
            state.spans.append((path, start, stop))
        return self._send(206 if "Content-Range" in marks else 200, part, marks)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True
