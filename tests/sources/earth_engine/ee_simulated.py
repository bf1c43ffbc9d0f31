"""A simulated region as a world for the stand-in: what its rasters hold, as the catalog would serve it.

The rasters hold what the masks have left. Here the masks are undone: a pixel that is missing in a file has a
wrong value and the flag, or the value out of range, by which the method takes it away again. Where no flag
exists (gridMET, SMAP) it is masked in the asset.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import rasterio
from ee_region import millis
from ee_world import Scene, World

from mmnet_maps.assets import ASSETS
from mmnet_maps.simulated.packings import GRIDMET_NAMES

#: Differences of the eight fields of a day from its mean.
_TURN = np.array([-4, -3, -2, -1, 1, 2, 3, 4]) * 1e-3


def settings_of(crs: str) -> dict[str, Any]:
    """Sources that differ from the published ones as the simulated rasters do.

    The simulated radar is at 30 m and smoothed already; terrain and soil lie on the region's own grid, and
    are sampled there.
    """
    data = {name: ASSETS[name].model_dump(mode="json") for name in ("sentinel1", "terrain", "soil")}
    data["sentinel1"] |= {"pixel": 30.0}
    data["sentinel1"]["assets"][0]["smooth"] = {}
    data["terrain"]["crs"] = data["soil"]["crs"] = crs
    return data


def world_of(rasters: Path) -> World:
    """Every published collection, filled from the folder of rasters."""
    world: World = {ASSETS[n].assets[0].id: [] for n in ("hls", "sentinel1", "smap", "gridmet", "modis")}
    for path in sorted((rasters / "hls").glob("*.tif")):
        day, scene, names = _read(path)
        bands = {ASSETS["hls"].assets[0].bands[n].name: v for n, v in names.items()}
        hidden = np.isnan(bands["B2"])
        bands = {n: np.where(hidden, 0.9, v) for n, v in bands.items()}
        extra = dict.fromkeys(("B1", "B9", "B10", "B11"), np.full(hidden.shape, 0.5))
        # Cloud and shadow, by turns.
        flag = np.where(np.indices(hidden.shape).sum(0) % 2, 2.0, 8.0)
        flags = {"Fmask": np.where(hidden, flag, 0.0)}
        scene.index, scene.bands, scene.time = (
            f"T14SIM_{day:%Y%m%d}T172125",
            bands | extra | flags,
            millis(day, 17),
        )
        world[ASSETS["hls"].assets[0].id].append(scene)
    for path in sorted((rasters / "sentinel1").glob("*.tif")):
        day, scene, bands = _read(path)
        bands = {n: np.where(np.isnan(v), -40.0, v) for n, v in bands.items()}
        bands["angle"] = np.full(bands["VV"].shape, 39.0)
        scene.index = f"S1A_IW_GRDH_1SDV_{day:%Y%m%d}T132103_{day:%Y%m%d}T132128_009305_00E005_A04D"
        scene.bands, scene.time = bands, millis(day, 13)
        scene.properties = {"instrumentMode": "IW", "transmitterReceiverPolarisation": ["VV", "VH"]}
        world[ASSETS["sentinel1"].assets[0].id].append(scene)
    for path in sorted((rasters / "smap").glob("*.tif")):
        day, scene, bands = _read(path)
        for hour, turn in zip(range(1, 24, 3), _TURN, strict=True):
            field = {"sm_surface": bands["SMAP"] + turn}
            index = f"{day:%Y%m%d}_{hour:02d}30"
            world[ASSETS["smap"].assets[0].id].append(
                Scene(index, scene.crs, scene.transform, field, millis(day, hour))
            )
    for path in sorted((rasters / "modis").glob("*.tif")):
        day, scene, bands = _read(path)
        hidden = np.isnan(bands["LST"])
        scene.crs, scene.index, scene.time = "SR-ORG:6974", f"{day:%Y_%m_%d}", millis(day)
        scene.bands = {
            "LST_Day_1km": np.where(hidden, 14000.0, bands["LST"]),
            "QC_Day": np.where(hidden, 2.0, 65.0),
        }
        world[ASSETS["modis"].assets[0].id].append(scene)
    world[ASSETS["gridmet"].assets[0].id] = _weather(rasters / "gridmet")
    elevation = _read(rasters / "terrain" / "elevation.tif")[1]
    world[ASSETS["terrain"].assets[0].id] = elevation
    for asset in ASSETS["soil"].assets:
        (name,) = asset.bands
        _, scene, bands = _read(rasters / "soil" / f"{name}.tif")
        scene.bands = {"b1": bands[name]}
        world[asset.id] = scene
    for asset in ASSETS["landcover"].assets:
        path = rasters / "landcover" / f"LC_{asset.year}.tif"
        # The simulation has no edition of 2016, and no day that would need it.
        first = min((rasters / "landcover").glob("LC_*.tif"))
        _, scene, bands = _read(path if path.exists() else first)
        scene.bands = {"landcover": bands["LC"]}
        world[asset.id] = scene
    return world


def _read(path: Path) -> tuple[dt.date, Scene, dict[str, np.ndarray]]:
    """Day (1970-01-01 where the name has none), scene and bands of a file; NaN where it is missing."""
    with rasterio.open(path) as file:
        stored = file.read()
        bands = {}
        for i, name in enumerate(file.descriptions):
            values = stored[i].astype(np.float64) * file.scales[i] + file.offsets[i]
            bands[name] = np.where(stored[i] == file.nodata, np.nan, values)
        stamp = path.stem.rsplit("_", 1)[-1]
        day = dt.datetime.strptime(stamp, "%Y%m%d").date() if len(stamp) == 8 else dt.date(1970, 1, 1)
        return day, Scene(path.stem, file.crs.to_string(), file.transform, bands), bands


def _weather(folder: Path) -> list[Scene]:
    """A scene a day from the yearly files of every variable."""
    fields: dict[dt.date, dict[str, np.ndarray]] = {}
    for name in ASSETS["gridmet"].variables:
        for path in sorted(folder.glob(f"{name}_*.nc")):
            with h5netcdf.File(path) as file:
                variable = file[GRIDMET_NAMES[name][0]]
                stored, facts = variable[...], variable.attrs
                values = stored * float(facts["scale_factor"]) + float(facts["add_offset"])
                values = np.where(stored == facts["_FillValue"], np.nan, values)
                lat, lon = file["lat"][...], file["lon"][...]
                for day, field in zip(file["day"][...], values, strict=True):
                    date = dt.date(1900, 1, 1) + dt.timedelta(days=int(day))
                    fields.setdefault(date, {})[name] = field
    size = 1 / 24
    transform = rasterio.Affine(size, 0, lon[0] - size / 2, 0, -size, lat[0] + size / 2)
    return [
        Scene(f"{day:%Y%m%d}", "EPSG:4326", transform, bands, millis(day, 6))
        for day, bands in sorted(fields.items())
    ]
