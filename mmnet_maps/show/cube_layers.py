"""What a cube adds to the map page: SMAP and the age of inputs as layers, rain below a series, hillshade."""

from __future__ import annotations

from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.crs import unit_metres
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, cell_lookup, lonlat_extent
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.produce.extract.maps import Layer
from mmnet_maps.produce.judge.truth import CoarseField

__all__ = ["SMAP", "CubeLayers", "Hillshade", "shade"]

Float = NDArray[np.float64]

SMAP, RAIN = "SMAP", "pr"
#: Layers of the age of inputs, by the sensor of the variables.
_AGES = {"age_optical": "optical", "age_radar": "radar"}
_AGE_TITLES = {"age_optical": "age of the optical input", "age_radar": "age of the radar input"}
#: Days on either side of a day in which an observation is looked for, where the variable names none.
_REACH_DAYS = 60
#: Light from the north-west, 45 degrees high, as on printed maps.
_AZIMUTH, _ALTITUDE = np.radians(315.0), np.radians(45.0)
#: A plain is drawn as if it were steeper: its steeper slopes get this angle, at most so many times theirs.
_STEEP, _MOST_TIMES = np.tan(np.radians(25.0)), 10.0
#: Pixels a pixel from which on the hillshade is made once for the whole region, and rows read at once then.
_COARSE, _STRIP = 8, 512


class CubeLayers:
    """The layers of a cube on the maps that were made from it.

    Parameters
    ----------
    cube : Cube
    maps : Grid
        That of the maps.

    Raises
    ------
    InputError
        The cube lies elsewhere.
    """

    def __init__(self, cube: Cube, maps: Grid) -> None:
        ours, theirs = lonlat_extent(maps), lonlat_extent(cube.grid)
        if not (ours[1] < theirs[3] and theirs[1] < ours[3]) or not _meet(ours, theirs):
            raise InputError(
                f"--cube {cube.path}: lies elsewhere than the maps; expected the cube that made them"
            )
        self.cube, self._grid = cube, maps
        self._fields = {name: CoarseField(cube, name) for name in (SMAP, RAIN) if name in cube.variables}
        self._aged = {
            name: variable
            for name, sensor in _AGES.items()
            for variable in [_first_of(cube, sensor)]
            if variable is not None
        }
        self.drawn = [name for name in (SMAP, *self._aged) if name in self.layers]
        self.series = [name for name in (RAIN, SMAP) if name in self._fields]

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Every layer by name, stored as float32."""
        plain = Packing(dtype="float32")
        found = {}
        if SMAP in self._fields:
            found[SMAP] = Layer(SMAP, "SMAP in its own cells", "m3 m-3", plain)
        found |= {name: Layer(name, _AGE_TITLES[name], "days", plain) for name in self._aged}
        if RAIN in self._fields:
            found[RAIN] = Layer(RAIN, "precipitation", "mm d-1", plain)
        return found

    @cached_property
    def hillshade(self) -> Hillshade | None:
        """Of the elevation, or of slope and aspect; None where the cube has neither."""
        held = self.cube.variables
        if "elevation" in held or {"slope", "aspect"} <= held.keys():
            return Hillshade(self.cube)
        return None

    def wide(self, name: str) -> bool:
        """Whether a layer is coarse enough to be drawn from however far away."""
        return name in self._fields

    def tile(self, name: str, day: int, tile: Grid) -> NDArray[np.float32]:
        """Values at the pixels of a tile of a web map, NaN where missing."""
        whole = Tile(0, 0, *tile.shape)
        if name in self._fields:
            return self._fields[name].read(tile, day, whole)
        variable = self._aged[name]
        source = self.cube.source_of(variable)
        lookup = cell_lookup(tile, whole, source.grid)
        if not (lookup.index >= 0).any():
            return np.full(tile.shape, np.nan, np.float32)
        age = _age(source, variable, day, lookup.rows, lookup.cols).ravel()
        return np.where(lookup.index >= 0, age[lookup.index], np.float32(np.nan))

    def block(self, name: str, days: NDArray[np.int64], tile: Tile) -> NDArray[np.float32]:
        """Values at the pixels of a tile of the maps, (days, rows, columns)."""
        field = self._fields[name]
        lookup = cell_lookup(self._grid, tile, field.grid)
        return np.stack([field.at(lookup, int(day)) for day in days])


class Hillshade:
    """The terrain of a cube in light from the north-west.

    Parameters
    ----------
    cube : Cube
        With elevation, or with slope and aspect.
    """

    def __init__(self, cube: Cube) -> None:
        self._elevation = "elevation" in cube.variables
        self._source = cube.source_of("elevation" if self._elevation else "slope")
        self._aspect = None if self._elevation else cube.source_of("aspect")
        self.grid = self._source.grid
        self._making, self._coarse = Lock(), dict[int, NDArray[np.float32]]()

    def tile(self, tile: Grid, ground_m: float) -> NDArray[np.uint8]:
        """Brightness 1 to 255 at the pixels of a tile of a web map; 0 where there is no terrain.

        Parameters
        ----------
        tile : Grid
        ground_m : float
            Size of its pixels on the ground, in metres.
        """
        pixel = abs(self.grid.transform[0]) * unit_metres(self.grid.crs)
        times = 1
        while 2 * times * pixel <= 1.06 * ground_m and 2 * times < max(self.grid.shape):
            times *= 2
        level = self._level(times)
        lookup = cell_lookup(tile, Tile(0, 0, *tile.shape), level)
        found = np.zeros(tile.shape, np.uint8)
        inside = lookup.index >= 0
        if inside.any():
            bright = self._read(times, lookup.rows, lookup.cols).ravel()[lookup.index[inside]]
            found[inside] = np.where(np.isfinite(bright), 1 + np.rint(254 * np.nan_to_num(bright)), 0)
        return found

    def _level(self, times: int) -> Grid:
        """The grid of means over so many pixels a side."""
        a, b, c, d, e, f = self.grid.transform
        height, width = (-(-size // times) for size in self.grid.shape)
        return Grid(self.grid.crs, (a * times, b * times, c, d * times, e * times, f), height, width)

    def _read(self, times: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        if times >= _COARSE:
            return self._whole(times)[rows, cols]
        height, width = self.grid.shape
        fine = (
            slice(rows.start * times, min(height, rows.stop * times)),
            slice(cols.start * times, min(width, cols.stop * times)),
        )
        return _means(self._bright(*fine), times)

    def _whole(self, times: int) -> NDArray[np.float32]:
        """The whole region at a coarse step: made once, a strip of rows at a time."""
        with self._making:
            if _COARSE not in self._coarse:
                height, width = self.grid.shape
                strips = [
                    _means(self._bright(slice(top, min(height, top + _STRIP)), slice(0, width)), _COARSE)
                    for top in range(0, height, _STRIP)
                ]
                self._coarse[_COARSE] = np.concatenate(strips)
            step = max(k for k in self._coarse if k <= times)
            while step < times:
                self._coarse[2 * step] = _means(self._coarse[step], 2)
                step *= 2
            return self._coarse[times]

    @cached_property
    def _steeper(self) -> float:
        """How many times steeper the terrain is drawn than it is."""
        middle = [slice(max(0, n // 2 - 512), n // 2 + 512) for n in self.grid.shape]
        rows, cols = (slice(m.start, min(m.stop, n)) for m, n in zip(middle, self.grid.shape, strict=True))
        east, north = self._gradient(rows, cols)
        rise = np.hypot(east, north)
        known = rise[np.isfinite(rise)]
        steep = float(np.percentile(known, 95)) if known.size else 0.0
        return float(np.clip(_STEEP / steep, 1.0, _MOST_TIMES)) if steep > 0 else 1.0

    def _bright(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        return shade(*self._gradient(rows, cols), self._steeper)

    def _gradient(self, rows: slice, cols: slice) -> tuple[Float, Float]:
        """Rise towards the east and towards the north, metres a metre."""
        if self._aspect is not None:
            slope, aspect = (
                np.radians(source.variables[name].decode(source.read(name, 0, 1, rows, cols)[0]))
                for name, source in (("slope", self._source), ("aspect", self._aspect))
            )
            # The aspect is the way down.
            return -np.tan(slope) * np.sin(aspect), -np.tan(slope) * np.cos(aspect)
        height, width = self.grid.shape
        wide = (
            slice(max(0, rows.start - 1), min(height, rows.stop + 1)),
            slice(max(0, cols.start - 1), min(width, cols.stop + 1)),
        )
        packing = self._source.variables["elevation"]
        z = packing.decode(self._source.read("elevation", 0, 1, *wide)[0]).astype(np.float64)
        if min(z.shape) < 2:
            return np.zeros(z.shape), np.zeros(z.shape)
        down, across = (np.asarray(part) for part in np.gradient(z))
        a, e = self.grid.transform[0], self.grid.transform[4]
        metre = unit_metres(self.grid.crs)
        shrink: Float = np.ones(z.shape[0])
        if CRS.from_user_input(self.grid.crs).is_geographic:
            shrink = np.asarray(np.cos(np.radians(self.grid.y(np.arange(wide[0].start, wide[0].stop)))))
        inner = (
            slice(rows.start - wide[0].start, rows.stop - wide[0].start),
            slice(cols.start - wide[1].start, cols.stop - wide[1].start),
        )
        return (across / (a * metre * shrink[:, None]))[inner], (down / (e * metre))[inner]


def shade(east: Float, north: Float, times: float = 1.0) -> NDArray[np.float32]:
    """Brightness of a surface in light from the north-west, 45 degrees high.

    Parameters
    ----------
    east, north : ndarray
        Rise towards the east and the north, metres a metre.
    times : float
        How many times steeper it is drawn.

    Returns
    -------
    ndarray of float32
        0 (dark) to 1: the cosine between the light and the normal of the surface; NaN where it is unknown.

    Examples
    --------
    A plain has the sine of the light's height:

    >>> float(shade(np.zeros(1), np.zeros(1))[0].round(4))
    0.7071
    """
    x, y = times * east, times * north
    light = np.cos(_ALTITUDE) * np.array([np.sin(_AZIMUTH), np.cos(_AZIMUTH)])
    bright = (np.sin(_ALTITUDE) - light[0] * x - light[1] * y) / np.sqrt(1 + x * x + y * y)
    found: NDArray[np.float32] = np.clip(bright, 0.0, 1.0).astype(np.float32)
    return found


def _means(values: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Means over blocks of so many values a side; the last block may be smaller."""
    if times == 1:
        return values
    known = np.isfinite(values)
    parts = [np.arange(0, size, times) for size in values.shape]
    total, count = (
        np.add.reduceat(np.add.reduceat(part, parts[0], 0), parts[1], 1)
        for part in (np.where(known, values, 0.0), known.astype(np.float64))
    )
    with np.errstate(invalid="ignore"):
        return (total / np.where(count > 0, count, np.nan)).astype(np.float32)


def _first_of(cube: Cube, sensor: str) -> str | None:
    """The first variable of scenes that a sensor observes."""
    for source in cube.sources.values():
        if source.cadence == "irregular":
            for name, variable in source.definitions.items():
                if variable.sensor == sensor:
                    return name
    return None


def _age(source: CubeSource, variable: str, day: int, rows: slice, cols: slice) -> NDArray[np.float32]:
    """Days between a day and the nearest observation of every cell, NaN where there is none in reach."""
    reach = source.definitions[variable].max_gap or _REACH_DAYS
    first, last = source.days_between(day - reach, day + reach + 1)
    shape = rows.stop - rows.start, cols.stop - cols.start
    age, packing = np.full(shape, np.inf, np.float32), source.variables[variable]
    for step in range(first, last):
        seen = np.isfinite(packing.decode(source.read(variable, step, step + 1, rows, cols)[0]))
        np.minimum(age, abs(int(source.days[step]) - day), out=age, where=seen)
    age[np.isinf(age)] = np.nan
    return age


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two spans of longitude (west, east; east may lie beyond 180) have a part in common."""
    wide = [(west, east if east > west else east + 360) for west, _, east, _ in (one, other)]
    return any(wide[0][0] < wide[1][1] + turn and wide[1][0] + turn < wide[0][1] for turn in (-360, 0, 360))
