"""A small S3 server on loopback, whose requests can be made to fail.

It knows what obstore asks for: objects (whole, in ranges, on condition), copies, uploads in parts, and lists.
Objects stand in a folder, so that a server that is started again on the same port goes on with them.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import socket
import struct
import threading
import time
import uuid
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

#: What happens to a request that fails.
FAULTS = ("500", "503", "reset", "late reset", "truncated")


class Objects:
    """Objects of all buckets, in memory and in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = threading.Lock()
        self.held: dict[str, tuple[bytes, str, float]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.folder = folder
        if folder is not None:
            for file in sorted(folder.iterdir()):
                if file.name.startswith("."):  # of a server that was killed
                    file.unlink()
                    continue
                name, _, content = file.read_bytes().partition(b"\n")
                self.held[name.decode()] = (content, _tag(content), file.stat().st_mtime)

    def put(self, key: str, content: bytes) -> str:
        self.held[key] = (content, _tag(content), time.time())
        if self.folder is not None:
            draft = self.folder / f".{uuid.uuid4().hex}"
            draft.write_bytes(key.encode() + b"\n" + content)
            draft.replace(self._file(key))
        return self.held[key][1]

    def remove(self, key: str) -> None:
        if self.held.pop(key, None) is not None and self.folder is not None:
            self._file(key).unlink()

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / hashlib.sha256(key.encode()).hexdigest()


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


class Server:
    """A server in threads of this process.

    Parameters
    ----------
    faults : float
        Share of requests that fail.
    seed : int
    folder : Path, optional
        Where objects are kept from one server to the next.
    port : int
    host : str
    """

    def __init__(
        self,
        faults: float = 0.0,
        seed: int = 1,
        folder: Path | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.faults, self.random, self.host = faults, random.Random(seed), host
        self.requests, self.failed, self.sent = 0, 0, 0
        #: After so many requests that change something, every request is reset; None: never.
        self.cut_after: int | None = None
        self.changes = 0
        self.denies = False
        self.objects, self.restarts = Objects(folder), 0
        self._start(port)

    def _start(self, port: int) -> None:
        self._http = _Http((self.host, port), _Handler)
        self._http.owner = self
        self.port = int(self._http.server_address[1])
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def restart(self, gone_s: float) -> None:
        """Be gone for a while, then be there again with the objects of the folder."""
        self.stop()
        time.sleep(gone_s)
        self.objects = Objects(self.objects.folder)
        self._start(self.port)
        self.restarts += 1

    @property
    def environment(self) -> dict[str, str]:
        """What a user would set."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def fault(self, changes: bool) -> str:
        """What is to happen to the next request; empty if it is to be answered."""
        with self.objects.lock:
            self.requests += 1
            if self.cut_after is not None and self.changes + changes > self.cut_after:
                self.changes = self.cut_after + 1
                return "reset"
            self.changes += changes
            if self.denies:
                return "403"
            if self.random.random() >= self.faults:
                return ""
            self.failed += 1
            return self.random.choice(FAULTS)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects.held if key.startswith(prefix))

    def content(self, prefix: str) -> dict[str, bytes]:
        """Objects below a prefix, by the rest of their names."""
        return {key.removeprefix(prefix): self.objects.held[key][0] for key in self.keys(prefix)}

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that were reset on purpose are not worth a word."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = _unchunked(self.rfile.read(length), self.headers)
        # Renewals of a lease come when they come.
        changes = self.command not in ("GET", "HEAD") and b".lock" not in self.path.encode() + body[:9999]
        fault = self.server.owner.fault(changes)
        if fault == "reset":
            self._reset()
            return
        if fault.isdigit():
            code = {"500": "InternalError", "503": "SlowDown"}.get(fault, "AccessDenied")
            self._answer(int(fault), f"<Error><Code>{code}</Code></Error>".encode())
            return
        with self.server.owner.objects.lock:
            status, content, headers = self._do(body)
        if fault == "late reset":
            self._reset()
            return
        self._answer(status, content, headers, cut=fault == "truncated")

    def _do(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        address, objects = urlsplit(self.path), self.server.owner.objects
        key, query = unquote(address.path).lstrip("/"), parse_qs(address.query, keep_blank_values=True)
        if self.command == "GET" and "list-type" in query:
            return 200, _list(objects, key, {name: value[0] for name, value in query.items()}), {}
        if self.command == "POST" and "delete" in query:
            return 200, _delete_many(objects, key.rstrip("/"), body), {}
        if self.command == "POST" and "uploads" in query:
            upload = uuid.uuid4().hex
            objects.parts[upload] = {}
            return 200, f"<R><UploadId>{upload}</UploadId></R>".encode(), {}
        if self.command == "PUT" and "partNumber" in query:
            upload = query["uploadId"][0]
            if upload not in objects.parts:
                return _no_upload()
            objects.parts[upload][int(query["partNumber"][0])] = body
            return 200, b"", {"ETag": _tag(body)}
        if self.command == "POST" and "uploadId" in query:
            if query["uploadId"][0] not in objects.parts:
                return _no_upload()
            parts = objects.parts[query["uploadId"][0]]
            tag = objects.put(key, b"".join(parts[n] for n in sorted(parts)))
            return 200, f"<R><ETag>{escape(tag)}</ETag></R>".encode(), {}
        if self.command == "PUT":
            return self._put(objects, key, body)
        if self.command == "DELETE" and "uploadId" in query:
            objects.parts.pop(query["uploadId"][0], None)
            return 204, b"", {}
        if self.command == "DELETE":
            objects.remove(key)
            return 204, b"", {}
        return self._get(objects, key)

    def _put(self, objects: Objects, key: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        held, wanted = objects.held.get(key), self.headers.get("If-Match")
        if (self.headers.get("If-None-Match") == "*" and held is not None) or (
            wanted is not None and (held is None or held[1] != wanted)
        ):
            return 412, b"<Error><Code>PreconditionFailed</Code></Error>", {}
        if source := self.headers.get("x-amz-copy-source"):
            found = objects.held.get(unquote(source).lstrip("/"))
            if found is None:
                return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
            tag = objects.put(key, found[0])
            return 200, f"<R><ETag>{escape(tag)}</ETag></R>".encode(), {}
        return 200, b"", {"ETag": objects.put(key, body)}

    def _get(self, objects: Objects, key: str) -> tuple[int, bytes, dict[str, str]]:
        if key not in objects.held:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        content, tag, when = objects.held[key]
        headers = {"ETag": tag, "Last-Modified": formatdate(when, usegmt=True), "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked is None:
            return 200, content, headers
        first, _, last = asked.removeprefix("bytes=").partition("-")
        size = len(content)
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return 416, b"<Error><Code>InvalidRange</Code></Error>", {}
        return 206, content[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}

    def _answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.server.owner.sent += len(content)
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._reset()

    def _reset(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _no_upload() -> tuple[int, bytes, dict[str, str]]:
    """Parts are in memory: a server that was started again has none, as real ones do not after a week."""
    return 404, b"<Error><Code>NoSuchUpload</Code></Error>", {}


def _unchunked(body: bytes, headers: Any) -> bytes:
    """A body without the signatures between its chunks."""
    if "aws-chunked" not in headers.get("Content-Encoding", ""):
        return body
    found = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            break
        found, body = found + body[:size], body[size + 2 :]
    return found


def _list(objects: Objects, bucket: str, query: dict[str, str]) -> bytes:
    root, prefix, delimiter = f"{bucket.rstrip('/')}/", query.get("prefix", ""), query.get("delimiter", "")
    folders, found = set(), []
    for name, (content, tag, when) in sorted(objects.held.items()):
        key = name.removeprefix(root)
        if not name.startswith(root) or not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            continue
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
        found.append(
            (key, f"<LastModified>{date}</LastModified><ETag>{escape(tag)}</ETag><Size>{len(content)}</Size>")
        )
    start = query.get("continuation-token", "")
    page = [one for one in found if one[0] > start][:1000]
    more = bool(page) and page[-1][0] != found[-1][0]
    inner = "".join(f"<Contents><Key>{escape(key)}</Key>{facts}</Contents>" for key, facts in page)
    if not start:
        inner += "".join(
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders)
        )
    if more:
        inner += f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>"
    truncated = str(more).lower()
    return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{inner}</ListBucketResult>".encode()


def _delete_many(objects: Objects, bucket: str, body: bytes) -> bytes:
    import xml.etree.ElementTree as Tree

    keys = [str(node.text) for node in Tree.fromstring(body).iter() if node.tag.endswith("Key")]
    for key in keys:
        objects.remove(f"{bucket}/{key}")
    done = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return f"<DeleteResult>{done}</DeleteResult>".encode()


def main() -> None:
    """Serve until killed; prints the port."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--faults", type=float, default=0.0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--folder", type=Path)
    given = options.parse_args()
    server = Server(given.faults, given.seed, given.folder, given.port)
    print(server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
