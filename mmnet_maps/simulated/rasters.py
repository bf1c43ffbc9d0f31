"""The mapped region, written as the files that a user has: each source on its own grid and CRS."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.progress import steps
from mmnet_maps.simulated import packings
from mmnet_maps.simulated.climates import CLIMATES
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.exports import RawExports, land_cover_year, stored_constants
from mmnet_maps.simulated.fields import generator
from mmnet_maps.simulated.folders import fresh_folders
from mmnet_maps.simulated.geotiff import write_geotiff
from mmnet_maps.simulated.landscape import square_grid
from mmnet_maps.simulated.places import Probe, choose_stations, write_in_situ, write_network
from mmnet_maps.simulated.scenes import BANDS
from mmnet_maps.simulated.site import Observations, Site, day_number

__all__ = ["simulate_region"]

#: Number of the mapped region among the places of a simulation, and of its first validation station.
_PLACE, _FIRST_STATION = 9_001, 1_001
_TRUTH_README = """True 0-5 cm soil moisture of the simulated region, for validation only.

Nothing that trains or predicts may read this folder: maps made with its help say nothing about how
well maps are made without it.
"""


def simulate_region(config: SimulationConfig, out: Path) -> dict[str, Any]:
    """Simulate the mapped region.

    Writes under `out`, each folder complete or not at all: ``rasters/`` (HLS, Sentinel-1, SMAP, gridMET,
    MODIS, terrain, soil and land cover on their own grids), ``region/`` (stations for validation:
    ``in_situ.csv``, ``network.gpkg``, and ``raw/``, what the rasters hold at these stations in the published
    export layout) and ``truth/`` (the true soil moisture of the mapped days).

    Parameters
    ----------
    config : SimulationConfig
    out : Path
        Folder of the simulation.

    Returns
    -------
    dict
        ``grid`` (of the maps, `Grid.to_dict`), ``first_day``, ``last_day``, ``history_start``, ``scenes``
        (number of files a source), ``stations``, and the paths ``rasters``, ``truth``, ``in_situ``,
        ``network``, ``raw``.

    Raises
    ------
    InputError
        One of the folders is there and is no simulation.
    """
    grid = square_grid(config.crs, config.longitude, config.latitude, config.region_pixels, config.resolution)
    climate = CLIMATES[config.region_climate]
    # The rasters come last: who finds them finds everything.
    with fresh_folders(config, out, ("truth", "region", "rasters")) as root:
        site = Site(config, _PLACE, climate, grid, config.region_history_start, config.last_day)
        stations = choose_stations(
            generator(config.seed, _PLACE, 30), site, config.validation_stations, _FIRST_STATION
        )
        rasters = _Rasters(root / "rasters", site)
        truth = _Truth(root / "truth", grid, day_number(config.first_day), day_number(config.last_day))
        probe, exports, rows = Probe(generator(config.seed, _PLACE, 31), stations), RawExports(), []
        exports.add_site(site, stations)
        days = day_number(config.last_day) - day_number(config.region_history_start) + 1
        with steps("Simulating the mapped region", days) as advance:
            for seen in site.days():
                rasters.add_day(seen)
                truth.add_day(seen)
                exports.add_day(site, stations, seen)
                rows += probe.read(seen)
                advance()
        rasters.finish()
        (root / "region" / "raw").mkdir()
        if stations:
            exports.write(root / "region" / "raw")
        write_in_situ(root / "region" / "in_situ.csv", rows)
        write_network(root / "region" / "network.gpkg", stations)
    return {
        "grid": grid.to_dict(),
        "first_day": config.first_day.isoformat(),
        "last_day": config.last_day.isoformat(),
        "history_start": config.region_history_start.isoformat(),
        "scenes": dict(rasters.count),
        "stations": len(stations),
        "rasters": str(out / "rasters"),
        "truth": str(out / "truth" / "soil_moisture.zarr"),
        "in_situ": str(out / "region" / "in_situ.csv"),
        "network": str(out / "region" / "network.gpkg"),
        "raw": str(out / "region" / "raw"),
    }


class _Rasters:
    """Writes the rasters of a site as its days pass."""

    def __init__(self, folder: Path, site: Site) -> None:
        self._folder, self._site = folder, site
        self._weather: dict[str, list[NDArray[np.uint16]]] = defaultdict(list)
        self._days: list[int] = []
        self.count: dict[str, int] = defaultdict(int)
        for source in ("hls", "sentinel1", "smap", "gridmet", "modis", "terrain", "soil", "landcover"):
            (folder / source).mkdir()
        grid, stored = site.landscape.grid, stored_constants(site)
        for name, values in stored.items():
            source = "terrain" if name in packings.TERRAIN else "soil"
            packing = (packings.TERRAIN | packings.SOIL)[name]
            self._geotiff(source, f"{name}.tif", grid, values[None], (name,), packing)

    def _geotiff(
        self,
        source: str,
        name: str,
        grid: Grid,
        values: NDArray[Any],
        bands: tuple[str, ...],
        packing: Packing,
    ) -> None:
        write_geotiff(self._folder / source / name, grid, values, bands, packing)
        self.count[source] += 1

    def add_day(self, seen: Observations) -> None:
        """Write a day's files; the weather is kept for the yearly ones."""
        site, stamp = self._site, str(np.datetime64(seen.day, "D")).replace("-", "")
        fine = site.landscape.grid
        self._days.append(seen.day)
        for name, values in seen.weather.items():
            self._weather[name].append(values)
        coarse = site.radiometer.cells.grid
        smap = seen.smap.reshape(1, *coarse.shape)
        self._geotiff("smap", f"SMAP_{stamp}.tif", coarse, smap, ("SMAP",), packings.SMAP)
        middle = site.thermometer.cells.grid
        lst = seen.lst.reshape(1, *middle.shape)
        self._geotiff("modis", f"LST_{stamp}.tif", middle, lst, ("LST",), packings.LST)
        if seen.optical is not None:
            optical = _by_band(seen.optical, packings.HLS)
            self._geotiff("hls", f"HLS_{stamp}.tif", fine, optical, BANDS, packings.HLS)
        if seen.radar is not None:
            radar = _by_band(seen.radar, packings.SENTINEL1)
            self._geotiff("sentinel1", f"S1_{stamp}.tif", fine, radar, ("VV", "VH"), packings.SENTINEL1)

    def finish(self) -> None:
        """Write what comes in yearly files."""
        days = np.array(self._days, dtype=np.int64)
        years = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
        code = self._site.landscape.cover.code
        for release in sorted({land_cover_year(int(y)) for y in years}):
            name = f"LC_{release}.tif"
            grid = self._site.landscape.grid
            self._geotiff("landcover", name, grid, code[None], ("LC",), packings.LAND_COVER)
        grid = self._site.weather_cells.grid
        for name, values in self._weather.items():
            stack = np.stack(values).reshape(-1, *grid.shape)
            for year in np.unique(years):
                path = self._folder / "gridmet" / f"{name}_{year}.nc"
                _write_gridmet(path, name, grid, days[years == year], stack[years == year])
                self.count["gridmet"] += 1


def _by_band(scene: NDArray[np.float32], packing: Packing) -> NDArray[Any]:
    """Store a scene band by band: packing works in double precision, which a whole scene has no room for."""
    return np.stack([packing.encode(band) for band in scene])


def _write_gridmet(
    path: Path, name: str, grid: Grid, days: NDArray[np.int64], stored: NDArray[np.uint16]
) -> None:
    """Write a variable of a year as gridMET does: (day, lat, lon), packed integers, days since 1900."""
    packing = packings.WEATHER[name]
    inner, unit = packings.GRIDMET_NAMES[name]
    since_1900 = (days - (np.datetime64("1900-01-01") - np.datetime64("1970-01-01")).astype(int)).astype(
        float
    )
    axes = {
        "day": (
            since_1900,
            {"units": "days since 1900-01-01", "calendar": "gregorian", "standard_name": "time"},
        ),
        "lat": (grid.y(np.arange(grid.height)), {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": (grid.x(np.arange(grid.width)), {"units": "degrees_east", "standard_name": "longitude"}),
    }
    with h5netcdf.File(path, "w") as file:
        file.attrs["Conventions"] = "CF-1.6"
        file.dimensions = {axis: values.size for axis, (values, _) in axes.items()}
        for axis, (values, attributes) in axes.items():
            variable = file.create_variable(axis, (axis,), data=values)
            variable.attrs.update(attributes)
        place = file.create_variable("crs", (), data=np.uint16(3))
        place.attrs.update({"grid_mapping_name": "latitude_longitude", "spatial_ref": CRS(grid.crs).to_wkt()})
        variable = file.create_variable(
            inner, ("day", "lat", "lon"), data=stored, fillvalue=np.uint16(int(packing.missing or 0))
        )
        variable.attrs.update(
            {
                "units": unit,
                "standard_name": inner,
                "scale_factor": packing.scale,
                "add_offset": packing.offset,
                "grid_mapping": "crs",
            }
        )


class _Truth:
    """Writes the true soil moisture of the mapped days: Zarr v3, (time, y, x), a chunk a day."""

    def __init__(self, folder: Path, grid: Grid, first: int, last: int) -> None:
        (folder / "README").write_text(_TRUTH_README, encoding="utf-8")
        self._first, packing = first, packings.MOISTURE
        group = zarr.open_group(folder / "soil_moisture.zarr", mode="w", zarr_format=3)
        days = np.arange(first, last + 1, dtype=np.int64)
        axes = {
            "time": (days, {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}),
            "y": (grid.y(np.arange(grid.height)), {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": (grid.x(np.arange(grid.width)), {"units": "m", "standard_name": "projection_x_coordinate"}),
        }
        for name, (values, attributes) in axes.items():
            array = group.create_array(name, data=values, dimension_names=(name,))
            array.attrs.update(attributes)
        place = group.create_array("spatial_ref", data=np.array(0, dtype=np.int64), dimension_names=())
        transform = grid.transform
        gdal = (transform[2], transform[0], transform[1], transform[5], transform[3], transform[4])
        wkt = CRS(grid.crs).to_wkt()
        place.attrs.update({"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": " ".join(map(repr, gdal))})
        self._array = group.create_array(
            "soil_moisture",
            shape=(days.size, *grid.shape),
            chunks=(1, *grid.shape),
            dtype=packing.dtype,
            fill_value=int(packing.missing or 0),
            dimension_names=("time", "y", "x"),
        )
        self._array.attrs.update(
            {
                "_FillValue": int(packing.missing or 0),
                "scale_factor": packing.scale,
                "units": "m3 m-3",
                "long_name": "true volumetric soil moisture, 0-5 cm",
                "grid_mapping": "spatial_ref",
            }
        )

    def add_day(self, seen: Observations) -> None:
        """Keep a day, if it is one that is mapped."""
        if seen.day >= self._first:
            self._array[seen.day - self._first] = packings.MOISTURE.encode(seen.moisture)
