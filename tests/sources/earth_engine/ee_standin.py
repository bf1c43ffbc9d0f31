"""A stand-in for Earth Engine on loopback: the real client talks to it over HTTP and cannot tell."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ee
import numpy as np
from ee_evaluator import Evaluator, ServerError, pixels
from ee_world import World, lookup

LIMIT_BYTES, LIMIT_PIXELS = 48 << 20, 32_768


@lru_cache
def _shipped(name: str) -> bytes:
    return (Path(ee.__file__).parent / "tests" / name).read_bytes()


@dataclass
class Fault:
    """What goes wrong with a request: the status, or one of the ways in which a connection fails."""

    status: int = 0
    message: str = ""
    retry_after: str | None = None
    kind: str = "status"  # status, reset, short, broken, slow
    seconds: float = 0.0


@dataclass
class StandIn:
    """The server, what it holds, and what it has seen."""

    world: World
    page: int = 1000
    seconds: float = 0.0
    faults: Callable[[str, int], Fault | None] = lambda what, number: None
    token: str | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    most_at_once: int = 0
    refreshes: int = 0
    largest_bytes: int = 0
    functions: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls_until_done: int = 1

    def __post_init__(self) -> None:
        self._now = 0
        self._lock = threading.Lock()
        self._pages: dict[str, list[Any]] = {}

    def __enter__(self) -> StandIn:
        standin = self

        class Handler(_Handler):
            server_state = standin

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

    def count(self, what: str) -> int:
        """How many requests of a kind came."""
        return sum(kind == what for kind, _ in self.seen)

    # Answers
    def answer(self, what: str, body: dict[str, Any], path: str) -> Any:
        if what == "features":
            return self._features(body)
        if what == "pixels":
            return self._pixels(body)
        if what == "value":
            return {"result": self._evaluate(body["expression"])}
        if what == "asset":
            return self._asset(path)
        if what == "export":
            return self._export(body)
        if what == "operation":
            return self._operation(path)
        raise ServerError(f"{what}: unknown")

    def _evaluate(self, expression: dict[str, Any]) -> Any:
        evaluator = Evaluator(self.world, expression)
        try:
            return evaluator.value()
        finally:
            with self._lock:
                self.functions |= evaluator.used

    def _features(self, body: dict[str, Any]) -> dict[str, Any]:
        key, size = json.dumps(body["expression"], sort_keys=True), min(body.get("pageSize", 1000), self.page)
        first = int(body.get("pageToken", "0"))
        if key not in self._pages:
            self._pages[key] = self._evaluate(body["expression"])
        rows = self._pages[key]
        features = []
        for row in rows[first : first + size]:
            properties = {k: v for k, v in row.properties.items() if k != "system:index"}
            features.append({"type": "Feature", "geometry": None, "properties": properties})
        answer: dict[str, Any] = {"type": "FeatureCollection", "features": features}
        if first + size < len(rows):
            answer["nextPageToken"] = str(first + size)
        return answer

    def _pixels(self, body: dict[str, Any]) -> bytes:
        assert body["fileFormat"] == "NPY"
        image, size = self._evaluate(body["expression"]), body["grid"]["dimensions"]
        each = sum(np.dtype(band.dtype).itemsize for band in image.bands)
        total = each * size["height"] * size["width"]
        self.largest_bytes = max(self.largest_bytes, total)
        if total > LIMIT_BYTES:
            raise ServerError(
                f"Total request size ({total} bytes) must be less than or equal to {LIMIT_BYTES} bytes."
            )
        if max(size["height"], size["width"]) > LIMIT_PIXELS:
            raise ServerError(f"Pixel grid dimensions must be less than or equal to {LIMIT_PIXELS}.")
        out = io.BytesIO()
        np.save(out, pixels(image, body["grid"]))
        return out.getvalue()

    def _asset(self, path: str) -> dict[str, Any]:
        asset = urllib.parse.unquote(path.split("?")[0]).split("/v1alpha/")[1]
        for prefix in ("projects/earthengine-public/assets/", "projects/earthengine-legacy/assets/"):
            asset = asset.removeprefix(prefix)
        try:
            found = lookup(self.world, asset)
        except KeyError:
            raise ServerError(f"Asset '{asset}' not found.") from None
        return {
            "name": asset,
            "id": asset,
            "type": "IMAGE_COLLECTION" if isinstance(found, list) else "IMAGE",
        }

    def _export(self, body: dict[str, Any]) -> dict[str, Any]:
        name = f"projects/p-test/operations/{body['requestId']}"
        if name not in self.operations:
            rows = self._evaluate(body["expression"])
            options = body["fileExportOptions"]
            where = options.get("driveDestination") or options["cloudStorageDestination"]
            prefix = where["filenamePrefix"]
            self.files[f"{prefix}.csv"] = _csv(rows, body["selectors"])
            self.operations[name] = {"name": name, "polls": 0}
        return {"name": name, "metadata": {"state": "PENDING"}}

    def _operation(self, path: str) -> dict[str, Any]:
        name = path.split("?")[0].split("/v1alpha/")[1]
        task = self.operations[name]
        task["polls"] += 1
        if task["polls"] < self.polls_until_done:
            return {"name": name, "metadata": {"state": "RUNNING"}}
        metadata = {"state": "SUCCEEDED", "batchEecuUsageSeconds": 36.0}
        return {"name": name, "done": True, "metadata": metadata, "response": {}}


def _csv(rows: list[Any], selectors: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(selectors)
    for i, row in enumerate(rows):
        shown = {
            **row.properties,
            ".geo": '{"type":"MultiPoint","coordinates":[]}',
            "system:index": row.properties.get("system:index", f"{i:020x}"),
        }
        writer.writerow(["" if shown.get(name) is None else shown[name] for name in selectors])
    return out.getvalue()


_KINDS = {
    ":computeFeatures": "features",
    ":computePixels": "pixels",
    "value:compute": "value",
    "table:export": "export",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.server_state
        if "$discovery" in self.path:
            return self._send(200, _shipped("cloud_api_discovery_document.json"))
        if self.path.split("?")[0].endswith("/algorithms"):
            return self._send(200, _shipped("algorithms.json"))
        if self.path.startswith(("/drive/", "/storage/")):
            return self._file()
        kind = "operation" if "/operations/" in self.path else "asset"
        return self._judge(state, kind, {})

    def do_POST(self) -> None:
        state = self.server_state
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/token"):
            state.refreshes += 1
            state.token = f"token-{state.refreshes}"
            answer = {"access_token": state.token, "expires_in": 3600, "token_type": "Bearer"}
            return self._send(200, json.dumps(answer).encode())
        kind = next(kind for ending, kind in _KINDS.items() if ending in self.path)
        return self._judge(state, kind, json.loads(raw), raw.decode())

    def _judge(self, state: StandIn, kind: str, body: dict[str, Any], raw: str = "") -> None:
        with state._lock:
            state._now += 1
            state.most_at_once = max(state.most_at_once, state._now)
            state.starts.append(time.monotonic())
            number = state.count(kind)
            state.seen.append((kind, raw or self.path))
        try:
            self._answer(state, kind, body, number, raw or self.path)
        finally:
            with state._lock:
                state._now -= 1

    def _answer(self, state: StandIn, kind: str, body: dict[str, Any], number: int, key: str) -> None:
        if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
            return self._error(401, "Request had invalid authentication credentials.")
        time.sleep(state.seconds)
        fault = state.faults(kind, number)
        if fault is not None and fault.kind == "status":
            return self._error(fault.status, fault.message, fault.retry_after)
        if fault is not None and fault.kind == "reset":
            self.close_connection = True
            return self.connection.close()
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        try:
            answer = state.answer(kind, body, self.path)
        except ServerError as error:
            return self._error(404 if kind == "asset" else 400, str(error))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if fault is not None and fault.kind == "short":
            return self._send(200, content, cut=len(content) // 2)
        if fault is not None and fault.kind == "broken":
            return self._send(200, content[: len(content) // 2])
        with state._lock:
            state.answered[key] += 1
        return self._send(200, content)

    def _file(self) -> None:
        state, query = self.server_state, urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path == "/drive/files":
            name = query["q"][0].split("name = '")[1].split("'")[0]
            files = [{"id": name}] if name in state.files else []
            return self._send(200, json.dumps({"files": files}).encode())
        name = path.rsplit("/", 1)[-1]
        if name not in state.files:
            return self._error(404, f"{name} not found")
        return self._send(200, state.files[name].encode())

    def _error(self, status: int, message: str, retry_after: str | None = None) -> None:
        content = json.dumps({"error": {"code": status, "message": message}}).encode()
        self._send(status, content, retry_after=retry_after)

    def _send(
        self, status: int, content: bytes, cut: int | None = None, retry_after: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True
