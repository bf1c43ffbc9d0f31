"""Raw exports of stations, in the published CSV layout."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.packing import Packing
from mmnet_maps.simulated.packings import HLS, LST, SENTINEL1, SMAP, SOIL, TERRAIN, WEATHER
from mmnet_maps.simulated.places import Station
from mmnet_maps.simulated.site import Observations, Site

__all__ = ["RawExports", "land_cover_year", "stored_constants"]

_PLACE = ["ID", "Latitude", "Longitude", "Network"]
_POINTS = '{"type":"MultiPoint","coordinates":[]}'
_GRIDMET = ["eto", "etr", "pr", "sph", "srad", "vpd", "vs"]
_HLS = ["B1", "B10", "B11", "B2", "B3", "B4", "B5", "B6", "B7", "B9"]
_CONSTANTS = ["aspect", "bd_5", "clay_5", "elevation", "hillshade", "sand_5", "slope"]
_KELVIN = 273.15


def land_cover_year(year: int) -> int:
    """Year of the land cover map that stands for a year: 2016, 2019 or 2021."""
    return 2016 if year <= 2017 else 2019 if year <= 2019 else 2021


def stored_constants(site: Site) -> dict[str, NDArray[Any]]:
    """Terrain and mapped soil of a site as stored, by catalogue name."""
    land = site.landscape
    terrain = {n: p.encode(getattr(land.terrain, n)) for n, p in TERRAIN.items()}
    return terrain | {n: p.encode(getattr(land.soil_map, n)) for n, p in SOIL.items()}


class RawExports:
    """Collects what is seen at stations and writes the folder of raw exports.

    The value of a station is that of its pixel, and of the coarse cell that holds the pixel's centre; it is
    written so that it reads back as the very float32 number that the raster of the source holds there.
    """

    def __init__(self) -> None:
        self._long: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        self._smap: dict[int, dict[Station, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        self._constants: list[dict[str, Any]] = []
        self._cover: list[tuple[Station, int]] = []

    def add_site(self, site: Site, stations: Sequence[Station]) -> None:
        """Take the constants of a site's stations."""
        constants = {
            n: (TERRAIN | SOIL)[n].decode(np.asarray(values)) for n, values in stored_constants(site).items()
        }
        for s in stations:
            at = {n: values[s.row, s.col] for n, values in constants.items()}
            row = _head(s.index, s) | {
                "aspect": at["aspect"],
                "bd_5": at["bd"],
                "clay_5": at["clay"],
                "elevation": at["elevation"],
                "hillshade": round(_hillshade(float(at["slope"]), float(at["aspect"]))),
                "sand_5": at["sand"],
                "slope": at["slope"],
            }
            self._constants.append(row | {".geo": _disc(s)})
            self._cover.append((s, int(site.landscape.cover.code[s.row, s.col])))

    def add_day(self, site: Site, stations: Sequence[Station], seen: Observations) -> None:
        """Take a day of a site's stations."""
        stamp = str(np.datetime64(seen.day, "D"))
        year, compact = int(stamp[:4]), stamp.replace("-", "")
        width = site.landscape.grid.width
        weather = {n: WEATHER[n].decode(v) for n, v in seen.weather.items()}
        smap, lst = SMAP.decode(seen.smap), LST.decode(seen.lst)
        for s in stations:
            pixel = s.row * width + s.col
            cell = site.weather_cells.index[pixel]
            row = _head(f"{compact}_{s.index}", s) | {n: weather[n][cell] for n in _GRIDMET}
            self._long["gridmet", year].append(row | {".geo": _POINTS})
            self._smap[year][s][compact] = smap[site.radiometer.cells.index[pixel]]
            warm = lst[site.thermometer.cells.index[pixel]]
            if not np.isnan(warm):
                index = f"{stamp.replace('-', '_')}_{s.index}"
                self._long["lst", year].append(_head(index, s) | {"mean": warm, ".geo": _disc(s)})
        if seen.radar is not None:
            self._add_radar(site, stations, seen.radar, year, compact)
        if seen.optical is not None:
            self._add_optical(site, stations, seen, year, compact)

    def _add_radar(
        self, site: Site, stations: Sequence[Station], scene: NDArray[np.float32], year: int, day: str
    ) -> None:
        name = f"S1A_IW_GRDH_1SDV_{day}T132103_{day}T132128_009305_00E005_A04D"
        for s, (vv, vh) in zip(stations, _at_stations(scene, stations, SENTINEL1), strict=True):
            if np.isnan(vv) and np.isnan(vh):
                continue
            angle = round(float(site.radar.angle[s.row, s.col]), 3)
            row = _head(f"{name}_{s.index}", s) | {"VH": vh, "VV": vv, "angle": angle, ".geo": _POINTS}
            self._long["s1", year].append(row)

    def _add_optical(
        self, site: Site, stations: Sequence[Station], seen: Observations, year: int, day: str
    ) -> None:
        assert seen.optical is not None
        tile = f"T{site.landscape.grid.crs[-2:]}SIM"
        lst = LST.decode(seen.lst)
        for s, bands in zip(stations, _at_stations(seen.optical, stations, HLS), strict=True):
            if np.isnan(bands).any():
                continue
            cell = site.thermometer.cells.index[s.row * site.landscape.grid.width + s.col]
            warm = round(float(lst[cell]) * 0.02 - _KELVIN, 2)
            values = dict(zip(["B2", "B3", "B4", "B5", "B6", "B7"], bands, strict=True))
            values |= {"B1": round(float(bands[0]) * 0.92, 4), "B9": 0.0012}
            values |= {"B10": warm, "B11": round(warm - 0.8, 2)}
            row = _head(f"{tile}_{day}T172125_{s.index}", s) | values | {".geo": _POINTS}
            self._long["hls", year].append(row)

    def write(self, folder: Path) -> list[str]:
        """Write every table; returns the file names."""
        for (kind, year), rows in self._long.items():
            if kind == "gridmet":
                _write(folder / f"gridmet_SSM_{year}.csv", rows, _GRIDMET)
            elif kind == "lst":
                _write(folder / f"LST_MOD11A1_{year}.csv", rows, ["mean"])
            elif kind == "s1":
                _write(folder / f"S1_SSM_{year}.csv", rows, ["VH", "VV", "angle"])
            else:
                # Large exports come in parts; every part counts.
                half = (len(rows) + 1) // 2
                for part, some in enumerate((rows[:half], rows[half:]), start=1):
                    if some:
                        _write(folder / f"HLSL30_SSM_{year}_{part}.csv", some, _HLS, place_last=True)
        for year, stations in self._smap.items():
            self._write_smap(folder / f"smap_ssm_{year}.csv", stations)
        for year in sorted({land_cover_year(y) for y in self._smap}):
            cover = [_head(s.index, s) | {"mode": code, ".geo": _disc(s)} for s, code in self._cover]
            _write(folder / f"LC_SSM_{year}.csv", cover, ["mode"])
        _write(folder / "constant_SSM.csv", self._constants, _CONSTANTS)
        return sorted(p.name for p in folder.iterdir())

    @staticmethod
    def _write_smap(path: Path, stations: dict[Station, dict[str, Any]]) -> None:
        days = sorted({day for values in stations.values() for day in values})
        rows = []
        for s, values in stations.items():
            named = {f"{day}_sm_surface": values.get(day, np.float32(np.nan)) for day in days}
            rows.append(_head(s.index, s) | named | {".geo": _disc(s)})
        _write(path, rows, [f"{day}_sm_surface" for day in days], place_last=True)


def _at_stations(
    scene: NDArray[np.float32], stations: Sequence[Station], packing: Packing
) -> NDArray[np.float32]:
    """What the stored scene holds at stations, shape (stations, bands)."""
    rows, cols = [s.row for s in stations], [s.col for s in stations]
    return packing.decode(packing.encode(scene[:, rows, cols].T))


def _head(index: str, station: Station) -> dict[str, Any]:
    return {
        "system:index": index,
        "ID": station.id,
        "Latitude": station.latitude,
        "Longitude": station.longitude,
        "Network": station.network,
    }


def _disc(station: Station) -> str:
    """Outline of the disc that the export averages over, as drawn in the `.geo` column."""
    lon, lat, r = round(station.longitude, 4), round(station.latitude, 4), 0.0006
    ring = [(lon - r, lat), (lon, lat - r), (lon + r, lat), (lon, lat + r), (lon - r, lat)]
    points = [[round(x, 4), round(y, 4)] for x, y in ring]
    return json.dumps({"geodesic": False, "type": "Polygon", "coordinates": [points]}, separators=(",", ":"))


def _hillshade(slope: float, aspect: float) -> float:
    """Earth Engine's hillshade, 0-255, with its default sun: in the west, 45 degrees high."""
    zenith, slope, turn = np.radians(45.0), np.radians(slope), np.radians(270.0 - aspect)
    lit = np.cos(zenith) * np.cos(slope) + np.sin(zenith) * np.sin(slope) * np.cos(turn)
    return float(np.clip(255.0 * lit, 0.0, 255.0))


def _write(path: Path, rows: list[dict[str, Any]], values: list[str], place_last: bool = False) -> None:
    columns = [*values, *_PLACE] if place_last else [*_PLACE, *values]
    frame = pd.DataFrame(rows, columns=["system:index", *columns, ".geo"])
    # float32 columns are written as the shortest decimal that reads back to the same float32.
    for name in values:
        if isinstance(rows[0][name], np.float32):
            frame[name] = frame[name].astype(np.float32)
    frame.to_csv(path, index=False)
