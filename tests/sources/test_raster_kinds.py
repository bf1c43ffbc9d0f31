"""Files as they are distributed: missing values, units, grids, zones, masks, editions, copies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters import RasterSource, open_source
from mmnet_maps.sources.rasters.units import conversion

TARGET = Grid("EPSG:32612", (30.0, 0.0, 326010.0, 0.0, -30.0, 4120620.0), 20, 20)
WHOLE = slice(0, 20), slice(0, 20)


def tif(path: Path, values: Any, grid: Grid, nodata: float | None = None, **keys: Any) -> Path:
    stack = np.asarray(values)
    stack = stack[None] if stack.ndim == 2 else stack
    shape = {"height": stack.shape[1], "width": stack.shape[2], "count": len(stack), "dtype": stack.dtype}
    mask, scale, unit, tags = (keys.pop(k, None) for k in ("mask", "scale", "unit", "tags"))
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=keys.pop("internal", True)),
        rasterio.open(
            path,
            "w",
            "GTiff",
            crs=grid.crs,
            transform=Affine(*grid.transform),
            nodata=nodata,
            **shape,
            **keys,
        ) as file,
    ):
        file.write(stack)
        if mask is not None:
            file.write_mask(mask)
        if scale is not None:
            file.scales = (scale,) * len(stack)
        if unit is not None:
            file.units = (unit,) * len(stack)
        file.update_tags(**(tags or {}))
    return path


def nc(
    path: Path, values: np.ndarray, attrs: dict[str, Any], lon: Any = None, lat: Any = None, **time: Any
) -> None:
    lat = np.arange(37.5, 36.9, -1 / 24) if lat is None else lat
    lon = np.arange(-113.3, -112.6, 1 / 24) if lon is None else lon
    units = {"units": "days since 1900-01-01", **time}
    data = np.broadcast_to(values, (len(values), len(lat), len(lon))).copy()
    fill = {k: attrs.pop(k) for k in ("_FillValue",) if k in attrs}
    array = xr.Dataset(
        {"pr": (("time", "lat", "lon"), data, attrs)},
        coords={
            "time": ("time", np.arange(len(values)) + 44000, units),
            "lat": ("lat", lat, {"units": "degreeN"}),
            "lon": ("lon", lon, {"units": "degree_E"}),
        },
    )
    array.pr.encoding.update({"_FillValue": None, **fill})
    array.to_netcdf(path, engine="h5netcdf")


def source(folder: Path, target: Grid | None = TARGET, **keys: Any) -> RasterSource:
    return open_source("it", SourceConfig.from_mapping({"path": ".", **keys}), folder, target)


def values_of(reader: RasterSource, name: str, day: int = 0) -> np.ndarray:
    rows, cols = (slice(0, n) for n in reader.grid.shape)
    return reader.variables[name].decode(reader.read(day, day + 1, rows, cols)[name])[0]


def part(grid: Grid, fraction: int, shape: tuple[int, int]) -> Grid:
    """A grid of pixels `fraction` times as fine, from the same corner."""
    a, _, c, _, e, f = grid.transform
    return Grid(grid.crs, (a / fraction, 0.0, c, 0.0, e / fraction, f), *shape)


# --- regridding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nearest", "bilinear", "average"])
def test_nothing_outside_a_file_becomes_a_value(tmp_path: Path, method: str) -> None:
    tif(tmp_path / "west.tif", np.full((60, 30), 1500, "float32"), part(TARGET, 3, (60, 30)))
    one = source(tmp_path, variables=["elevation"], regrid=method)
    found = values_of(one, "elevation")
    assert (found[:, :10] == 1500).all() and np.isnan(found[:, 11:]).all()
    east = Grid(TARGET.crs, (10.0, 0.0, 326310.0, 0.0, -10.0, 4120620.0), 60, 30)
    tif(tmp_path / "x_east.tif", np.full((60, 30), 1500, "float32"), east)
    assert (values_of(source(tmp_path, variables=["elevation"], regrid=method), "elevation") == 1500).all()


def test_files_that_do_not_touch_the_region_are_refused(tmp_path: Path) -> None:
    away = Grid(TARGET.crs, (10.0, 0.0, 426010.0, 0.0, -10.0, 4120620.0), 60, 60)
    tif(tmp_path / "away.tif", np.full((60, 60), 1500, "float32"), away)
    with pytest.raises(InputError, match=r"its rasters do not touch the region; away.tif"):
        source(tmp_path, variables=["elevation"], regrid="average")


def test_flags_missing_values_and_ranges_are_settled_before_averaging(tmp_path: Path) -> None:
    fine = part(TARGET, 3, (60, 60))
    red, flags = np.full((60, 60), 1000, "int16"), np.zeros((60, 60), "uint8")
    red[1::3, 1::3], flags[1::3, 1::3] = 9000, 2  # cloud
    red[0, 0], red[0, 3], red[0, 6] = -9999, -1, 20000  # tag, configuration, out of the range asked for
    tif(tmp_path / "S_20200601_B04.tif", red, fine, nodata=-9999, scale=1e-4)
    tif(tmp_path / "S_20200601_Fmask.tif", flags, fine, nodata=255)
    reader = source(
        tmp_path,
        pattern=r"S_(?P<date>\d{8})_{variable}\.tif",
        regrid="average",
        mask={"file": "Fmask", "clear_bits": [1, 3]},
        variables={"Red": {"file": "B04", "missing": -1, "valid_range": [0, 1]}},
    )
    np.testing.assert_allclose(values_of(reader, "Red"), 0.1, atol=1e-6)


def test_classes_take_the_mode_and_directions_the_mean_on_the_circle(tmp_path: Path) -> None:
    fine = part(TARGET, 3, (60, 60))
    codes = np.full((60, 60), 41, "uint8")
    codes[::3], codes[1::3] = 82, 82
    tif(tmp_path / "LC_2019.tif", codes, fine, nodata=0)
    reader = source(tmp_path, pattern="LC", variables=["LC"], regrid="mode")
    assert (values_of(reader, "LC") == 82).all()
    angle = np.full((60, 60), 350, "float32")
    angle[:, ::3], angle[:, 1::3] = 10, 0
    tif(tmp_path / "aspect.tif", angle, fine)
    for method in ("average", "bilinear"):
        reader = source(tmp_path, pattern="aspect", variables=["aspect"], regrid=method)
        away = (values_of(reader, "aspect") + 180) % 360 - 180
        assert np.abs(away).max() < (1e-3 if method == "average" else 10.01)
    for name, method in (("LC", "average"), ("LC", "bilinear"), ("aspect", "mode"), ("elevation", "mode")):
        with pytest.raises(InputError, match=f"variables.{name}: regrid: {method} does not suit it"):
            source(tmp_path, variables=[name], regrid=method)


def test_netcdf_is_regridded_too_and_equals_the_cells_of_the_pixels(tmp_path: Path) -> None:
    lat, lon = np.arange(37.5, 36.9, -1 / 24), np.arange(-113.3, -112.6, 1 / 24)
    field = np.random.default_rng(2).random((1, lat.size, lon.size)).astype("float32")
    nc(tmp_path / "pr_2020.nc", field, {"units": "mm"})
    reader = source(tmp_path, variables=["pr"], regrid="nearest")
    assert reader.grid == TARGET
    x, y = np.meshgrid(TARGET.x(np.arange(20)), TARGET.y(np.arange(20)))
    east, north = Transformer.from_crs(TARGET.crs, "EPSG:4326", always_xy=True).transform(x, y)
    row, col = np.rint((37.5 - north) * 24).astype(int), np.rint((east + 113.3) * 24).astype(int)
    np.testing.assert_array_equal(values_of(reader, "pr"), field[0][row, col])


# --- missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "missing"),
    [
        ({"_FillValue": np.float32(np.nan), "missing_value": np.float32(-9999)}, [-9999.0]),
        (
            {"_FillValue": np.float32(1e20), "missing_value": np.array([-9999, -1], "float32")},
            [-9999.0, 1e20, -1],
        ),
        ({"valid_min": np.float32(0)}, [-9999.0, -0.5]),
        ({"valid_range": np.array([0, 700], "float32")}, [-9999.0, 701]),
    ],
)
def test_all_that_a_netcdf_calls_missing_is_missing(
    tmp_path: Path, attrs: dict[str, Any], missing: list[float]
) -> None:
    values = np.array([4.0, *missing, np.nan], "float32")[:, None, None]
    nc(tmp_path / "pr_2020.nc", values, {"units": "mm", **attrs})
    reader = source(tmp_path, variables=["pr"])
    found = [values_of(reader, "pr", k)[3, 3] for k in range(len(values))]
    assert found[0] == 4 and np.isnan(found[1:]).all()


def test_limits_of_packed_integers_are_read_in_the_type_that_they_have(tmp_path: Path) -> None:
    packed = np.array([40, 32767, -1, 7001], "int16")[:, None, None]
    for name, limits in (("stored", np.array([0, 7000], "int16")), ("unpacked", np.array([0.0, 700.0]))):
        (tmp_path / name).mkdir()
        attrs = {"units": "mm", "scale_factor": 0.1, "_FillValue": np.int16(32767), "valid_range": limits}
        nc(tmp_path / name / "pr_2020.nc", packed, attrs)
        reader = source(tmp_path / name, variables=["pr"])
        found = [values_of(reader, "pr", k)[3, 3] for k in range(4)]
        assert found[0] == np.float32(4) and np.isnan(found[1:]).all()


@pytest.mark.parametrize("internal", [True, False])
def test_masks_in_and_beside_a_file_and_alpha_bands_hide_pixels(tmp_path: Path, internal: bool) -> None:
    clay = np.full((20, 20), 30, "uint8")
    hidden = np.zeros((20, 20), bool)
    hidden[4:8] = True
    tif(tmp_path / "clay.tif", clay, TARGET, mask=~hidden, internal=internal)
    assert (tmp_path / "clay.tif.msk").exists() is not internal
    tif(
        tmp_path / "sand.tif", np.stack([clay, np.where(hidden, 0, 255).astype("uint8")]), TARGET, alpha="YES"
    )
    reader = source(tmp_path, pattern=r"{variable}\.tif", variables=["clay", "sand"])
    for name in ("clay", "sand"):
        assert reader.variables[name] == Packing(dtype="int16", missing=-32768)
        found = values_of(reader, name)
        assert np.isnan(found[hidden]).all() and (found[~hidden] == 30).all()


# --- units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "wanted", "factor"),
    [
        ("kg m-2 s-1", "mm d-1", 86400),
        ("kg m**-2 s**-1", "mm d-1", 86400),
        ("m", "mm d-1", 1000),
        ("J m-2", "W m-2", 1 / 86400),
        ("hPa", "kPa", 0.1),
        ("g kg-1", "kg kg-1", 1e-3),
        ("%", "m3 m-3", 0.01),
        ("Kelvin", "0.02 K", 50),
        ("kg/m^3", "g cm-3", 1e-3),
        ("feet", "m", 0.3048),
    ],
)
def test_units_are_converted(stated: str, wanted: str, factor: float) -> None:
    found = conversion(stated, wanted, daily=True)
    assert found is not None and found[1] == 0
    assert found[0] == pytest.approx(factor, rel=1e-11)


def test_a_temperature_has_an_offset_and_what_does_not_fit_has_no_conversion() -> None:
    assert conversion("degC", "K") == (1.0, 273.15) and conversion("degC", "0.02 K") == (50.0, 13657.5)
    for stated, wanted in (("mm", "K"), ("nonsense", "m"), ("1", "dB"), ("1", "degree"), ("m", "mm d-1")):
        assert conversion(stated, wanted) is None


def test_sums_of_less_than_a_day_are_refused(tmp_path: Path) -> None:
    nc(
        tmp_path / "pr_2020.nc",
        np.full((2, 1, 1), 1e-3, "float32"),
        {"units": "m"},
        units="days since 1900-01-01",
    )
    assert values_of(source(tmp_path, variables=["pr"]), "pr")[0, 0] == pytest.approx(1)
    nc(
        tmp_path / "pr_2020.nc",
        np.full((4, 1, 1), 1e-3, "float32"),
        {"units": "m"},
        units="hours since 1970-01-01",
    )
    with pytest.raises(InputError, match="pr is in 'm', several fields of a day; expected 'mm d-1'"):
        source(tmp_path, variables=["pr"])
    tif(tmp_path / "A_20200101T00.tif", np.full((20, 20), 1, "float32"), TARGET, unit="mm")
    assert source(tmp_path, path="A_20200101T00.tif", variables=["pr"]).variables["pr"].scale == 1
    tif(tmp_path / "A_20200101T12.tif", np.full((20, 20), 1, "float32"), TARGET, unit="mm")
    with pytest.raises(InputError, match="pr is in 'mm', several fields of a day; expected 'mm d-1'"):
        source(tmp_path, pattern="A_", variables=["pr"])


def test_a_level_of_one_is_no_dimension(tmp_path: Path) -> None:
    nc(tmp_path / "pr_2020.nc", np.full((2, 1, 1), 3, "float32"), {"units": "mm"})
    with xr.open_dataset(tmp_path / "pr_2020.nc", decode_times=False) as data:
        for name, levels in (("one", 1), ("two", 2)):
            (tmp_path / name).mkdir()
            more = data.expand_dims({"level": levels}, axis=1)
            more.to_netcdf(tmp_path / name / "pr_2020.nc", engine="h5netcdf")
    assert (values_of(source(tmp_path / "one", variables=["pr"]), "pr") == 3).all()
    with pytest.raises(InputError, match="choose one level"):
        source(tmp_path / "two", variables=["pr"])


def test_a_file_is_read_in_the_unit_of_the_variable_or_refused_naming_both(tmp_path: Path) -> None:
    nc(tmp_path / "pr_2020.nc", np.full((2, 1, 1), 5e-5, "float32"), {"units": "kg m-2 s-1"})
    assert values_of(source(tmp_path, variables=["pr"]), "pr")[0, 0] == pytest.approx(4.32, rel=1e-6)
    nc(tmp_path / "pr_2020.nc", np.full((2, 1, 1), 5, "float32"), {"units": "furlongs"})
    says = source(tmp_path, variables={"pr": {"file_unit": "cm"}})
    assert values_of(says, "pr")[0, 0] == pytest.approx(50)
    nc(tmp_path / "pr_2020.nc", np.full((2, 1, 1), 5, "float32"), {"units": "K"})
    with pytest.raises(
        InputError, match=r"pr_2020.nc: pr is in 'K'; expected 'mm d-1'.*variables.pr.file_unit"
    ):
        source(tmp_path, variables=["pr"])


@pytest.mark.parametrize(
    "keys",
    [{"scale": 0.02}, {"scale": 0.02, "unit": "K"}, {}, {"tags": {"scale_factor": "0.02", "units": "K"}}],
)
def test_surface_temperature_is_the_stored_integer_whatever_its_tags_convert(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    tif(tmp_path / "MOD11A1_LST_2020001.tif", np.full((20, 20), 15000, "uint16"), TARGET, nodata=0, **keys)
    reader = source(tmp_path, variables=["LST"])
    assert (values_of(reader, "LST") == 15000).all()


# --- names, axes, calendars -----------------------------------------------------------------------------


def test_the_year_of_an_edition_is_not_the_date_of_its_release(tmp_path: Path) -> None:
    for name in (
        "NLCD_2011_Land_Cover_L48_20210604",
        "nlcd_2016_landcover_2014_10_10",
        "Annual_NLCD_LndCov_2019_CU_C1V0",
    ):
        tif(tmp_path / f"{name}.tif", np.full((20, 20), 41, "uint8"), TARGET, nodata=0)
    years = source(tmp_path, variables=["LC"]).days.astype("datetime64[D]").astype(str)
    assert years.tolist() == ["2011-01-01", "2016-01-01", "2019-01-01"]


def test_longitudes_of_0_to_360_are_those_of_the_region(tmp_path: Path) -> None:
    globe, lat = np.arange(0, 360, 0.5), np.arange(40, 35, -0.5)
    field = (globe[None, :] * np.ones((lat.size, 1))).astype("float32")[None]
    nc(tmp_path / "pr_2020.nc", field, {"units": "mm"}, lon=globe, lat=lat)
    reader = source(tmp_path, variables=["pr"])
    assert reader.grid.bounds[0] == -180.25
    found = values_of(reader, "pr")
    np.testing.assert_array_equal(found[0], reader.grid.x(np.arange(720)) % 360)
    part_of_it = reader.read(0, 1, slice(2, 4), slice(350, 370))["pr"][0]
    np.testing.assert_array_equal(part_of_it, found[2:4, 350:370])
    (tmp_path / "west").mkdir()
    nc(
        tmp_path / "west" / "pr_2020.nc",
        np.ones((1, 1, 1), "float32"),
        {"units": "mm"},
        lon=np.arange(240, 260, 0.5),
    )
    assert source(tmp_path / "west", variables=["pr"]).grid.bounds[0] == -120.25


def test_a_global_source_is_cut_away_from_a_region_across_180_degrees(tmp_path: Path) -> None:
    fiji = Grid("EPSG:32760", (30.0, 0.0, 815000.0, 0.0, -30.0, 8150000.0), 100, 300)
    for name, globe in (("a", np.arange(-180, 180, 0.5)), ("b", np.arange(0, 360, 0.5))):
        (tmp_path / name).mkdir()
        lat = np.arange(-15, -20, -0.5)
        field = (globe[None, :] % 360 * np.ones((lat.size, 1))).astype("float32")[None]
        nc(tmp_path / name / "pr_2020.nc", field, {"units": "mm"}, lon=globe, lat=lat)
        reader = source(tmp_path / name, fiji, variables=["pr"])
        np.testing.assert_array_equal(values_of(reader, "pr")[0], reader.grid.x(np.arange(720)))
        assert 179 < reader.grid.x(np.array(360)) < 181
        x, y = np.meshgrid(fiji.x(np.arange(fiji.width)), fiji.y(np.arange(fiji.height)))
        lon = Transformer.from_crs(fiji.crs, "EPSG:4326", always_xy=True).transform(x, y)[0] % 360
        for method, away in (("nearest", 0.2501), ("bilinear", 1e-3)):
            found = values_of(source(tmp_path / name, fiji, variables=["pr"], regrid=method), "pr")
            assert np.abs(found - lon).max() < away


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_a_calendar_without_leap_days_gets_one_line(tmp_path: Path, calendar: str) -> None:
    nc(tmp_path / "pr_2020.nc", np.ones((2, 1, 1), "float32"), {"units": "mm"}, calendar=calendar)
    with pytest.raises(InputError, match=f"pr_2020.nc: its calendar is {calendar}.*convert_calendar"):
        source(tmp_path, variables=["pr"])


def test_the_calendar_of_appeears_counts_the_same_days(tmp_path: Path) -> None:
    keys = {"calendar": "julian", "units": "hours since 2015-01-01"}
    nc(tmp_path / "pr_2020.nc", np.full((1, 1, 1), 3, "float32"), {"units": "mm"}, **keys)
    days = source(tmp_path, variables=["pr"]).days.astype("datetime64[D]")
    assert days == np.datetime64("2015-01-01") + 44000 // 24
    keys["units"] = "hours since 1858-11-17"
    nc(tmp_path / "pr_2020.nc", np.full((1, 1, 1), 3, "float32"), {"units": "mm"}, **keys)
    with pytest.raises(InputError, match="its calendar is julian"):
        source(tmp_path, variables=["pr"])


# --- grids and packings ---------------------------------------------------------------------------------


def test_tiles_whose_origins_differ_in_the_last_digits_are_one_mosaic(tmp_path: Path) -> None:
    a, c, e, f = 9.25925927753796e-05, -106.00055555649311, -9.259259269220167e-05, 41.000555556194854
    for name, west, col, width, height in (
        ("n41w106", c, 10612, 200, 1500),
        ("n41w105", c + 1, 0, 200, 1600),
    ):
        grid = Grid("EPSG:4269", (a, 0, west + a * col, 0, e, f + e * 5000), 60, width)
        tif(tmp_path / f"USGS_13_{name}.tif", np.full((60, width), height, "float32"), grid, nodata=-999999)
    reader = source(tmp_path, None, variables=["elevation"])
    assert reader.grid.shape == (60, 388)  # published tiles overlap by 12 pixels
    found = values_of(reader, "elevation")
    assert (found[:, 200:] == 1600).all() and (found[:, :188] == 1500).all()


def test_files_of_other_scales_and_types_keep_their_values(tmp_path: Path) -> None:
    for year, scale, offset in ((2019, 0.1, 3.0), (2020, 0.25, -1.0), (2021, np.float32(0.1), 3.0)):
        attrs = {"units": "mm", "scale_factor": scale, "add_offset": offset, "_FillValue": np.int16(-32768)}
        values = np.array([year - 2000, -32768], "int16")[:, None, None]
        nc(tmp_path / f"pr_{year}.nc", values, attrs, units=f"days since {year - 120}-06-01")
    reader = source(tmp_path, variables=["pr"])
    assert reader.variables["pr"] == Packing(dtype="float32")
    found = [values_of(reader, "pr", k)[0, 0] for k in (0, 2, 4)]
    np.testing.assert_array_equal(
        found, np.float32([19 * np.float32(0.1) + 3, 20 * 0.25 - 1, 21 * np.float32(0.1) + 3])
    )
    assert np.isnan([values_of(reader, "pr", k)[0, 0] for k in (1, 3, 5)]).all()
    (tmp_path / "pr_2020.nc").unlink()
    assert source(tmp_path, variables=["pr"]).variables["pr"].dtype == "int16"


# --- nothing is lost ------------------------------------------------------------------------------------


def test_a_tile_below_a_vrt_counts_in_the_identity(tmp_path: Path) -> None:
    tile = tif(tmp_path / "tile.tif", np.full((20, 20), 10, "float32"), TARGET, nodata=-9999)
    inner = """<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>EPSG:32612</SRS>
<GeoTransform>326010,30,0,4120620,0,-30</GeoTransform><VRTRasterBand dataType="Float32" band="1">
<NoDataValue>-9999</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
    (tmp_path / "inner.vrt").write_text(inner.format("tile.tif"))
    (tmp_path / "clay.vrt").write_text(inner.format("inner.vrt"))
    before = source(tmp_path, path="clay.vrt", variables=["clay"]).identity(0, 1)
    os.utime(tile, (1, 1))
    assert source(tmp_path, path="clay.vrt", variables=["clay"]).identity(0, 1) != before


def test_a_second_copy_is_read_once_and_another_file_of_that_name_is_refused(tmp_path: Path) -> None:
    tif(tmp_path / "A_20200101.tif", np.full((20, 20), 7, "int16"), TARGET, nodata=-1)
    (tmp_path / "A_20200101 (1).tif").write_bytes((tmp_path / "A_20200101.tif").read_bytes())
    assert len(source(tmp_path, variables=["Red"]).pieces) == 1
    tif(tmp_path / "A_20200101 (1).tif", np.zeros((20, 21), "int16"), TARGET, nodata=-1)
    with pytest.raises(InputError, match=r"A_20200101 \(1\).tif: another file than A_20200101.tif"):
        source(tmp_path, variables=["Red"])


def test_a_day_of_few_granules_says_so(tmp_path: Path) -> None:
    for hour in (1, 4):
        with h5py.File(tmp_path / f"SMAP_L4_SM_gph_20200128T{hour:02d}3000_Vv8010_001.h5", "w") as file:
            file["x"], file["y"] = np.arange(4) * 9000.0, -np.arange(3) * 9000.0
            data = file.create_dataset("Geophysical_Data/sm_surface", data=np.full((3, 4), 0.2, "float32"))
            data.attrs.update({"_FillValue": np.float32(-9999), "units": b"m3 m-3"})
    reader = source(tmp_path, crs="EPSG:6933", variables=["SMAP"])
    assert reader.notes == (
        "source it: fewer than 8 granules on 2020-01-28 (2); their mean is of those there",
    )


# --- HLS ------------------------------------------------------------------------------------------------


def granule(folder: Path, sensor: str, tile: str, epsg: int, stamp: str, bands: dict[str, int]) -> None:
    (x,), (y,) = Transformer.from_crs("EPSG:32612", epsg, always_xy=True).transform([230010], [4120320])
    x, y = round(x / 30) * 30 - 1200, round(y / 30) * 30 + 1200
    grid = Grid(f"EPSG:{epsg}", (30.0, 0.0, x, 0.0, -30.0, y), 80, 80)
    for band, value in {**bands, "Fmask": 64}.items():
        kind, nodata = ("uint8", 255) if band == "Fmask" else ("int16", -9999)
        path = folder / f"HLS.{sensor}.{tile}.{stamp}.v2.0.{band}.tif"
        tif(path, np.full((80, 80), value, kind), grid, nodata, scale=None if band == "Fmask" else 1e-4)


HLS = r"HLS\.{collection}\.T\w{5}\.(?P<date>\d{7})T\d{6}\.v2\.0\.{variable}\.tif"
NEAR = Grid("EPSG:32612", (30.0, 0.0, 229800.0, 0.0, -30.0, 4120590.0), 18, 14)


@pytest.mark.parametrize("regrid", [None, "nearest"])
def test_both_sensors_and_both_zones_of_hls_feed_one_variable(tmp_path: Path, regrid: str | None) -> None:
    granule(tmp_path, "L30", "T11SQB", 32611, "2020137T175919", {"B04": 1100, "B05": 3100})
    granule(tmp_path, "L30", "T12STG", 32612, "2020138T175919", {"B04": 1000, "B05": 3000})
    granule(tmp_path, "S30", "T12STG", 32612, "2020139T180921", {"B04": 1200, "B05": 1500, "B8A": 3200})
    collections = {"L30": {"Red": "B04", "NIR": "B05"}, "S30": {"Red": "B04", "NIR": "B8A"}}
    keys: dict[str, Any] = {"mask": {"file": "Fmask", "clear_bits": [1, 3]}, "regrid": regrid}
    reader = source(tmp_path, NEAR, pattern=HLS, collections=collections, **keys)
    assert reader.grid.crs == "EPSG:32612" and len(reader.days) == 3
    row, col = (round(v) for v in NEAR.aligned_offset(reader.grid) or (-1, -1))
    rows, cols = slice(row, row + 18), slice(col, col + 14)
    found = reader.read(0, 3, rows, cols)["NIR"]
    assert [set(np.unique(day).tolist()) for day in found] == [{3100}, {3000}, {3200}]


def test_red_edge_is_not_taken_for_near_infrared(tmp_path: Path) -> None:
    granule(tmp_path, "S30", "T12STG", 32612, "2020139T180921", {"B05": 1500, "B8A": 3200})
    pattern = r"HLS\.[LS]30\.T12STG\.(?P<date>\d{7})T\d{6}\.v2\.0\.{variable}\.tif"
    with pytest.raises(InputError, match=r"B05.tif: B05 of S30 is not NIR, which is B8A; .*collections"):
        source(tmp_path, NEAR, pattern=pattern, variables={"NIR": {"file": "B05"}})
