"""The map page, served on this machine, or written as files for any web host."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from mmnet_maps.errors import InputError, WorkError, brief, needs_extra
from mmnet_maps.progress import say, steps
from mmnet_maps.show.site import BLOCK, Site, page_files, policy
from mmnet_maps.store.whole import naming

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["application", "listen", "make_server", "serve", "write_site"]

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Reads at once, connections at once, connections that wait, and seconds that an idle one is kept.
_THREADS, _CONNECTIONS, _WAITING, _IDLE_S = 8, 1024, 2048, 5
#: Seconds in which a request must be here whole, and how often other days are looked for.
_REQUEST_S, _RENEW_S = 10.0, 5.0
#: How often a part is read again because its day was replaced meanwhile.
_TIMES = 5
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".LICENSE": "text/plain; charset=utf-8",
}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def application(site: Site, hosts: tuple[str, ...] = _LOOPBACK) -> Starlette:
    """The web application of a site.

    Parameters
    ----------
    site : Site
    hosts : tuple of str
        Names under which it may be asked for; a page elsewhere could otherwise read from here under a name
        of its own. ``("*",)`` allows any.

    Raises
    ------
    InputError
        The packages of the extra ``viewer`` are not installed.
    """
    with needs_extra("viewer", "the map page"):
        import anyio.to_thread
        from starlette.applications import Starlette
        from starlette.convertors import IntegerConvertor, register_url_convertor
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import Response
        from starlette.routing import Route

    class Number(IntegerConvertor):
        """Digits that a position can have; Starlette's own takes thousands, and fails."""

        regex = "[0-9]{1,9}"

    register_url_convertor("number", Number())
    own = dict(page_files())
    allowed = policy(site.base_map)
    own["index.html"] = _with_policy(own["index.html"], site)
    headers = {**_HEADERS, "Content-Security-Policy": f"{allowed}; frame-ancestors 'none'"}

    def answer(request: Request, body: bytes, kind: str) -> Response:
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={**headers, "ETag": tag})
        return Response(body, media_type=kind, headers={**headers, "ETag": tag})

    def refused(status: int, reason: str) -> Response:
        body = json.dumps({"error": reason}).encode()
        return Response(body, status, {**headers}, media_type="application/json")

    def made(make: Callable[[Request], bytes], kind: str) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            try:
                return answer(request, make(request), kind)
            except KeyError:
                return refused(404, "there is no such part of the maps")
            except (InputError, WorkError, OSError, MemoryError) as error:
                return refused(500, brief(error) or type(error).__name__)

        return endpoint

    held = _Held(site)

    def tile(request: Request) -> bytes:
        part = request.path_params
        return held.tile(part["layer"], part["date"], part["z"], part["x"], part["y"])

    def pixels(request: Request) -> bytes:
        part = request.path_params
        return held.pixels(part["z"], part["x"], part["y"])

    def hillshade(request: Request) -> bytes:
        part = request.path_params
        return held.hillshade(part["z"], part["x"], part["y"])

    def series(request: Request) -> bytes:
        part = request.path_params
        return held.series(part["top"], part["left"])

    def about(_: Request) -> bytes:
        return json.dumps(held.renewed().about(live=True)).encode()

    def page(request: Request) -> Response:
        name = request.path_params.get("path") or "index.html"
        if name not in own:
            return refused(404, "there is no such file")
        return answer(request, own[name], _KINDS.get(Path(name).suffix, "application/octet-stream"))

    @asynccontextmanager
    async def few_threads(_: Starlette) -> Any:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        yield

    octets, text = "application/octet-stream", "application/json"
    return Starlette(
        routes=[
            Route("/about.json", made(about, text)),
            Route("/stations.json", made(lambda _: json.dumps(site.stations).encode(), text)),
            Route("/tiles/{layer}/{date}/{z:number}/{x:number}/{y:number}.bin", made(tile, octets)),
            Route("/pixels/{z:number}/{x:number}/{y:number}.bin", made(pixels, octets)),
            Route("/hillshade/{z:number}/{x:number}/{y:number}.bin", made(hillshade, octets)),
            Route("/series/{top:number}/{left:number}.bin", made(series, octets)),
            Route("/{path:path}", page),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        lifespan=few_threads,
    )


class _Held:
    """The site that is shown, with what was asked for lately, and a new one where there are other days."""

    def __init__(self, site: Site) -> None:
        self._site, self._looked, self._lock = site, time.monotonic(), Lock()
        self._tiles = lru_cache(maxsize=1024)(lambda site, _version, *at: site.tile(*at))
        self._series = lru_cache(maxsize=64)(lambda site, _version, *at: site.series(*at))
        self.pixels = lru_cache(maxsize=512)(site.pixels)
        self.hillshade = lru_cache(maxsize=512)(site.hillshade)

    def renewed(self) -> Site:
        """The site of the days that are there now."""
        with self._lock:
            if time.monotonic() - self._looked > _RENEW_S:
                self._site = self._site.renewed()
                self._looked = time.monotonic()
            return self._site

    def tile(self, layer: str, date: str, *at: int) -> bytes:
        """A tile of one state of its day: it is read again if the day was replaced meanwhile."""
        site = self._site
        index = site.index(date)
        return _settled(
            lambda: site.maps.version(index), lambda version: self._tiles(site, version, layer, date, *at)
        )

    def series(self, top: int, left: int) -> bytes:
        """A block of series of one state of all days."""
        site = self._site
        return _settled(lambda: site.version, lambda version: self._series(site, version, top, left))


def _settled(version: Callable[[], str], read: Callable[[str], bytes]) -> bytes:
    """What is read while the version stays the same; or the error of a last attempt."""
    for left in reversed(range(_TIMES)):
        before = version()
        try:
            body = read(before)
        except (InputError, WorkError):
            # A file that is being replaced may be gone for a moment.
            if not left or version() == before:
                raise
            continue
        if version() == before or not left:
            return body
    raise AssertionError("unreachable")


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; `InputError` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise InputError(
            f"{host}, port {port}: cannot be used ({error}); expected a free port, or 0"
        ) from None
    return found


def make_server(site: Site, hosts: tuple[str, ...] = _LOOPBACK) -> uvicorn.Server:
    """A server with its limits, not yet running."""
    app = application(site, hosts)
    with needs_extra("viewer", "the map page"):
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

    class Timely(H11Protocol):
        """Closes a connection whose request does not become whole; uvicorn itself waits for ever."""

        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.late:
                self.late.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                if self.late:
                    self.late.cancel()
                self.late = None
            elif self.late is None:
                self._wait()

        def _wait(self) -> None:
            self.late = self.loop.call_later(_REQUEST_S, self.transport.close)

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Timely,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            backlog=_WAITING,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=2,
            ws="none",
        )
    )


def serve(site: Site, host: str, port: int) -> None:
    """Serve the page until interrupted."""
    server = make_server(site, _LOOPBACK if host in ("127.0.0.1", "localhost", "::1") else ("*",))
    with listen(host, port) as at:
        say(f"map page: http://{host}:{at.getsockname()[1]}/ (Ctrl-C ends it)")
        server.run(sockets=[at])
    say("ended")


def write_site(site: Site, out: Path) -> dict[str, int]:
    """Write the page and everything that it fetches as files.

    Parameters
    ----------
    site : Site
    out : Path
        Folder that is not there yet, or is empty; it appears whole or not at all.

    Returns
    -------
    dict
        ``files`` and ``bytes``.

    Raises
    ------
    InputError
        `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--static {out}: already there, expected a new or empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        with naming(out):
            count = _write_all(site, draft)
        if out.exists():
            out.rmdir()
        draft.chmod(0o755)
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return count


def _with_policy(page: bytes, site: Site) -> bytes:
    return page.replace(b"@POLICY@", policy(site.base_map).encode())


def _write_all(site: Site, folder: Path) -> dict[str, int]:
    count = {"files": 0, "bytes": 0}

    def write(name: str, body: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        count["files"] += 1
        count["bytes"] += len(body)

    for name, body in page_files():
        write(name, body if name != "index.html" else _with_policy(body, site))
    about = site.about(live=False)
    write("about.json", json.dumps(about).encode())
    write("stations.json", json.dumps(site.stations).encode())
    layers = {layer["name"]: layer["minzoom"] for layer in about["layers"] if layer["drawn"]}
    zooms = range(site.zoom[0], site.zoom[1] + 1)
    places = [(z, x, y) for z in zooms for x, y in site.tiles(z)]
    height, width = site.maps.levels[0].shape
    blocks = -(-height // BLOCK) * -(-width // BLOCK)
    with steps("files written", len(places) * len(layers) * len(about["days"]) + blocks) as advance:
        for z, x, y in places:
            write(f"pixels/{z}/{x}/{y}.bin", site.pixels(z, x, y))
            if about["hillshade"]:
                write(f"hillshade/{z}/{x}/{y}.bin", site.hillshade(z, x, y))
        for z, x, y in places:
            for day in about["days"]:
                for layer in (name for name, first in layers.items() if z >= first):
                    write(
                        f"tiles/{layer}/{day['date']}/{z}/{x}/{y}.bin", site.tile(layer, day["date"], z, x, y)
                    )
                advance(len(layers))
        for top, left, body in site.blocks():
            write(f"series/{top}/{left}.bin", body)
            advance()
    return count
