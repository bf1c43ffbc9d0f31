"""The example of docs/howto/cube.md, built from files with the names and forms that archives give them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import geopandas
import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from affine import Affine
from pyproj import Transformer
from shapely import box

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Tile, cell_lookup
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube, open_cube

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "cube.md"
LEFT, TOP, WIDTH, HEIGHT = 540000.0, 4040900.0, 1200.0, 900.0
SPHERE = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m +no_defs"
#: What every variable is, everywhere, in the catalogue's unit.
VALUES = {
    "SMAP": 0.23, "Blue": 0.05, "Green": 0.07, "Red": 0.09, "NIR": 0.31, "SWIR1": 0.25, "SWIR2": 0.2,
    "VV": -12.0, "VH": -19.0, "eto": 5.1, "etr": 6.2, "pr": 3.3, "sph": 0.008, "srad": 251.0, "vpd": 1.25,
    "vs": 4.2, "LST": 15000.0, "elevation": 310.0, "slope": 0.0, "clay": 21.0, "sand": 44.0, "bd": 1.4,
    "LC": 71.0,
}  # fmt: skip


def around(crs: str, pixel: float, margin: float) -> tuple[Affine, int, int]:
    """Transform, height and width of a grid in another CRS over the region and a margin, in its units."""
    x = np.linspace(LEFT, LEFT + WIDTH, 20)
    y = np.linspace(TOP - HEIGHT, TOP, 20)
    east, north = Transformer.from_crs("EPSG:32614", crs, always_xy=True).transform(*np.meshgrid(x, y))
    west, top = (
        np.floor((east.min() - margin) / pixel) * pixel,
        np.ceil((north.max() + margin) / pixel) * pixel,
    )
    wide, high = (east.max() + margin - west) / pixel, (top - north.min() + margin) / pixel
    return Affine(pixel, 0, west, 0, -pixel, top), int(np.ceil(high)), int(np.ceil(wide))


def tif(
    path: Path,
    bands: dict[str, Any],
    crs: str,
    place: tuple[Affine, int, int],
    nodata: Any,
    scale: float = 1.0,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform, height, width = place
    first = np.asarray(next(iter(bands.values())))
    with rasterio.open(
        path, "w", "GTiff", width, height, len(bands), crs, transform, first.dtype, nodata=nodata
    ) as file:
        file.write(np.stack([np.full((height, width), value) for value in bands.values()]))
        file.descriptions = tuple(bands)
        file.scales = (scale,) * len(bands)


def hls(folder: Path) -> None:
    names = {
        "L30": ("B02", "B03", "B04", "B05", "B06", "B07"),
        "S30": ("B02", "B03", "B04", "B8A", "B11", "B12"),
    }
    bands = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")
    place = around("EPSG:32614", 30.0, 300.0)
    for sensor, day in (("L30", "2020137T171919"), ("S30", "2020139T172121")):
        stem = f"HLS.{sensor}.T14SNF.{day}.v2.0"
        for name, band in zip(bands, names[sensor], strict=True):
            tif(
                folder / f"{stem}.{band}.tif",
                {band: np.int16(round(VALUES[name] * 1e4))},
                "EPSG:32614",
                place,
                -9999,
                1e-4,
            )
        tif(folder / f"{stem}.B01.tif", {"B01": np.int16(1)}, "EPSG:32614", place, -9999, 1e-4)
        tif(folder / f"{stem}.Fmask.tif", {"Fmask": np.uint8(64)}, "EPSG:32614", place, 255)
    tif(
        folder / "HLS.S30.T14SNF.2020139T172121.v2.0.B05.tif",
        {"B05": np.int16(1800)},
        "EPSG:32614",
        place,
        -9999,
        1e-4,
    )


def smap(folder: Path) -> None:
    folder.mkdir(parents=True)
    transform, height, width = around("EPSG:6933", 9008.055, 20000.0)
    for hour in range(1, 24, 3):
        with h5py.File(folder / f"SMAP_L4_SM_gph_20200517T{hour:02d}3000_Vv8010_001.h5", "w") as file:
            file["x"] = transform.c + (np.arange(width) + 0.5) * transform.a
            file["y"] = transform.f + (np.arange(height) + 0.5) * transform.e
            mapping = file.create_dataset("EASE2_global_projection", data=b"")
            mapping.attrs["grid_mapping_name"] = b"lambert_cylindrical_equal_area"
            mapping.attrs["standard_parallel"] = 30.0
            data = file.create_dataset(
                "Geophysical_Data/sm_surface", data=np.full((height, width), 0.23, "float32")
            )
            data.attrs.update(
                {"_FillValue": np.float32(-9999), "units": b"m3 m-3", "valid_max": np.float32(0.9)}
            )


def gridmet(folder: Path) -> None:
    folder.mkdir(parents=True)
    transform, height, width = around("EPSG:4326", 1 / 24, 0.1)
    inside = {
        "pet": ("potential_evapotranspiration", "mm", 0.1, "eto"),
        "etr": ("potential_evapotranspiration", "mm", 0.1, "etr"),
        "pr": ("precipitation_amount", "mm", 0.1, "pr"), "sph": ("specific_humidity", "kg/kg", 1e-5, "sph"),
        "srad": ("surface_downwelling_shortwave_flux_in_air", "W m-2", 0.1, "srad"),
        "vpd": ("mean_vapor_pressure_deficit", "kPa", 0.01, "vpd"), "vs": ("wind_speed", "m/s", 0.1, "vs"),
    }  # fmt: skip
    for file, (name, unit, scale, ours) in inside.items():
        stored = np.full((3, height, width), round(VALUES[ours] / scale), "uint16")
        attrs = {"units": unit, "scale_factor": scale, "add_offset": 0.0, "missing_value": np.int16(32767)}
        data = xr.Dataset(
            {name: (("day", "lat", "lon"), stored, attrs)},
            coords={
                "day": ("day", 43966 + np.arange(3), {"units": "days since 1900-01-01 00:00:00"}),
                "lat": (
                    "lat",
                    transform.f + (np.arange(height) + 0.5) * transform.e,
                    {"units": "degrees_north"},
                ),
                "lon": (
                    "lon",
                    transform.c + (np.arange(width) + 0.5) * transform.a,
                    {"units": "degrees_east"},
                ),
            },
        )
        data[name].encoding["_FillValue"] = np.uint16(32767)
        data.to_netcdf(folder / f"{file}_2020.nc", engine="h5netcdf")


def modis(folder: Path) -> None:
    from pyhdf.SD import SD, SDC

    folder.mkdir(parents=True)
    transform, height, width = around(SPHERE, 926.625433, 3000.0)
    right, bottom = transform * (width, height)
    for day in (138, 139):
        file = SD(str(folder / f"MOD11A1.A2020{day}.h10v05.061.2020140083045.hdf"), SDC.WRITE | SDC.CREATE)
        file.attr("StructMetadata.0").set(
            SDC.CHAR,
            f"GROUP=GridStructure\n\t\tXDim={width}\n\t\tYDim={height}\n"
            f"\t\tUpperLeftPointMtrs=({transform.c:.6f},{transform.f:.6f})\n"
            f"\t\tLowerRightMtrs=({right:.6f},{bottom:.6f})\n"
            "\t\tProjection=GCTP_SNSOID\n\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)\n",
        )
        layers = (("LST_Day_1km", SDC.UINT16, "uint16", 15000), ("QC_Day", SDC.UINT8, "uint8", 0))
        for name, kind, dtype, value in layers:
            layer = file.create(name, kind, (height, width))
            layer[:] = np.full((height, width), value, dtype)
            if name == "LST_Day_1km":
                layer.attr("_FillValue").set(SDC.UINT16, 0)
                layer.attr("scale_factor").set(SDC.FLOAT64, 0.02)
                layer.attr("units").set(SDC.CHAR, "K")
            layer.endaccess()
        file.end()


def write_all(folder: Path) -> None:
    hls(folder / "hls")
    smap(folder / "smap")
    gridmet(folder / "gridmet")
    modis(folder / "mod11a1")
    name = "S1A_IW_GRDH_1SDV_20200517T003113_20200517T003138_032606_03C6D6_9E3B.tif"
    bands = {"VV": np.float32(-12), "VH": np.float32(-19), "angle": np.float32(39)}
    tif(folder / "sentinel1" / name, bands, "EPSG:32614", around("EPSG:32614", 10.0, 200.0), None)
    fine = around("EPSG:4269", 1 / 10800, 0.01)
    tif(folder / "terrain" / "USGS_13_n37w098.tif", {"": np.float32(310)}, "EPSG:4269", fine, -999999)
    second = around("EPSG:4326", 1 / 3600, 0.01)
    for variable in ("clay", "sand", "bd"):
        tif(
            folder / "soil" / f"{variable}_mean_0_5.tif",
            {"": np.float32(VALUES[variable])},
            "EPSG:4326",
            second,
            -9999,
        )
    albers = around("EPSG:5070", 30.0, 300.0)
    for year in (2019, 2021):
        tif(
            folder / "landcover" / f"Annual_NLCD_LndCov_{year}_CU_C1V0.tif",
            {"": np.uint8(71)},
            "EPSG:5070",
            albers,
            None,
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Cube]:
    folder = tmp_path_factory.mktemp("county")
    write_all(folder / "rasters")
    county = box(LEFT, TOP - HEIGHT, LEFT + WIDTH, TOP)
    geopandas.GeoDataFrame(geometry=[county], crs="EPSG:32614").to_file(folder / "county.gpkg")
    text = re.search(r"```yaml\n(# cube.yaml.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert text is not None
    config = CubeConfig.from_mapping(yaml.safe_load(text[1]))
    summary = build_from_config(config, folder, folder / "cube.zarr")
    return summary, open_cube(folder / "cube.zarr")


def test_the_example_holds_all_that_a_model_needs(built: tuple[dict[str, Any], Cube]) -> None:
    _, cube = built
    assert set(published_catalogue().required) <= set(cube.variables)
    assert set(VALUES) <= set(cube.variables)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_pixel_has_the_value_of_the_file(built: tuple[dict[str, Any], Cube], name: str) -> None:
    _, cube = built
    source = cube.source_of(name)
    cells = cell_lookup(cube.grid, Tile(0, 0, cube.grid.height, cube.grid.width), source.grid)
    assert (cells.index >= 0).all()
    stored = source.read(name, 0, source.steps, cells.rows, cells.cols)
    found = source.variables[name].decode(stored).reshape(len(stored), -1)[:, cells.index]
    np.testing.assert_allclose(found, VALUES[name], rtol=1e-5, atol=1e-4)


def test_files_that_were_not_read_are_named(built: tuple[dict[str, Any], Cube]) -> None:
    [note] = built[0]["notes"]
    left = [f"HLS.L30.T14SNF.2020137T171919.v2.0.{band}.tif" for band in ("B01",)]
    left += [f"HLS.S30.T14SNF.2020139T172121.v2.0.{band}.tif" for band in ("B01", "B05")]
    assert note.endswith(f"rasters/hls: not read: {', '.join(left)}")


def test_days_are_those_of_the_files(built: tuple[dict[str, Any], Cube]) -> None:
    _, cube = built
    days = {
        name: cube.sources[name].days.astype("datetime64[D]").astype(str).tolist() for name in cube.sources
    }
    assert days["hls"] == ["2020-05-16", "2020-05-18"]
    assert days["smap"] == days["sentinel1"] == ["2020-05-17"]
    assert days["gridmet"] == ["2020-05-17", "2020-05-18", "2020-05-19"]
    assert days["modis"] == ["2020-05-17", "2020-05-18"]
    assert days["landcover"] == ["2019-01-01", "2021-01-01"]
