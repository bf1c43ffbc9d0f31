"""More of what files as they are distributed say in other words: each gives the right value or one line."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))

from test_raster_kinds import HLS, NEAR, TARGET, granule, source, tif, values_of

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.rasters.files import unread

LAT, LON = np.arange(37.5, 36.9, -1 / 24), np.arange(-113.3, -112.6, 1 / 24)
MM = {"units": "mm"}
HIDDEN = np.zeros((20, 20), bool)
HIDDEN[4:8] = True


def nc(
    folder: Path,
    values: Any,
    attrs: dict[str, Any],
    time: tuple[Any, dict[str, Any]] | None = None,
    axes: tuple[dict[str, Any], dict[str, Any]] = ({"units": "degrees_north"}, {"units": "degrees_east"}),
    **how: Any,
) -> None:
    """A NetCDF with a value a day, alike over all cells, and no attribute but those given."""
    values = np.asarray(values)
    days, said = time or (np.arange(len(values)), {"units": "days since 2020-01-01"})
    data = np.broadcast_to(values[:, None, None], (len(values), LAT.size, LON.size)).copy()
    made = xr.Dataset(
        {"pr": (("time", "lat", "lon"), data, attrs)},
        coords={"time": ("time", days, said), "lat": ("lat", LAT, axes[0]), "lon": ("lon", LON, axes[1])},
    )
    for name in made.variables:
        made[name].encoding["_FillValue"] = None
    made.to_netcdf(folder / "pr_2020.nc", **({"engine": "h5netcdf"} | how))


def days_and_values(folder: Path) -> tuple[list[str], list[float]]:
    reader = source(folder, variables=["pr"])
    found = [float(values_of(reader, "pr", k)[3, 3]) for k in range(reader.days.size)]
    return reader.days.astype("datetime64[D]").astype(str).tolist(), found


@pytest.mark.parametrize(
    ("values", "attrs"),
    [
        (np.array([4, 9.969209968386869e36], "f4"), {}),  # never written, no fill value stated
        (np.array([4, 9.969209968386869e36], "f8"), {}),
        (np.array([40, -32767], "i2"), {"scale_factor": 0.1}),
        (np.array([40, -9999], "i2"), {"scale_factor": 0.1, "missing_value": -999.9}),  # as if unpacked
        (np.array([40, -9999], "i2"), {"scale_factor": np.array([0.1]), "missing_value": -9999.0}),
        (np.array([4, -9999], "f4"), {"missing_value": "-9999"}),
        (
            np.array([400, -1], "i2"),
            {"scale_factor": 0.01, "_Unsigned": "true", "missing_value": np.int16(-1)},
        ),
        (
            np.array([400, -5536], "i2"),  # 60000, above 59999
            {
                "scale_factor": 0.01,
                "_Unsigned": "true",
                "_FillValue": np.int16(-1),
                "valid_range": np.array([0, -5537], "i2"),
            },
        ),
        (np.array([4, 1.1e20], "f4"), {"missing_value": np.float32(1e20)}),  # fewer digits in the attribute
    ],
)
def test_missing_in_netcdf(tmp_path: Path, values: Any, attrs: dict[str, Any]) -> None:
    nc(tmp_path, values, MM | attrs)
    found = days_and_values(tmp_path)[1]
    assert found[0] == pytest.approx(4) and np.isnan(found[1])


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_classic_netcdf(tmp_path: Path, form: Any) -> None:
    attrs = {"missing_value": np.int16(-9999), "scale_factor": 0.1, "add_offset": 1.0}
    nc(tmp_path, np.array([40, -9999, -32767], "i2"), MM | attrs, engine="scipy", format=form)
    found = days_and_values(tmp_path)[1]
    assert found[0] == pytest.approx(5) and np.isnan(found[1:]).all()


@pytest.mark.parametrize(
    ("units", "time"),
    [
        ("days since 2020-01-01 00:00:00 UTC", [0, 1]),
        ("days since 2020-1-1", [0, 1]),
        ("days since 2020-01-01T00:00:00Z", [0, 1]),
        ("days since 2019-12-31 18:00:00 -06:00", [0, 1]),
        ("hours since 2020-01-01 00:00:0.0", [12, 36]),
        ("Days Since 2020-01-01", [0.5, 1.5]),
        ("d since 2020-01-01", [0, 1]),
    ],
)
def test_days_in_other_words(tmp_path: Path, units: str, time: list[float]) -> None:
    nc(tmp_path, np.array([4, 5], "f4"), MM, (np.array(time), {"units": units}))
    assert days_and_values(tmp_path) == (["2020-01-01", "2020-01-02"], [4, 5])


def test_daymet_has_no_last_day_of_a_leap_year(tmp_path: Path) -> None:
    """Daymet 4: noon of 365 days, on a conic grid in metres."""
    days = np.arange(18262, 18262 + 365) + 7305 + 0.5  # 2020, since 1950
    conic = {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": np.array([25.0, 60.0]),
        "longitude_of_central_meridian": -100.0,
        "latitude_of_projection_origin": 42.5,
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257223563,
        "false_easting": 0.0,
        "false_northing": 0.0,
    }
    x, y = 139_000 + 1000.0 * np.arange(12), -669_000 - 1000.0 * np.arange(10)
    data = np.broadcast_to(np.arange(365, dtype="f4")[:, None, None], (365, 10, 12)).copy()
    keys = {"units": "mm/day", "grid_mapping": "lambert_conformal_conic", "missing_value": np.float32(-9999)}
    made = xr.Dataset(
        {"prcp": (("time", "y", "x"), data, keys), "lambert_conformal_conic": ((), np.int16(0), conic)},
        coords={
            "time": ("time", days, {"units": "days since 1950-01-01 00:00:00", "calendar": "standard"}),
            "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", x, {"units": "m", "standard_name": "projection_x_coordinate"}),
            "lat": (("y", "x"), np.zeros((10, 12))),
            "lon": (("y", "x"), np.zeros((10, 12))),
        },
    )
    made.to_netcdf(tmp_path / "daymet_v4_daily_na_prcp_2020.nc", engine="h5netcdf")
    reader = source(tmp_path, None, variables={"pr": {"band": "prcp"}})
    dates = reader.days.astype("datetime64[D]").astype(str)
    assert (dates[0], dates[-1]) == ("2020-01-01", "2020-12-30") and values_of(reader, "pr", 59)[0, 0] == 59
    assert reader.grid.bounds == (138_500, -678_500, 150_500, -668_500)


@pytest.mark.parametrize(
    "said",
    [
        ("degrees_North", "degrees_East"),
        ("degreesN", "degreesE"),
        ("degrees", "degrees"),
        ("degree_true_north", "degree_true_east"),
    ],
)
def test_spellings_of_degrees(tmp_path: Path, said: tuple[str, str]) -> None:
    nc(tmp_path, np.array([4], "f4"), MM, axes=({"units": said[0]}, {"units": said[1]}))
    assert source(tmp_path, variables=["pr"]).grid.crs == "EPSG:4326"


# --- rasters --------------------------------------------------------------------------------------------


def vrt(path: Path, tile: str, kind: str, inner: str = "", mask: str = "") -> None:
    path.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>EPSG:32612</SRS>'
        "<GeoTransform>326010,30,0,4120620,0,-30</GeoTransform>"
        f'<VRTRasterBand dataType="{kind}" band="1">{inner}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{tile}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        f"</VRTRasterBand>{mask}</VRTDataset>"
    )


def test_what_a_raster_hides(tmp_path: Path) -> None:
    clay, beside = np.full((20, 20), 30, "uint8"), np.where(HIDDEN, 0, 255).astype("uint8")
    lowest = np.where(HIDDEN, -3.4028234663852886e38, 30).astype("float32")
    tif(tmp_path / "tile.tif", clay, TARGET, mask=~HIDDEN)
    band = '<VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">tile.tif'
    band += "</SourceFilename><SourceBand>mask,1</SourceBand></SimpleSource></VRTRasterBand>"
    vrt(tmp_path / "mask_of_vrt.vrt", "tile.tif", "Byte", mask=f"<MaskBand>{band}</MaskBand>")
    tif(tmp_path / "nodata_and_alpha.tif", np.stack([clay, beside]), TARGET, nodata=7, alpha="YES")
    named = tif(tmp_path / "named_alpha.tif", np.stack([clay, beside]), TARGET, alpha="YES")
    with rasterio.open(named, "r+") as file:
        file.descriptions = ("clay", "alpha")
    tif(tmp_path / "lowest.tif", lowest, TARGET)
    vrt(tmp_path / "few_digits.vrt", "lowest.tif", "Float32", "<NoDataValue>-3.4e+38</NoDataValue>")
    tags = {"_FillValue": "255", "valid_range": "0, 100"}
    tif(tmp_path / "tags.tif", np.where(HIDDEN, 101, 30).astype("uint8"), TARGET, tags=tags)
    for name in ("mask_of_vrt.vrt", "nodata_and_alpha.tif", "named_alpha.tif", "few_digits.vrt", "tags.tif"):
        found = values_of(source(tmp_path, path=name, variables=["clay"]), "clay")
        assert np.isnan(found[HIDDEN]).all() and (found[~HIDDEN] == 30).all(), name


@pytest.mark.parametrize("method", ["nearest", "bilinear", "average"])
def test_rows_that_run_from_south_to_north(tmp_path: Path, method: str) -> None:
    up = Grid(TARGET.crs, (30.0, 0.0, 326010.0, 0.0, 30.0, 4120020.0), 20, 20)
    tif(tmp_path / "clay.tif", np.repeat(np.arange(20, dtype="float32")[:, None], 20, 1), up)
    native = source(tmp_path, variables=["clay"])
    assert (
        native.grid.y(np.array([0])) < native.grid.y(np.array([19])) and values_of(native, "clay")[0, 0] == 0
    )
    found = values_of(source(tmp_path, variables=["clay"], regrid=method), "clay")
    np.testing.assert_allclose(found[:, 5], np.arange(20)[::-1], atol=1e-6)


def test_a_tile_that_is_gone_is_named(tmp_path: Path) -> None:
    vrt(tmp_path / "clay.vrt", "gone.tif", "Float32")
    with pytest.raises(InputError, match=r"clay\.vrt: cannot be read: .*gone\.tif: No such file"):
        values_of(source(tmp_path, path="clay.vrt", variables=["clay"]), "clay")


def test_a_zip_is_read_where_it_is(tmp_path: Path) -> None:
    tif(tmp_path / "in.tif", np.full((20, 20), 41, "uint8"), TARGET, nodata=250)
    packed = tmp_path / "Annual_NLCD_LndCov_2020_CU_C1V0.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(tmp_path / "in.tif", "Annual_NLCD_LndCov_2020_CU_C1V0.tif")
        archive.writestr("metadata.xml", "<x/>")
    reader = source(tmp_path, pattern="Annual", variables=["LC"])
    assert (values_of(reader, "LC") == 41).all() and str(
        reader.days.astype("datetime64[D]")[0]
    ) == "2020-01-01"
    assert list(unread([tmp_path], reader.files_read)) == [f"{tmp_path}: not read: in.tif"]
    with zipfile.ZipFile(packed, "a") as archive:
        archive.write(tmp_path / "in.tif", "second.tif")
    with pytest.raises(InputError, match=r"C1V0\.zip: holds 2 rasters; expected one"):
        source(tmp_path, pattern="Annual", variables=["LC"])


def test_formats_that_nothing_reads_are_listed(tmp_path: Path) -> None:
    for name in ("T14SNE_B04.jp2", "era5.grib", "smap.tar.gz"):
        (tmp_path / name).touch()
    (line,) = unread([tmp_path], set())
    assert line.endswith("not read: T14SNE_B04.jp2, era5.grib, smap.tar.gz")


@pytest.mark.parametrize("stamp", ["doy2020137", "doy2020137000000"])
def test_names_of_appeears(tmp_path: Path, stamp: str) -> None:
    for layer, value, kind, nodata in (("LST_Day_1km", 15000, "uint16", 0), ("QC_Day", 0, "uint8", 255)):
        path = tmp_path / f"MOD11A1.061_{layer}_{stamp}_aid0001.tif"
        tif(path, np.full((20, 20), value, kind), TARGET, nodata, scale=0.02 if nodata == 0 else None)
    reader = source(
        tmp_path,
        pattern=r"MOD11A1\.061_{variable}_doy",
        variables={"LST": {"file": "LST_Day_1km"}},
        mask={"file": "QC_Day", "clear_bits": [1, 3]},
    )
    assert str(reader.days.astype("datetime64[D]")[0]) == "2020-05-16"
    assert (values_of(reader, "LST") == 15000).all()


def test_reflectance_without_its_scale_is_told(tmp_path: Path) -> None:
    tif(tmp_path / "S_20220301.tif", np.full((20, 20), 2000, "uint16"), TARGET, nodata=0)
    (line,) = source(tmp_path, variables=["Red"]).notes
    assert line.startswith("source it: Red is uint16 without a scale, though of 0 to 1;")
    said = source(tmp_path, variables={"Red": {"scale": 2.75e-5, "offset": -0.2}})  # Landsat, collection 2
    assert not said.notes and values_of(said, "Red")[0, 0] == pytest.approx(-0.145)


def test_a_folder_may_lack_a_collection_but_not_a_band_of_one(tmp_path: Path) -> None:
    collections = {"L30": {"Red": "B04", "NIR": "B05"}, "S30": {"Red": "B04", "NIR": "B8A"}}
    keys: dict[str, Any] = {"pattern": HLS, "collections": collections}
    keys["mask"] = {"file": "Fmask", "clear_bits": [1, 3]}
    (tmp_path / "empty").mkdir()
    granule(tmp_path, "L30", "T12STG", 32612, "2020138T175919", {"B04": 1000, "B05": 3000})
    assert source(tmp_path, NEAR, **keys).days.size == 1
    granule(tmp_path, "S30", "T12STG", 32612, "2020139T180921", {"B04": 1200, "B05": 1500})
    with pytest.raises(InputError, match=r"no file matches HLS\\.S30.*B8A"):
        source(tmp_path, NEAR, **keys)
    with pytest.raises(InputError, match=r"no file matches HLS\\.L30.*B04"):
        source(tmp_path, NEAR, **{**keys, "path": str(tmp_path / "empty")})
