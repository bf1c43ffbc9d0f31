"""A made-up cube, every source on a native grid of its own kind: to measure and to test with."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.variables import Cadence, Variable

__all__ = ["made_up_cube"]

Days = NDArray[np.int64]
#: Days of scenes and weather on either side of the mapped days.
_AROUND = 100
_SINUSOIDAL = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"
_NO_DAYS: Days = np.array([], dtype=np.int64)
_OPTICAL = Packing(dtype="int16", scale=1e-4, missing=-9999)
_RADAR = Packing(dtype="int16", scale=0.01, missing=-32768)
_FLOAT = Packing(dtype="float32", missing=-9999)
_LST_STORED = Packing(dtype="uint16", missing=0)
_BANDS = dict.fromkeys(("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"), (0.02, 0.5))
_BACKSCATTER = {"VV": (-15.0, -7.0), "VH": (-25.0, -15.0)}
_SMAP, _LST = {"SMAP": (0.05, 0.45)}, {"LST": (13500.0, 15500.0)}
_WEATHER = {
    "eto": (1.0, 8.0),
    "etr": (1.0, 9.0),
    "pr": (0.0, 20.0),
    "sph": (0.002, 0.01),
    "srad": (100.0, 300.0),
    "vpd": (0.2, 2.0),
    "vs": (1.0, 6.0),
}
_TERRAIN = {"elevation": (500.0, 2000.0), "slope": (0.0, 30.0), "aspect": (0.0, 360.0)}
_SOIL = {"clay": (5.0, 40.0), "sand": (10.0, 80.0), "bd": (1.1, 1.6)}
_CODES = np.array([52, 71, 31, 90, 42, 22, 82, 81], dtype=np.uint8)
#: Cells of one patch of values, and of one cloud, in pixels of a side.
_PATCH, _CLOUD = 8, 64


@dataclass(frozen=True)
class _MadeUp:
    """A source whose fields are drawn when they are read, the same at every reading."""

    name: str
    grid: Grid
    cadence: Cadence
    days: Days
    packing: Packing
    ranges: Mapping[str, tuple[float, float]]
    clouds: float = 0.0

    @property
    def variables(self) -> Mapping[str, Packing]:
        return dict.fromkeys(self.ranges, self.packing)

    @property
    def definitions(self) -> Mapping[str, Variable]:
        catalogue = published_catalogue()
        return {name: catalogue[name] for name in self.ranges}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        return {
            name: np.stack([self._field(name, step)[rows, cols] for step in range(first, last)])
            for name in self.ranges
        }

    def identity(self, first: int, last: int) -> str:
        return f"made up {self.name} {first} {last}"

    def _field(self, name: str, step: int) -> NDArray[Any]:
        rng = np.random.default_rng([zlib.crc32(name.encode()), step])
        if name == "LC":
            return _patches(rng.choice(_CODES, _blocks(self.grid, _PATCH)), self.grid, _PATCH)
        low, high = self.ranges[name]
        values = _patches(rng.uniform(low, high, _blocks(self.grid, _PATCH)), self.grid, _PATCH)
        values = values + rng.uniform(-0.02, 0.02, self.grid.shape) * (high - low)
        stored: NDArray[Any] = self.packing.encode(np.clip(values, low, high))
        if self.clouds:
            sky = np.random.default_rng([zlib.crc32(self.name.encode()), step])
            hidden = sky.random(_blocks(self.grid, _CLOUD)) < self.clouds
            stored[_patches(hidden, self.grid, _CLOUD)] = self.packing.missing
        return stored


def _blocks(grid: Grid, side: int) -> tuple[int, int]:
    return -(-grid.height // side), -(-grid.width // side)


def _patches(values: NDArray[Any], grid: Grid, side: int) -> NDArray[Any]:
    wide: NDArray[Any] = values.repeat(side, axis=0).repeat(side, axis=1)
    return wide[: grid.height, : grid.width]


def _around(grid: Grid, crs: str, resolution: float) -> Grid:
    """A grid of that CRS and pixel size over another, a cell larger on every side."""
    there = Transformer.from_crs(grid.crs, crs, always_xy=True)
    left, bottom, right, top = there.transform_bounds(*grid.bounds)
    wide = resolution
    return Grid.from_bounds(crs, (left - wide, bottom - wide, right + wide, top + wide), resolution)


def made_up_cube(path: Path, height: int, width: int, first: int, stop: int) -> None:
    """Build a cube of 30 m pixels to map the days ``first`` to ``stop`` (exclusive) of.

    Optical scenes every 8 days with clouds, radar every 12, daily weather, surface temperature with clouds
    and soil moisture, each on its own grid. The same arguments give the same cube.

    Parameters
    ----------
    path : Path
        The cube; it must not exist.
    height, width : int
        Of the target grid.
    first, stop : int
        Days since 1970-01-01.
    """
    grid = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), height, width)
    daily: Days = np.arange(first - _AROUND, stop + _AROUND, dtype=np.int64)
    year = np.array([first], dtype="datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]")
    release = Packing(dtype="uint8", missing=0)
    sources = [
        _MadeUp("hls", grid, "irregular", daily[3::8], _OPTICAL, _BANDS, clouds=0.3),
        _MadeUp("sentinel1", grid, "irregular", daily[5::12], _RADAR, _BACKSCATTER),
        _MadeUp("smap", _around(grid, "EPSG:6933", 9008.055), "daily", daily, _OPTICAL, _SMAP),
        _MadeUp("gridmet", _around(grid, "EPSG:4326", 1 / 24), "daily", daily, _FLOAT, _WEATHER),
        _MadeUp("modis", _around(grid, _SINUSOIDAL, 926.625), "daily", daily, _LST_STORED, _LST, clouds=0.3),
        _MadeUp("terrain", grid, "static", _NO_DAYS, _FLOAT, _TERRAIN),
        _MadeUp("soil", grid, "static", _NO_DAYS, _FLOAT, _SOIL),
        _MadeUp("landcover", grid, "yearly", year.astype(np.int64), release, {"LC": (11.0, 95.0)}),
    ]
    build_cube(Target(grid, None, "made up"), sources, path, workers=1)
