"""What the map page downloads: tiles of stored values, the position of each pixel, and series of pixels.

Tiles hold values, not colours: 256 x 256 stored numbers of a layer, packed by gzip. The page colours them, so
that a range or a palette changes at once, and a picture is exactly what the maps say. The same bytes are made
when a browser asks (`show.server`) or written beforehand for any web host (`write_site`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.crs import unit_metres
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import CellLookup, Grid, Tile, cell_lookup, lonlat_extent
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.produce.extract.maps import QUALITY, Layer, Maps, Reasons, open_maps
from mmnet_maps.produce.tile.flags import FINE_COLOUR, colour_of
from mmnet_maps.produce.units import iso
from mmnet_maps.show.cube_layers import SMAP, CubeLayers
from mmnet_maps.show.positions import fitted
from mmnet_maps.show.stations import validated_stations
from mmnet_maps.store.states import folder_of_state
from mmnet_maps.variables import depth_text
from mmnet_maps.version import __version__

__all__ = ["BLOCK", "SIDE", "Site", "page_files", "policy"]

#: Pixels a side of a tile, and of a block of series.
SIDE, BLOCK = 256, 32
_EQUATOR_M = 40_075_016.685578488
#: Days and pixels that colour ranges are taken from.
_RANGE_DAYS, _RANGE_SIDE = 12, 600
_WIDTH = "width"
#: Reading a window larger than this for one tile takes seconds: maps of that size need overviews.
_MOST = 40_000_000
#: Pixel-days that are read at once for blocks of series (100 MB), and blocks a side: as large as the tiles of
#: an exported file.
_AT_ONCE, _SQUARE = 10_000_000, 16
#: Zooms before the last in which a layer without overviews is drawn.
_REACH = 3
_TITLES = {"soil_moisture": "soil moisture", _WIDTH: "width of the interval", QUALITY: "quality"}
_PALETTES = {"soil_moisture": "dry to wet", SMAP: "dry to wet"}
#: Colour ranges of the age of inputs, in days.
_AGE_RANGE = [0.0, 30.0]


def page_files() -> Iterator[tuple[str, bytes]]:
    """Every file of the page itself by its relative path; `index.html` still lacks its policy."""
    root = files("mmnet_maps.show").joinpath("static")
    for item in sorted(root.iterdir(), key=lambda entry: entry.name):
        if item.is_file():
            yield item.name, item.read_bytes()
    for item in sorted(root.joinpath("vendor").iterdir(), key=lambda entry: entry.name):
        yield f"vendor/{item.name}", item.read_bytes()


def policy(base_map: str | None = None) -> str:
    """What the page may load: its own files, and the tiles of a base map if one was named."""
    more = ""
    if base_map:
        more = " " + "/".join(base_map.split("/")[:3])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; "
        f"img-src 'self' data: blob:{more}; connect-src 'self'{more}; base-uri 'none'; form-action 'none'"
    )


class Site:
    """The maps as the page asks for them.

    Parameters
    ----------
    maps : Maps
    validation : Path, optional
        Folder that `validate` wrote; its stations are on the map.
    base_map : str, optional
        Address of the tiles of an online map below, with {z}, {x} and {y}.
    cube : Cube, optional
        Cube that the maps were made from. Its terrain is drawn below them, SMAP and the age of inputs are
        layers, and rain is drawn below a series.

    Raises
    ------
    InputError
        The maps are too large to be drawn without overviews, `validation` holds no stations, or the cube lies
        elsewhere.
    """

    def __init__(
        self,
        maps: Maps,
        validation: Path | None = None,
        base_map: str | None = None,
        cube: Cube | None = None,
    ) -> None:
        if base_map is not None and not (
            base_map.startswith(("https://", "http://")) and all(f"{{{n}}}" in base_map for n in "zxy")
        ):
            raise InputError(f"--base-map {base_map}: expected an https address with {{z}}, {{x}} and {{y}}")
        grid = maps.levels[0]
        smallest = maps.levels[-1]
        if smallest.height * smallest.width > _MOST:
            raise InputError(
                f"{maps.source}: {grid.height} x {grid.width} pixels without overviews; "
                "run `mmnet-maps export` and look at its folder"
            )
        self.maps, self.base_map = maps, base_map
        self._validation, self._cube = validation, cube
        self.bounds = tuple(round(v, 7) for v in lonlat_extent(grid))
        self.stations = [] if validation is None else validated_stations(grid, validation)
        self.beside = None if cube is None else CubeLayers(cube, grid)
        self._pixel_m = [_pixel_m(level) for level in maps.levels]
        wide = _EQUATOR_M * np.cos(np.radians((self.bounds[1] + self.bounds[3]) / 2)) / SIDE
        # Pixels of the last zoom are at most a few hundredths larger than those of the maps.
        last = int(np.ceil(np.log2(wide / self._pixel_m[0]) - 0.05))
        first = int(np.floor(np.log2(wide / (self._pixel_m[0] * max(grid.shape) / SIDE))))
        self.zoom = max(0, min(first, last)), max(0, last)
        self._lookup = lru_cache(maxsize=96)(self._find)
        self._ranges = lru_cache(maxsize=1)(self._measured)

    def renewed(self) -> Site:
        """Itself, or a new site where the maps hold other days by now."""
        try:
            maps = open_maps(folder_of_state(self.maps.source))
            if (
                maps.source == self.maps.source
                and np.array_equal(maps.days, self.maps.days)
                and list(maps.layers) == list(self.maps.layers)
            ):
                return self
            return Site(maps, self._validation, self.base_map, self._cube)
        except (InputError, WorkError, OSError):
            # An export that is being replaced; what is held is told by its days.
            return self

    @property
    def version(self) -> str:
        """Changes when any day does."""
        parts = [self.maps.version(k) for k in range(self.maps.days.size)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def about(self, *, live: bool) -> dict[str, Any]:
        """What the page must know before it draws."""
        maps, (ranges, seen) = self.maps, self._ranges()
        reasons = Reasons(maps.flags)
        drawn = [name for name in maps.layers if name not in ("lower", "upper")]
        if {"lower", "upper"} <= maps.layers.keys():
            drawn.insert(1, _WIDTH)
        named = [(name, name in drawn) for name in [*drawn, *_undrawn(maps)]]
        if self.beside:
            named += [(name, name in self.beside.drawn) for name in self.beside.layers]
            # Side by side with the maps, SMAP has their colours.
            ranges = ranges | {SMAP: ranges["soil_moisture"]}
        return {
            "days": [
                {"date": iso(int(day)).replace("-", ""), "version": _short(maps.version(k))}
                for k, day in enumerate(maps.days)
            ],
            "version": self.version,
            "layers": [self._layer(name, ranges, shown) for name, shown in named],
            "flags": [
                {
                    "mask": mask,
                    "words": reasons.words[mask],
                    "colour": colour_of(maps.flags, mask),
                    "seen": mask in seen,
                }
                for mask in maps.flags.values()
            ],
            "clear": FINE_COLOUR,
            "bounds": self.bounds,
            "zoom": self.zoom,
            "shape": maps.levels[0].shape,
            "pixelAt": self._fitted,
            "hillshade": self.beside is not None and self.beside.hillshade is not None,
            "block": BLOCK,
            "series": self.series_layers,
            "stations": len(self.stations),
            "soilDepth": self.maps.soil_depth,
            "baseMap": self.base_map,
            "live": live,
            "made": f"mmnet-maps {__version__}. Values are of single pixels, "
            f"daily means of {depth_text(self.maps.soil_depth)}.",
        }

    @property
    def series_layers(self) -> list[str]:
        """Layers of a block of series, in order."""
        own = [n for n in ("soil_moisture", "lower", "upper", QUALITY) if n in self.maps.layers]
        return [*own, *(self.beside.series if self.beside else [])]

    @cached_property
    def _fitted(self) -> dict[str, Any]:
        return fitted(self.maps.levels[0], self.bounds)

    def index(self, date: str) -> int:
        """Place of a day YYYYMMDD; `KeyError` for one that there is not."""
        found = {iso(int(day)).replace("-", ""): k for k, day in enumerate(self.maps.days)}
        return found[date]

    def tile(self, name: str, date: str, z: int, x: int, y: int) -> bytes:
        """Stored values of a tile, row by row from the north-west; `KeyError` where there is none."""
        index = self.index(date)
        if self.beside and name in self.beside.drawn:
            self._check(z, x, y)
            if z < self._first_zoom(name):
                raise KeyError(name)
            return _packed(self.beside.tile(name, int(self.maps.days[index]), _mercator(z, x, y)))
        parts = ("upper", "lower") if name == _WIDTH else (name,)
        if not set(parts) <= self.maps.layers.keys() or z < self._first_zoom(name):
            raise KeyError(name)
        level, lookup = self._lookup(z, x, y, self._depth(name))
        layer = self.maps.layers[parts[0]]
        missing = _missing(self.maps, parts[0])
        values = np.full((SIDE, SIDE), missing, layer.dtype)
        inside = lookup.index >= 0
        if inside.any():
            window = (lookup.rows, lookup.cols)
            stored = [self.maps.read(part, index, *window, level) for part in parts]
            found = stored[0]
            if len(stored) == 2:
                known = (stored[0] != missing) & (stored[1] != missing)
                found = np.where(known, stored[0] - stored[1], missing).astype(layer.dtype)
            values[inside] = found.ravel()[lookup.index[inside]]
        return _packed(values)

    def pixels(self, z: int, x: int, y: int) -> bytes:
        """Number of the pixel (row by row, int32) at every place of a tile; -1 outside the maps."""
        self._check(z, x, y)
        grid = self.maps.levels[0]
        lookup = cell_lookup(_mercator(z, x, y), Tile(0, 0, SIDE, SIDE), grid)
        down, across = np.divmod(lookup.index, max(1, lookup.shape[1]))
        number = (down + lookup.rows.start) * grid.width + across + lookup.cols.start
        return _packed(np.where(lookup.index >= 0, number, -1).astype(np.int32))

    def hillshade(self, z: int, x: int, y: int) -> bytes:
        """Brightness of the terrain, uint8, 0 where there is none; `KeyError` without terrain."""
        self._check(z, x, y)
        if self.beside is None or self.beside.hillshade is None:
            raise KeyError("hillshade")
        tile = _mercator(z, x, y)
        return _packed(self.beside.hillshade.tile(tile, _ground_m(tile)))

    def series(self, top: int, left: int) -> bytes:
        """Stored values of a block of pixels: by layer (`series_layers`), each (days, rows, columns)."""
        height, width = self.maps.levels[0].shape
        if not (0 <= top * BLOCK < height and 0 <= left * BLOCK < width):
            raise KeyError((top, left))
        return next(self._window(top, left, 1, 1))[2]

    def blocks(self) -> Iterator[tuple[int, int, bytes]]:
        """Every block of series with its position; stored values are read for a square of them at once.

        Stored pieces are larger than a block, and each is decoded again for every window that touches it.
        """
        height, width = self.maps.levels[0].shape
        fit = max(1, _AT_ONCE // (self.maps.days.size * BLOCK**2))
        high = min(_SQUARE, 2 ** ((fit.bit_length() - 1) // 2))
        wide = min(_SQUARE, 2 ** ((fit // high).bit_length() - 1))
        for top in range(0, -(-height // BLOCK), high):
            for left in range(0, -(-width // BLOCK), wide):
                yield from self._window(top, left, high, wide)

    def _window(self, top: int, left: int, high: int, wide: int) -> Iterator[tuple[int, int, bytes]]:
        """Blocks of rows ``top`` on and of columns ``left`` on, so many of each where there are."""
        height, width = self.maps.levels[0].shape
        rows = np.arange(top * BLOCK, min(height, (top + high) * BLOCK), dtype=np.int64)
        cols = np.arange(left * BLOCK, min(width, (left + wide) * BLOCK), dtype=np.int64)
        row, col = np.repeat(rows, cols.size), np.tile(cols, rows.size)
        own = [name for name in self.series_layers if name in self.maps.layers]
        found = self.maps.pixels(own, 0, self.maps.days.size, row, col)
        shaped = [found[name].reshape(-1, rows.size, cols.size) for name in own]
        if self.beside:
            tile = Tile(int(rows[0]), int(cols[0]), rows.size, cols.size)
            shaped += [self.beside.block(name, self.maps.days, tile) for name in self.beside.series]
        for down in range(0, rows.size, BLOCK):
            for across in range(0, cols.size, BLOCK):
                part = slice(None), slice(down, down + BLOCK), slice(across, across + BLOCK)
                body = gzip.compress(b"".join(_little(values[part]) for values in shaped), 6, mtime=0)
                yield top + down // BLOCK, left + across // BLOCK, body

    def tiles(self, zoom: int) -> Iterator[tuple[int, int]]:
        """(x, y) of the tiles of a zoom that touch the maps."""
        west, south, east, north = self.bounds
        size = 2**zoom
        left, right = (int(np.floor((lon / 360 + 0.5) * size)) for lon in (west, east))
        top, bottom = (
            int(np.floor((0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi)) * size))
            for lat in (north, south)
        )
        for y in range(max(0, top), min(size - 1, bottom) + 1):
            for x in range(left, min(right, left + size - 1) + 1):
                yield x % size, y

    def _check(self, z: int, x: int, y: int) -> None:
        if not (0 <= z <= self.zoom[1] and 0 <= x < 2**z and 0 <= y < 2**z):
            raise KeyError((z, x, y))

    def _depth(self, name: str) -> int:
        return min(self.maps.depth(part) for part in (("lower", "upper") if name == _WIDTH else (name,)))

    def _first_zoom(self, name: str) -> int:
        """A layer without overviews is not drawn where one tile would be made of millions of pixels."""
        if self.beside and name in self.beside.layers:
            whole = self.beside.wide(name)
        else:
            whole = self._depth(name) == len(self.maps.levels)
        return self.zoom[0] if whole else max(self.zoom[0], self.zoom[1] - _REACH)

    def _find(self, z: int, x: int, y: int, depth: int) -> tuple[int, CellLookup]:
        """The level to read for a tile, and which of its pixels stands where."""
        self._check(z, x, y)
        tile = _mercator(z, x, y)
        ground = _ground_m(tile)
        fine = [k for k, pixel in enumerate(self._pixel_m[:depth]) if pixel <= 1.06 * ground]
        level = fine[-1] if fine else 0
        return level, cell_lookup(tile, Tile(0, 0, SIDE, SIDE), self.maps.levels[level])

    def _layer(self, name: str, ranges: dict[str, list[float]], drawn: bool) -> dict[str, Any]:
        layer = self._described(name)
        missing = layer.packing.missing
        return {
            "name": name,
            "title": _TITLES.get(name, layer.long_name),
            "units": layer.units,
            "dtype": layer.dtype.name,
            "scale": layer.packing.scale,
            "offset": 0.0 if name == _WIDTH else layer.packing.offset,
            "missing": None if missing is None or missing != missing else missing,
            "kind": "bits" if name == QUALITY else "values",
            "range": ranges.get(name) or (_AGE_RANGE if layer.units == "days" else None),
            "palette": _PALETTES.get(
                name, "yellow to red" if name == _WIDTH or layer.units == "days" else "viridis"
            ),
            "drawn": drawn,
            "minzoom": self._first_zoom(name),
        }

    def _described(self, name: str) -> Layer:
        if self.beside and name in self.beside.layers:
            return self.beside.layers[name]
        return self.maps.layers["upper" if name == _WIDTH else name]

    def _measured(self) -> tuple[dict[str, list[float]], set[int]]:
        """Colour ranges (2nd to 98th percentile, one for all days), and the quality bits that occur."""
        maps, level = self.maps, len(self.maps.levels) - 1
        while level and max(maps.levels[level].shape) < _RANGE_SIDE:
            level -= 1
        chosen = np.unique(np.linspace(0, maps.days.size - 1, min(_RANGE_DAYS, maps.days.size)).astype(int))
        values: dict[str, list[NDArray[Any]]] = {}
        seen: set[int] = set()
        for day in chosen.tolist():
            found = {}
            for name, layer in maps.layers.items():
                stored = self._sample(name, day, min(level, maps.depth(name) - 1))
                if name == QUALITY:
                    present = np.bitwise_or.reduce(stored, axis=None)
                    seen |= {mask for mask in maps.flags.values() if int(present) & mask}
                else:
                    found[name] = layer.packing.decode(stored)
            if {"lower", "upper"} <= found.keys():
                found[_WIDTH] = found["upper"] - found["lower"]
            for name, decoded in found.items():
                values.setdefault(name, []).append(decoded[np.isfinite(decoded)])
        return {name: _range(np.concatenate(parts)) for name, parts in values.items()}, seen

    def _sample(self, name: str, day: int, level: int) -> NDArray[Any]:
        """At most `_RANGE_SIDE` rows and columns of a level, or of its middle if it is too large."""
        height, width = self.maps.levels[level].shape
        rows, cols = (
            slice(max(0, (size - 4 * _RANGE_SIDE) // 2), (size + 4 * _RANGE_SIDE) // 2)
            for size in (height, width)
        )
        step = -(-min(max(height, width), 4 * _RANGE_SIDE) // _RANGE_SIDE)
        return self.maps.read(name, day, rows, cols, level)[::step, ::step]


def _undrawn(maps: Maps) -> list[str]:
    return [name for name in ("lower", "upper") if name in maps.layers]


def _range(known: NDArray[Any]) -> list[float]:
    if not known.size:
        return [0.0, 0.5]
    low, high = (float(v) for v in np.percentile(known, [2, 98]))
    unit = 10.0 ** np.floor(np.log10(max(high - low, 1e-6))) / 10
    low, high = np.floor(low / unit) * unit, np.ceil(high / unit) * unit
    return [round(float(low), 8), round(float(max(high, low + unit)), 8)]


def _missing(maps: Maps, name: str) -> Any:
    layer = maps.layers[name]
    if name == QUALITY:
        return layer.dtype.type(0)
    missing = layer.packing.missing
    return layer.dtype.type(0 if missing is None else missing)


def _short(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest()[:12]


def _little(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _packed(values: NDArray[Any]) -> bytes:
    return gzip.compress(_little(values), 3, mtime=0)


def _mercator(z: int, x: int, y: int) -> Grid:
    """The pixels of a web map tile, as a grid."""
    size = _EQUATOR_M / 2**z
    left, top = x * size - _EQUATOR_M / 2, _EQUATOR_M / 2 - y * size
    return Grid("EPSG:3857", (size / SIDE, 0.0, left, 0.0, -size / SIDE, top), SIDE, SIDE)


def _pixel_m(grid: Grid) -> float:
    """About how large a pixel is on the ground, in metres."""
    return min(abs(grid.transform[0]), abs(grid.transform[4])) * unit_metres(grid.crs)


def _ground_m(tile: Grid) -> float:
    """Size of a pixel of a web map tile on the ground at its middle, in metres."""
    north = tile.y(np.array([SIDE / 2]))[0] * 2 * np.pi / _EQUATOR_M
    return float(tile.transform[0] / np.cosh(north))
