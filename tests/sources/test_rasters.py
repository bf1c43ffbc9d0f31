"""Raster files as a source: formats, dates in names, granules, flags, and what is refused."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters import RasterSource, open_source
from mmnet_maps.sources.rasters.files import find_files, listed, unread

GRID = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4100000.0), 6, 8)
EVERY = slice(0, 6), slice(0, 8)


def write_tif(
    path: Path,
    values: Any,
    grid: Grid = GRID,
    bands: tuple[str, ...] = (),
    nodata: float | None = -9999,
    scale: float = 1.0,
    crs: str | None = "same",
) -> Path:
    stack = np.asarray(values)
    stack = stack[None] if stack.ndim == 2 else stack
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(stack), "dtype": stack.dtype, "nodata": nodata}
    with rasterio.open(
        path,
        "w",
        height=stack.shape[1],
        width=stack.shape[2],
        crs=grid.crs if crs == "same" else crs,
        transform=Affine(*grid.transform),
        **profile,
    ) as file:
        file.write(stack)
        if bands:
            file.descriptions = bands
        file.scales = (scale,) * len(stack)
    return path


def write_nc(
    path: Path,
    name: str,
    values: np.ndarray,
    days: list[float] | None,
    dims: tuple[str, ...] = ("day", "lat", "lon"),
    attrs: Mapping[str, Any] | None = None,
    lat: np.ndarray | None = None,
    geographic: bool = True,
) -> Path:
    """gridMET's form: packed integers, days since 1900."""
    sizes = dict(zip(dims, values.shape, strict=True))
    lat = 40.0 - np.arange(sizes["lat"]) / 24 if lat is None else lat
    unit = ("degrees_north", "degrees_east") if geographic else ("1", "1")
    with h5netcdf.File(path, "w") as file:
        file.dimensions = sizes
        file.create_variable("lat", ("lat",), data=lat).attrs["units"] = unit[0]
        lon = file.create_variable("lon", ("lon",), data=-113 + np.arange(sizes["lon"]) / 24)
        lon.attrs["units"] = unit[1]
        if days is not None:
            dim = ("day",) if "day" in dims else ()
            data = np.array(days) if dim else np.float64(days[0])
            file.create_variable("day", dim, data=data).attrs["units"] = "days since 1900-01-01"
        variable = file.create_variable(name, dims, data=values, fillvalue=values.dtype.type(32767))
        variable.attrs.update(attrs or {"scale_factor": 0.1, "add_offset": 210.0})
    return path


def source(folder: Path, **keys: Any) -> RasterSource:
    return open_source("it", SourceConfig.from_mapping({"path": ".", **keys}), folder)


def iso(days: np.ndarray) -> list[str]:
    return days.astype("datetime64[D]").astype(str).tolist()


def test_bands_are_found_by_description_and_keep_their_storage(tmp_path: Path) -> None:
    blue, red = np.arange(48, dtype=np.int16).reshape(6, 8), np.full((6, 8), -9999, dtype=np.int16)
    write_tif(tmp_path / "HLS_20200105.tif", np.stack([red, blue]), bands=("Red", "Blue"), scale=0.0001)
    reader = source(tmp_path, variables=["Blue", "Red"])
    assert reader.grid == GRID
    assert reader.variables["Blue"] == Packing(dtype="int16", scale=0.0001, missing=-9999)
    assert (reader.cadence, iso(reader.days)) == ("irregular", ["2020-01-05"])
    found = reader.read(0, 1, slice(1, 4), slice(2, 8))
    np.testing.assert_array_equal(found["Blue"][0], blue[1:4, 2:8])
    np.testing.assert_array_equal(found["Red"][0], red[1:4, 2:8])


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("HLS_20200229.tif", "2020-02-29"),
        ("MOD.A2021227.h11v05.tif", "2021-08-15"),
        ("HLS.L30.T06WVS.2024120T211159.v2.0.B04.tif", "2024-04-29"),
        ("S1A_IW_GRDH_1SDV_20190101T003015_20190101T003040.tif", "2019-01-01"),
        ("scene_2020-03-01_x.tif", "2020-03-01"),
        ("LC_2019.tif", "2019-01-01"),
    ],
)
def test_dates_are_read_from_names(tmp_path: Path, name: str, day: str) -> None:
    write_tif(tmp_path / name, np.ones((6, 8), dtype=np.int16))
    assert iso(source(tmp_path, variables=["Red"], cadence="irregular").days) == [day]


@settings(max_examples=30, deadline=None)
@given(st.dates(dt.date(1982, 1, 1), dt.date(2099, 12, 31)))
def test_any_date_survives_a_name(tmp_path_factory: pytest.TempPathFactory, date: dt.date) -> None:
    folder = tmp_path_factory.mktemp("names")
    for form in ("%Y%m%d", "%Y%j"):
        (folder / f"X_{date.strftime(form)}.tif").touch()
    found = find_files(SourceConfig(variables={"Red": {}}), ".", None, "Red", folder, "sources.it")  # type: ignore[arg-type]
    assert [np.datetime64(f.day, "D").astype(object) for f in found] == [date, date]


def test_a_pattern_and_a_date_format_choose_files_and_days(tmp_path: Path) -> None:
    for name in ("a_12-31-2020.tif", "b_12-31-2020.tif", "a_notes.tif"):
        write_tif(tmp_path / name, np.full((6, 8), ord(name[0]), dtype=np.int16))
    reader = source(
        tmp_path,
        pattern=r"{variable}_(?P<date>\d\d-\d\d-\d{4})\.tif",
        date_format="%m-%d-%Y",
        variables={"Red": {"file": "a"}, "NIR": {"file": "b"}},
    )
    assert iso(reader.days) == ["2020-12-31"]
    found = reader.read(0, 1, *EVERY)
    assert (found["Red"] == ord("a")).all()
    assert (found["NIR"] == ord("b")).all()


def test_granules_of_one_day_are_averaged_where_they_overlap_and_kept_where_one_is(tmp_path: Path) -> None:
    east = Grid(GRID.crs, (30.0, 0.0, 300000.0 + 4 * 30, 0.0, -30.0, 4100000.0 + 30), 6, 8)
    one, two = np.full((6, 8), 11, dtype=np.int16), np.full((6, 8), 14, dtype=np.int16)
    one[2, 6] = two[4, 1] = -9999
    write_tif(tmp_path / "A_20200101.tif", one)
    write_tif(tmp_path / "B_20200101.tif", two, east)
    write_tif(tmp_path / "B_20200103.tif", two, east)
    reader = source(tmp_path, variables=["Red"])
    assert reader.grid.shape == (7, 12)
    assert reader.grid.transform == (30.0, 0.0, 300000.0, 0.0, -30.0, 4100030.0)
    first, second = reader.read(0, 2, slice(0, 7), slice(0, 12))["Red"]
    expected = np.full((7, 12), -9999)
    expected[1:, :8], expected[:6, 4:] = 11, 14
    expected[1:6, 4:8] = np.rint(12.5)
    expected[3, 6] = 14  # missing in the first granule
    expected[4, 5] = 11  # missing in the second
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second[:6, 4:], two)
    assert (second[6] == -9999).all()
    assert (second[:, :4] == -9999).all()


def test_three_hourly_fields_become_the_mean_of_the_day_in_float(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((8, 6, 8)).astype(np.float32)
    for k, field in enumerate(values):
        write_tif(tmp_path / f"SMAP_L4_20200128T{3 * k:02d}3000.tif", field)
    reader = source(tmp_path, variables=["SMAP"])
    assert reader.days.size == 1
    found = reader.read(0, 1, *EVERY)["SMAP"][0]
    np.testing.assert_array_equal(found, values.astype(np.float64).mean(axis=0).astype(np.float32))


def test_land_cover_codes_are_never_averaged(tmp_path: Path) -> None:
    for tile, code in (("A", 41), ("B", 81)):
        write_tif(tmp_path / f"LC_{tile}_2019.tif", np.full((6, 8), code, dtype=np.uint8), nodata=0)
    reader = source(tmp_path, variables=["LC"])
    assert reader.cadence == "yearly"
    assert (reader.read(0, 1, *EVERY)["LC"] == 41).all()


def test_flagged_pixels_are_missing_not_zero(tmp_path: Path) -> None:
    red = np.full((6, 8), 500, dtype=np.int16)
    flags = np.arange(48, dtype=np.int16).reshape(6, 8)
    write_tif(tmp_path / "HLS_20200101.tif", np.stack([red, flags]), bands=("Red", "Fmask"))
    reader = source(tmp_path, variables=["Red"], mask={"band": "Fmask", "clear_bits": [1, 3]})
    found = reader.read(0, 1, *EVERY)["Red"][0]
    clear = [(v >> 1) & 1 == 0 and (v >> 3) & 1 == 0 for v in range(48)]
    np.testing.assert_array_equal(found.ravel(), np.where(clear, 500, -9999))


def test_values_out_of_the_valid_range_are_missing(tmp_path: Path) -> None:
    write_tif(
        tmp_path / "S1_20200101.tif", np.array([[-2100, -2000, -700, -400]], dtype=np.int16), scale=0.01
    )
    reader = source(tmp_path, variables={"VV": {"valid_range": [-20, -5]}})
    assert reader.read(0, 1, slice(0, 1), slice(0, 4))["VV"].ravel().tolist() == [-9999, -2000, -700, -9999]


def test_a_year_of_netcdf_is_read_by_its_own_days(tmp_path: Path) -> None:
    values = np.arange(5 * 4 * 3, dtype=np.uint16).reshape(5, 4, 3)
    values[2, 1, 1] = 32767
    write_nc(tmp_path / "tmmx_2020.nc", "air_temperature", values, [43829 + k for k in range(5)])
    reader = source(
        tmp_path, variables={"tmmx": {"unit": "K", "kind": "series", "range": [200, 350]}}, reader="netcdf"
    )
    assert reader.cadence == "daily"
    assert iso(reader.days) == [f"2020-01-0{k}" for k in range(1, 6)]
    assert reader.variables["tmmx"] == Packing(dtype="uint16", scale=0.1, offset=210.0, missing=32767)
    np.testing.assert_allclose(reader.grid.transform, [1 / 24, 0, -113 - 1 / 48, 0, -1 / 24, 40 + 1 / 48])
    np.testing.assert_array_equal(reader.read(1, 4, slice(0, 2), slice(1, 3))["tmmx"], values[1:4, :2, 1:3])


def test_variables_of_one_source_may_have_different_days(tmp_path: Path) -> None:
    ones = np.ones((2, 4, 3), dtype=np.uint16)
    write_nc(
        tmp_path / "pr_2020.nc", "precipitation_amount", ones, [43829, 43830], attrs={"scale_factor": 0.1}
    )
    write_nc(tmp_path / "vs_2020.nc", "wind_speed", 2 * ones, [43830, 43831], attrs={"scale_factor": 0.1})
    reader = source(tmp_path, pattern=r"{variable}_\d{4}\.nc", variables=["pr", "vs"])
    found = reader.read(0, 3, slice(0, 1), slice(0, 1))
    assert found["pr"].ravel().tolist() == [1, 1, 32767]
    assert found["vs"].ravel().tolist() == [32767, 2, 2]


def test_a_rising_latitude_keeps_its_order(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(4, 3)
    lat = 39.0 + np.arange(4) / 24
    write_nc(tmp_path / "x_20200101.nc", "pr", values, [43829], dims=("lat", "lon"), lat=lat)
    reader = source(tmp_path, variables=["pr"])
    assert reader.grid.transform[4] > 0
    np.testing.assert_allclose(reader.grid.y(np.arange(4)), lat)
    np.testing.assert_array_equal(reader.read(0, 1, slice(0, 4), slice(0, 3))["pr"][0], values)


def test_smap_l4_finds_its_dataset_grid_and_day(shared: Path) -> None:
    reader = open_source("smap", SourceConfig(path="smap_l4", variables={"SMAP": {}}), shared / "data")  # type: ignore[arg-type]
    assert reader.grid.crs == "EPSG:6933"
    assert reader.grid.shape == (508, 1123)
    # Its upper left corner lies on the lattice of the global 9 km EASE-Grid 2.0.
    col = (reader.grid.transform[2] + 17367530.45) / 9008.055
    row = (7314540.83 - reader.grid.transform[5]) / 9008.055
    assert abs(col - round(col)) < 1e-3
    assert abs(row - round(row)) < 1e-3
    assert iso(reader.days) == ["2020-01-28"]
    assert reader.variables["SMAP"] == Packing(dtype="float32", missing=-9999)


def test_mod11a1_takes_its_grid_from_the_metadata_and_its_integers_as_they_are(shared: Path) -> None:
    reader = open_source("modis", SourceConfig(path="modis", variables={"LST": {}}), shared / "data")  # type: ignore[arg-type]
    assert reader.variables["LST"] == Packing(dtype="uint16", scale=1.0, missing=0)
    assert iso(reader.days) == ["2021-08-15"]
    assert reader.grid.shape == (1200, 1200)
    np.testing.assert_allclose(reader.grid.transform[0], 926.625433, atol=1e-6)
    assert reader.config.mask is not None
    assert reader.config.mask.clear_bits == (1, 3)


def test_identity_follows_the_files_of_the_days(tmp_path: Path) -> None:
    for day in (1, 2):
        write_tif(tmp_path / f"A_2020010{day}.tif", np.full((6, 8), day, dtype=np.int16))
    before = source(tmp_path, variables=["Red"])
    write_tif(tmp_path / "A_20200102.tif", np.full((6, 8), 7, dtype=np.int16))
    after = source(tmp_path, variables=["Red"])
    assert before.identity(0, 1) == after.identity(0, 1)
    assert before.identity(1, 2) != after.identity(1, 2)


def _ones(**keys: Any) -> Any:
    return lambda folder: write_tif(folder / "A_20200101.tif", np.ones((6, 8), dtype=np.int16), **keys)


def _two(second: Any) -> Any:
    def write(folder: Path) -> None:
        _ones()(folder)
        second(folder / "B_20200102.tif")

    return write


ONES = np.ones((6, 8), dtype=np.int16)
COARSE = Grid("EPSG:32613", (60.0, 0.0, 300000.0, 0.0, -60.0, 4100000.0), 6, 8)
SHIFTED = Grid(GRID.crs, (30.0, 0.0, 300010.0, 0.0, -30.0, 4100000.0), 6, 8)


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        (lambda f: None, {}, "no raster in"),
        (lambda f: None, {"path": "nowhere"}, "nowhere: no such file or folder"),
        (_ones(), {"path": None}, "variables.Red: no path"),
        (_ones(), {"pattern": r"B_\d+"}, "no file matches"),
        (_ones(), {"pattern": "(B"}, "not a regular expression"),
        (_ones(crs=None), {}, "A_20200101.tif: has no CRS"),
        (_ones(), {"crs": "EPSG:4326"}, "its CRS is EPSG:32612; the configuration says EPSG:4326"),
        (_ones(), {"crs": "EPSG:1"}, "EPSG:1 is not a CRS"),
        (_ones(nodata=None), {}, "without a nodata value"),
        (_ones(), {"variables": {"Red": {"band": "B4"}}}, "A_20200101.tif: no band B4 for variable Red"),
        (_ones(), {"variables": {"Red": {"band": 2}}}, "no band 2 for variable Red"),
        (_ones(), {"variables": ["Red", "NIR"]}, "Red and NIR are both its band 1"),
        (_ones(), {"variables": ["mud"]}, "sources.it.variables.mud: not in the catalogue"),
        (_ones(), {"mask": {"band": "Fmask", "clear_bits": [1]}}, "no band Fmask"),
        (
            _two(lambda p: write_tif(p, ONES, COARSE)),
            {},
            "B_20200102.tif: EPSG:32613 .* does not fit A_20200101.tif",
        ),
        (
            _two(lambda p: write_tif(p, ONES, SHIFTED)),
            {},
            "B_20200102.tif: .* does not fit .* 0.333 of a column and 0 of a row off its pixels",
        ),
        (_two(lambda p: p.with_suffix(".nc").touch()), {}, "several formats"),
        (lambda f: write_tif(f / "A_20201332.tif", ONES), {}, "20201332 is not a date"),
        (lambda f: write_tif(f / "A_20210229.tif", ONES), {}, "20210229 is not a date"),
        (lambda f: write_tif(f / "plain.tif", ONES), {}, "plain.tif: no date in its name"),
        (lambda f: (f / "A_20200101.tif").write_text("x"), {}, "A_20200101.tif: cannot be read as a raster"),
        (lambda f: (f / "A_20200101.nc").write_text("x"), {}, "A_20200101.nc: cannot be read as NetCDF"),
        (lambda f: (f / "A_20200101.h5").write_text("x"), {}, "A_20200101.h5: cannot be read as HDF5"),
        (lambda f: (f / "A_20200101.hdf").write_text("x"), {}, "A_20200101.hdf: cannot be read as HDF4"),
        (_ones(), {"regrid": "average"}, "regrid needs the target grid"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, files: Any, keys: dict[str, Any], message: str
) -> None:
    files(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        source(tmp_path, **{"variables": ["Red"], "cadence": "irregular", **keys})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dims": ("day", "lon", "lat")}, "axes swapped"),
        ({"geographic": False}, "has no CRS"),
        ({"lat": 140.0 - np.arange(4)}, "latitudes from 140 to 137.* axes swapped"),
        ({"lat": np.array([4.0, 3.0, 1.0, 0.0])}, "axis y is not evenly spaced"),
        ({"days": [43830, 43829]}, "its days are not in order"),
        ({"days": [1e6, 1e6 + 1]}, r"its days, 4637-.* are out of range"),
    ],
)
def test_a_netcdf_that_does_not_fit_is_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    shape = (2, 3, 4) if "dims" in keys else (2, 4, 3)
    days = keys.pop("days", [43829, 43830])
    write_nc(tmp_path / "pr_2020.nc", "pr", np.ones(shape, dtype=np.uint16), days, **keys)
    with pytest.raises(InputError, match=message) as error:
        source(tmp_path, variables=["pr"])
    assert "pr_2020.nc" in str(error.value)


def test_a_scene_without_its_flags_is_refused(tmp_path: Path) -> None:
    write_tif(tmp_path / "S.2020001.B04.tif", ONES)
    write_tif(tmp_path / "S.2020002.B04.tif", ONES)
    write_tif(tmp_path / "S.2020001.Fmask.tif", ONES.astype(np.uint8), nodata=255)
    with pytest.raises(InputError, match=r"S\.2020002\.B04\.tif: no file with flags \(Fmask\)"):
        source(
            tmp_path,
            pattern=r"S\.(?P<date>\d{7})\.{variable}\.tif",
            variables={"Red": {"file": "B04"}},
            mask={"file": "Fmask", "clear_bits": [1]},
        )


def test_regridding_averages_fine_cells_onto_the_target(tmp_path: Path) -> None:
    fine = Grid(GRID.crs, (10.0, 0.0, 300000.0, 0.0, -10.0, 4100000.0), 18, 24)
    values = np.random.default_rng(1).integers(0, 1000, fine.shape).astype(np.int16)
    values[:3, :3] = -9999
    write_tif(tmp_path / "S1_20200101.tif", values, fine)
    config = SourceConfig.from_mapping({"path": ".", "variables": ["VV"], "regrid": "average"})
    reader = open_source("s1", config, tmp_path, GRID)
    assert reader.grid == GRID
    blocks = values.reshape(6, 3, 8, 3).astype(float)
    expected = np.rint(np.where(blocks == -9999, np.nan, blocks).mean(axis=(1, 3)))
    found = reader.read(0, 1, *EVERY)["VV"][0]
    assert found[0, 0] == -9999
    assert np.abs(found.ravel()[1:] - expected.ravel()[1:]).max() <= 1


def test_what_only_looks_like_a_raster_is_named_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "nowhere.tif").symlink_to("no.tif")
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    assert list(listed(tmp_path, "auto", "sources.w")) == []
    names = "folder.tif, loop.tif, nowhere.tif, pipe.tif"
    assert list(unread([tmp_path], set())) == [f"{tmp_path}: not read: {names}"]
