"""Through the door `planetary`: a simulated region as the archives would serve it, from `init` to maps."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.warp
from pyproj import CRS
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "sources/remote"))

from archive_standin import ArchiveStandIn

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.cli.main import app
from mmnet_maps.learn.bundle import save_bundle
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.presets import SOURCES, preset
from mmnet_maps.simulated import SimulationConfig, simulate_region

CONFIG = SimulationConfig.from_mapping(
    {
        "region_pixels": 48, "first_day": "2020-05-20", "last_day": "2020-05-21", "history_days": 90,
        "spin_up_days": 5, "validation_stations": 0,
    }
)  # fmt: skip
WORLD = [-99.5, 35.5, -97.5, 37.5]
ADDRESSES = {
    "https://planetarycomputer.microsoft.com/api/stac/v1": "stac",
    "https://cmr.earthdata.nasa.gov/stac/NSIDC_CPRD": "stac",
    "https://www.northwestknowledge.net/metdata/data/": "files/gridmet/",
    "http://hydrology.cee.duke.edu/POLARIS/PROPERTIES/v1.0/vrt/": "files/soil/",
    "https://www.mrlc.gov/downloads/sciweb1/shared/mrlc/data-bundles/": "files/nlcd/",
}
BANDS = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")


def run(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def band_of(source: Path, index: int, out: Path, values: Any = None, **profile: Any) -> Path:
    """One band of a raster as a file of its own."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file:
        stored = file.read(index) if values is None else values
        kept = {**file.profile, "count": 1, "dtype": stored.dtype, "nodata": file.nodata, **profile}
        with rasterio.open(out, "w", **kept) as made:
            made.write(stored, 1)
            if values is None:
                made.scales, made.offsets = (file.scales[index - 1],), (file.offsets[index - 1],)
    return out


def granule(source: Path, out: Path) -> Path:
    """A field of SMAP in the layout of SPL4SMGP."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file, h5py.File(out, "w") as made:
        values = (file.read(1, masked=True) * np.float32(file.scales[0])).filled(-9999).astype(np.float32)
        a, e, c, f = file.transform.a, file.transform.e, file.transform.c, file.transform.f
        made["x"] = c + (np.arange(-2, file.width + 2) + 0.5) * a
        made["y"] = f + (np.arange(-2, file.height + 2) + 0.5) * e
        wide = np.pad(values, 2, constant_values=-9999)
        data = made.create_dataset("Geophysical_Data/sm_surface", data=wide)
        data.attrs["_FillValue"] = np.float32(-9999)
        place = made.create_dataset("EASE2_global_projection", data=0)
        place.attrs["grid_mapping_name"] = "lambert_cylindrical_equal_area"
        place.attrs["standard_parallel"], place.attrs["longitude_of_central_meridian"] = 30.0, 0.0
    return out


def serve(server: ArchiveStandIn, rasters: Path) -> None:
    """Fill an archive with what the rasters hold, named and stored as upstream does it."""
    root = server.root
    for path in sorted((rasters / "hls").glob("HLS_*.tif")):
        day, name = path.stem[4:], f"HLS.L30.T14SNF.{path.stem[4:]}.v2.0"
        keys = [f"B{k + 2:02d}" for k in range(len(BANDS))]
        bands = {key: band_of(path, k + 1, root / f"hls/{name}.{key}.tif") for k, key in enumerate(keys)}
        with rasterio.open(path) as file:
            clear = np.zeros(file.shape, np.uint8)
        bands["Fmask"] = band_of(path, 1, root / f"hls/{name}.Fmask.tif", clear, nodata=255)
        server.add(name, "hls2-l30", f"{day[:4]}-{day[4:6]}-{day[6:]}", WORLD, **bands)
    for path in sorted((rasters / "sentinel1").glob("S1_*.tif")):
        day, assets = path.stem[3:], {}
        with rasterio.open(path) as file:
            for k, key in enumerate(("vv", "vh")):
                level = file.read(k + 1, masked=True) * file.scales[k]
                power = (10 ** (level / 10)).filled(np.nan).astype(np.float32)
                assets[key] = band_of(path, k + 1, root / f"s1/{day}_{key}.tif", power, nodata=np.nan)
        server.add(f"S1_{day}", "sentinel-1-rtc", f"{day[:4]}-{day[4:6]}-{day[6:]}", WORLD, **assets)
    for path in sorted((rasters / "smap").glob("SMAP_*.tif")):
        day = path.stem[5:]
        file = granule(path, root / f"smap/SMAP_L4_SM_gph_{day}T013000_Vv8000_001.h5")
        server.add(file.stem, "SPL4SMGP_008", f"{day[:4]}-{day[4:6]}-{day[6:]}", WORLD, data=file)
    for path in sorted((rasters / "modis").glob("LST_*.tif")):
        day = path.stem[4:]
        lst = band_of(path, 1, root / f"modis/{day}_LST_Day_1km.tif")
        with rasterio.open(path) as file:
            good = np.zeros(file.shape, np.uint8)
        quality = band_of(path, 1, root / f"modis/{day}_QC_Day.tif", good, nodata=255)
        assets = {"LST_Day_1km": lst, "QC_Day": quality}
        server.add(f"MOD11A1.A{day}", "modis-11A1-061", f"{day[:4]}-{day[4:6]}-{day[6:]}", WORLD, **assets)
    dem = band_of(rasters / "terrain/elevation.tif", 1, root / "dem/n37w099.tif")
    server.add("n37w099", "3dep-seamless", "2020-01-01", WORLD, data=dem)
    (root / "gridmet").mkdir()
    for path in (rasters / "gridmet").glob("*.nc"):
        shutil.copy(path, root / "gridmet" / path.name.replace("eto_", "pet_"))
    for name in ("clay", "sand", "bd"):
        tile = band_of(rasters / f"soil/{name}.tif", 1, root / f"soil/tiles/{name}.tif")
        with rasterio.open(tile) as file:
            a, _, c, _, e, f = tuple(file.transform)[:6]
            kind = {"uint16": "UInt16", "int16": "Int16", "uint8": "Byte", "float32": "Float32"}[
                file.dtypes[0]
            ]
            (root / f"soil/{name}_mean_0_5.vrt").write_text(
                f'<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}">'
                f"<SRS>{CRS.from_wkt(file.crs.to_wkt()).to_string()}</SRS>"
                f"<GeoTransform>{c}, {a}, 0, {f}, 0, {e}</GeoTransform>"
                f'<VRTRasterBand dataType="{kind}" band="1"><NoDataValue>{file.nodata}</NoDataValue>'
                f"<Scale>{file.scales[0]}</Scale><SimpleSource>"
                f'<SourceFilename relativeToVRT="1">tiles/{name}.tif</SourceFilename>'
                "<SourceBand>1</SourceBand>"
                "</SimpleSource></VRTRasterBand></VRTDataset>"
            )
    (root / "nlcd").mkdir()
    (cover,) = (rasters / "landcover").glob("LC_*.tif")
    with zipfile.ZipFile(root / "nlcd/Annual_NLCD_LndCov_2020_CU_C1V0.zip", "w") as packed:
        packed.write(cover, "Annual_NLCD_LndCov_2020_CU_C1V0.tif")


def test_from_a_box_to_maps_through_the_planetary_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_region(CONFIG, tmp_path / "made")
    rasters, days = tmp_path / "made/rasters", ("--start", "2020-05-20", "--end", "2020-05-21")
    monkeypatch.setenv("EARTHDATA_TOKEN", "t")
    (tmp_path / "archive").mkdir()
    with ArchiveStandIn(tmp_path / "archive", page=50) as server:
        serve(server, rasters)
        own = tmp_path / "own/planetary"
        own.mkdir(parents=True)
        for name in SOURCES:
            text = preset("planetary", name)
            for address, place in ADDRESSES.items():
                text = text.replace(address, f"{server.url}/{place}")
            (own / f"{name}.yaml").write_text(text)
        with rasterio.open(rasters / "terrain/elevation.tif") as file:
            left, bottom, right, top = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        box = f"{left + 0.004},{bottom + 0.004},{right - 0.004},{top - 0.004}"
        catalogue = published_catalogue()
        save_bundle(made_up_bundle("mmnet", catalogue), tmp_path / "bundle")
        run("init", f"--region={box}", *days, "--door", "planetary", "--presets", tmp_path / "own",
            "--out", tmp_path / "cube.yaml")  # fmt: skip
        fast = [f"--set=http.{k}" for k in (f"sign_url={server.url}/sign", "requests_per_second=5000")]
        run("cube", "check", tmp_path / "cube.yaml", *fast)
        run("cube", "build", "--config", tmp_path / "cube.yaml", "--out", tmp_path / "cube.zarr", *fast)
    run("init", f"--region={box}", *days, "--door", f"simulated:{rasters}", "--out", tmp_path / "here.yaml")
    run("cube", "build", "--config", tmp_path / "here.yaml", "--out", tmp_path / "here.zarr")
    there, here = open_cube(tmp_path / "cube.zarr"), open_cube(tmp_path / "here.zarr")
    for name in ("NIR", "SWIR2", "SMAP", "LST", "eto", "pr", "clay", "bd", "LC", "elevation", "VV"):
        one, other = (cube.source_of(name) for cube in (there, here))
        assert one.grid.shape == other.grid.shape, name
        every = slice(0, one.grid.height), slice(0, one.grid.width)
        values = [s.variables[name].decode(s.read(name, 0, s.steps, *every)) for s in (one, other)]
        if name == "VV":  # smoothed once more: the level of the field stays
            assert abs(np.nanmean(values[0]) - np.nanmean(values[1])) < 0.3
            continue
        np.testing.assert_allclose(
            *values, rtol=1e-5, atol=0.006 if name == "elevation" else 1e-6, err_msg=name
        )
    where = ("--bundle", tmp_path / "bundle", "--cube", tmp_path / "cube.zarr", "--out", tmp_path / "p.zarr")
    run("predict", *where, *days)
    run("export", "--product", tmp_path / "p.zarr", "--out", tmp_path / "maps")
    with rasterio.open(tmp_path / "maps/soil_moisture_20200520.tif") as file:
        assert file.read(1, masked=True).count() > 100
