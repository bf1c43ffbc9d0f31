"""A map page of an export folder on this machine: days, layers, and the value under the pointer.

Served on the loopback address alone, by the standard library; pictures are drawn from the overviews of the
COGs, values are read from their pixels. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import io
import json
import re
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, lonlat
from mmnet_maps.produce.export.cog import Cog, open_cog
from mmnet_maps.produce.product.layers import LAYERS
from mmnet_maps.produce.tile.flags import FINE_COLOUR, NO_FLAG, colour_of
from mmnet_maps.show.maps import colour_map, quality_classes, width_colour_map

__all__ = ["Exports", "make_server", "serve"]

#: Largest side of a picture.
_SIDE = 1200
#: Colour limits in m3 m-3, the same for every day so that days can be compared.
RANGES = {"soil_moisture": LAYERS["soil_moisture"].colour_range, "width": (0.0, 0.3)}
_STEM = re.compile(r"soil_moisture_(\d{8})")
_HOSTS = ("127.0.0.1", "localhost")


class Exports:
    """The exported days of a folder.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        The folder holds no exported day.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder, expected what `mmnet-maps export` wrote")
        found = {m.group(1): p for p in sorted(folder.glob("*.tif")) if (m := _STEM.fullmatch(p.stem))}
        if not found:
            raise InputError(f"{folder}: no soil_moisture_YYYYMMDD.tif there, expected exported days")
        self._paths = found
        self.first = open_cog(next(iter(found.values())))
        self.picture = lru_cache(maxsize=64)(self._picture)

    def about(self) -> dict[str, Any]:
        """What the page needs to know: days, layers with their legends, shape of a pixel."""
        grid = self.first.grid
        legend = {
            name: {"range": RANGES[name], "colours": [_hex(c) for c in colours(np.linspace(0, 1, 32))]}
            for name, colours in (("soil_moisture", colour_map()), ("width", width_colour_map()))
        }
        flags = self.first.flags
        classes = [[NO_FLAG, FINE_COLOUR]]
        classes += [[name.replace("_", " "), colour_of(flags, mask)] for name, mask in flags.items()]
        return {
            "days": list(self._paths),
            "layers": {**legend, "quality": {"classes": classes}},
            "ratio": grid.height * abs(grid.transform[4]) / (grid.width * abs(grid.transform[0])),
        }

    def _picture(self, date: str, layer: str) -> bytes:
        """PNG of a layer; `KeyError` for a day or layer that there is not."""
        from matplotlib.image import imsave

        stored = open_cog(self._paths[date]).overview(_SIDE)
        buffer = io.BytesIO()
        if layer == "quality":
            classes, _, found = quality_classes(stored["quality"], self.first.flags)
            table = np.array([_rgb(colour) for colour in found], dtype=np.uint8)
            imsave(buffer, table[classes], format="png")
            return buffer.getvalue()
        low, high = RANGES[layer]
        if layer == "width":
            values, colours = _decoded(stored, "upper") - _decoded(stored, "lower"), width_colour_map()
        else:
            values, colours = _decoded(stored, layer), colour_map()
        scaled = np.ma.masked_invalid((values - low) / (high - low))
        imsave(buffer, (colours(scaled) * 255).astype(np.uint8), format="png")
        return buffer.getvalue()

    def value(self, date: str, across: float, down: float) -> dict[str, Any]:
        """What the file says at a place given as shares of its width and height from the top left corner."""
        cog: Cog = open_cog(self._paths[date])
        row, col = int(down * cog.grid.height), int(across * cog.grid.width)
        stored = cog.pixel(row, col)
        if stored is None:
            return {}
        lon, lat = lonlat(cog.grid, Tile(row, col, 1, 1))
        bits = stored["quality"]
        values = {
            name: None
            if stored[name] == LAYERS[name].packing.missing
            else round(stored[name] * LAYERS[name].packing.scale, 4)
            for name in ("soil_moisture", "lower", "upper")
        }
        reasons = [name.replace("_", " ") for name, mask in cog.flags.items() if bits & mask]
        return {**values, "quality": reasons, "longitude": float(lon[0, 0]), "latitude": float(lat[0, 0])}


def _decoded(stored: dict[str, Any], name: str) -> Any:
    return LAYERS[name].packing.decode(stored[name])


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour[:3])


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


class _Handler(BaseHTTPRequestHandler):
    exports: Exports

    def do_GET(self) -> None:
        """Answer a request; anything unknown is 404."""
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in _HOSTS:
            # A page elsewhere could otherwise read from here under a name of its own.
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        url = urlsplit(self.path)
        try:
            kind, body = self._answer(url.path.strip("/").split("/"), parse_qs(url.query))
        except (KeyError, ValueError, IndexError):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, parts: list[str], query: dict[str, list[str]]) -> tuple[str, bytes]:
        exports = self.exports
        if parts == [""]:
            page = files("mmnet_maps.show").joinpath("viewer.html").read_bytes()
            return "text/html; charset=utf-8", page
        if parts == ["about.json"]:
            return "application/json", json.dumps(exports.about()).encode()
        if len(parts) == 3 and parts[0] == "map":
            return "image/png", exports.picture(parts[1], parts[2].removesuffix(".png"))
        if len(parts) == 2 and parts[0] == "value":
            found = exports.value(parts[1], float(query["x"][0]), float(query["y"][0]))
            return "application/json", json.dumps(found).encode()
        raise KeyError(self.path)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line a picture is of no use."""


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a folder's map page on the loopback address, not yet running.

    Parameters
    ----------
    folder : Path
    port : int
        0 takes a free one.

    Raises
    ------
    InputError
        The folder holds no exported day, or the port is taken.
    """
    handler = type("Handler", (_Handler,), {"exports": Exports(folder)})
    try:
        return ThreadingHTTPServer((_HOSTS[0], port), handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"port {port}: cannot be used ({error}); expected a free port, or 0 for any"
        ) from None


def serve(folder: Path, port: int) -> None:
    """Serve the page until interrupted."""
    from mmnet_maps.progress import say

    with make_server(folder, port) as server:
        say(f"map page: http://{_HOSTS[0]}:{server.server_port}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
