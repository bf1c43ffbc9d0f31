"""A cube fetched from the stand-in equals one built from files of the same region."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from ee_region import END, START, days_of, millis, sign_in_at
from ee_standin import Fault, StandIn
from ee_world import World, proj_crs, to
from pyproj import CRS
from scipy import ndimage

from mmnet_maps.assets import ASSETS
from mmnet_maps.grid import Grid
from mmnet_maps.sources.earth_engine.cube import EarthEngineReader, open_readers
from mmnet_maps.sources.earth_engine.grids import NativeGrid, lonlat_box, native_grid
from mmnet_maps.sources.earth_engine.session import Session, open_session

X, Y = to("EPSG:4326", "EPSG:32612").transform(-113.0, 37.2)
TARGET = Grid.from_bounds("EPSG:32612", (X - 900, Y - 900, X + 900, Y + 900), 30.0)


Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def fetched(
    world: World, key_pem: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[EarthEngineReader, Arrays]]:
    """Every source, and all that it gives (radar and terrain are read where a cube is built)."""
    folder = tmp_path_factory.mktemp("cube")
    with StandIn(world) as server, open_session(sign_in_at(folder, key_pem, server)) as session:
        readers = open_readers(session, TARGET, START, END)
        return {r.name: (r, {} if r.name in ("sentinel1", "terrain") else whole(r)) for r in readers}


@pytest.fixture(scope="module")
def readers(fetched: dict[str, tuple[EarthEngineReader, Arrays]]) -> dict[str, EarthEngineReader]:
    return {name: reader for name, (reader, _) in fetched.items()}


def whole(reader: EarthEngineReader) -> dict[str, np.ndarray]:
    count = max(1, reader.days.size)
    return reader.read(0, count, slice(0, reader.grid.height), slice(0, reader.grid.width))


def nearest(scene, band: str, grid: Grid) -> np.ndarray:
    """Values of a scene at the pixel centres of a grid, NaN where it is masked or does not reach."""
    rows, cols = np.mgrid[: grid.height, : grid.width]
    x, y = grid.affine @ (cols + 0.5, rows + 0.5)
    if proj_crs(scene.crs) != grid.crs:
        x, y = to(grid.crs, scene.crs).transform(x, y)
    c, r = ~scene.transform @ (x, y)
    r, c = np.floor(r).astype(int), np.floor(c).astype(int)
    values = scene.bands[band]
    inside = (r >= 0) & (r < values.shape[0]) & (c >= 0) & (c < values.shape[1])
    return np.where(inside, values[np.where(inside, r, 0), np.where(inside, c, 0)], np.nan)


def test_days_and_grids_are_those_of_the_assets(readers: dict[str, EarthEngineReader], world: World) -> None:
    every = [(d - dt.date(1970, 1, 1)).days for d in days_of()]
    assert readers["gridmet"].days.tolist() == every == readers["smap"].days.tolist()
    assert readers["hls"].days.tolist() == every[1::3]
    assert readers["sentinel1"].days.tolist() == every[::4], "scenes of other modes do not count"
    assert readers["landcover"].days.tolist() == [
        (dt.date(y, 1, 1) - dt.date(1970, 1, 1)).days for y in (2016, 2019, 2021)
    ]
    assert readers["terrain"].days.size == 0 and readers["terrain"].cadence == "static"
    for name, reader in readers.items():
        if name in ("hls", "sentinel1"):
            assert reader.grid.crs == "EPSG:32612"
            assert reader.grid.transform[0] == {"hls": 30.0, "sentinel1": 10.0}[name]
            continue
        asset = ASSETS[name].assets[0].id
        held = world[asset]
        scene = held if not isinstance(held, list) else held[0]
        native = Grid(proj_crs(scene.crs), tuple(scene.transform)[:6], 10, 10)
        assert reader.grid.aligned_offset(native) is not None, name


def test_weather_and_soil_moisture_are_the_source_s_values(
    fetched: dict[str, tuple[EarthEngineReader, Arrays]], world: World
) -> None:
    reader, got = fetched["gridmet"]
    for step, day in enumerate(days_of()):
        scene = next(s for s in world["IDAHO_EPSCOR/GRIDMET"] if s.index == f"{day:%Y%m%d}")
        for name in ("pr", "sph", "vpd"):
            expected = nearest(scene, name, reader.grid)
            found = reader.variables[name].decode(got[name][step])
            np.testing.assert_allclose(found, expected, atol=reader.variables[name].scale / 2, equal_nan=True)
    assert (got["vpd"][2] == 65535).all(), "a masked day is missing, never zero"
    reader, got = fetched["smap"]
    for step, day in enumerate(days_of()):
        fields = [s for s in world["NASA/SMAP/SPL4SMGP/008"] if s.index.startswith(f"{day:%Y%m%d}")]
        expected = np.mean([nearest(s, "sm_surface", reader.grid) for s in fields], axis=0)
        found = reader.variables["SMAP"].decode(got["SMAP"][step])
        np.testing.assert_allclose(found, expected, atol=0.51e-4, equal_nan=True)


def test_scenes_are_masked_and_joined_by_day(
    fetched: dict[str, tuple[EarthEngineReader, Arrays]], world: World
) -> None:
    reader, got = fetched["hls"]
    epoch = dt.date(1970, 1, 1)
    missing = 0
    for step, day in enumerate(reader.days):
        stamp = f"{epoch + dt.timedelta(days=int(day)):%Y%m%d}"
        parts = []
        for scene in world["NASA/HLS/HLSL30/v002"]:
            if stamp not in scene.index:
                continue
            flags = nearest(scene, "Fmask", reader.grid)
            clear = np.isin(flags, (0, 4, 16))
            parts.append(np.where(clear, nearest(scene, "B5", reader.grid), np.nan))
        assert len(parts) == 2
        count = np.sum([~np.isnan(p) for p in parts], axis=0)
        expected = np.nansum(parts, axis=0) / np.where(count, count, np.nan)
        found = reader.variables["NIR"].decode(got["NIR"][step])
        np.testing.assert_allclose(found, expected, atol=0.51e-4, equal_nan=True)
        missing += int(np.isnan(found).sum())
    assert missing > 100


def test_surface_temperature_land_cover_and_soil(
    fetched: dict[str, tuple[EarthEngineReader, Arrays]], world: World
) -> None:
    reader, every = fetched["modis"]
    got = every["LST"]
    for step, scene in enumerate(world["MODIS/061/MOD11A1"]):
        good = np.isin(nearest(scene, "QC_Day", reader.grid), (0, 1, 65))
        expected = np.where(good, nearest(scene, "LST_Day_1km", reader.grid), 0)
        np.testing.assert_array_equal(got[step], np.nan_to_num(expected))
    reader, every = fetched["landcover"]
    got = every["LC"]
    for step, asset in enumerate(ASSETS["landcover"].assets):
        np.testing.assert_array_equal(
            got[step], np.nan_to_num(nearest(world[asset.id], "landcover", reader.grid))
        )
    reader, got = fetched["soil"]
    for asset in ASSETS["soil"].assets:
        (name,) = asset.bands
        found = reader.variables[name].decode(got[name][0])
        expected = nearest(world[asset.id], "b1", reader.grid)
        np.testing.assert_allclose(found, expected, atol=reader.variables[name].scale * 0.51)


def test_requests_keep_to_the_limits_and_windows_join(standin: StandIn, config_for) -> None:
    names, found = ("soil", "gridmet"), []
    for limit in (30.0, 0.01):
        standin.largest_bytes, standin.seen = 0, []
        config = config_for(standin, request_mib=limit, without=[n for n in ASSETS if n not in names])
        with open_session(config) as session:
            readers = open_readers(session, TARGET, START, END)
            found.append({n: v for reader in readers for n, v in whole(reader).items()})
    assert 0 < standin.largest_bytes <= 0.01 * 2**20
    assert standin.count("pixels") > 4
    for variable, values in found[0].items():
        np.testing.assert_array_equal(found[1][variable], values)


def test_no_request_is_wider_than_the_server_takes(
    signed_in: Session, standin: StandIn, world: World
) -> None:
    cover = world[ASSETS["landcover"].assets[0].id]
    wide = Grid(cover.crs, tuple(cover.transform @ Affine.translation(-20_000, 50))[:6], 1, 40_000)
    native = NativeGrid(wide, {"crsCode": cover.crs})
    reader = EarthEngineReader(signed_in, "landcover", ASSETS["landcover"], native, {0: (), 1: (), 2: ()})
    got = reader.read(0, 1, slice(0, 1), slice(0, 40_000))["LC"]
    np.testing.assert_array_equal(got[0], np.nan_to_num(nearest(cover, "landcover", wide)))
    sizes = [json.loads(raw)["grid"]["dimensions"]["width"] for kind, raw in standin.seen if kind == "pixels"]
    assert sum(sizes) == 40_000 and max(sizes) <= 32_768


def test_a_window_of_some_days_is_part_of_the_whole(
    fetched: dict[str, tuple[EarthEngineReader, Arrays]], standin: StandIn, config_for
) -> None:
    every = fetched["gridmet"][1]
    with open_session(config_for(standin, without=[n for n in ASSETS if n != "gridmet"])) as session:
        (reader,) = open_readers(session, TARGET, START, END)
        part = reader.read(2, 5, slice(1, 4), slice(2, 6))
    for name, values in part.items():
        np.testing.assert_array_equal(values, every[name][2:5, 1:4, 2:6])


def test_too_much_for_the_server_is_asked_for_in_halves(standin: StandIn, config_for) -> None:
    def memory(what: str, number: int) -> Fault | None:
        return Fault(400, "User memory limit exceeded.") if what == "pixels" and number < 3 else None

    with open_session(config_for(standin, without=[n for n in ASSETS if n != "gridmet"])) as session:
        (reader,) = open_readers(session, TARGET, START, END)
        plain = whole(reader)
        standin.seen.clear()
        standin.faults = memory
        again = whole(reader)
    for name in plain:
        np.testing.assert_array_equal(plain[name], again[name])
    assert standin.count("pixels") > 3


def test_pixels_after_passing_failures_are_the_same(
    fetched: dict[str, tuple[EarthEngineReader, Arrays]], standin: StandIn, config_for
) -> None:
    faults = [Fault(429, "Too many requests"), Fault(500, "internal error"), Fault(503, "unavailable")]
    faults += [Fault(kind="reset"), Fault(kind="short"), Fault(kind="broken")]
    names, failed = ("gridmet", "landcover"), []

    def every_third(what: str, number: int) -> Fault | None:
        if what == "pixels" and number % 3 == 0:
            failed.append(number)
            return faults[len(failed) % len(faults)]
        return None

    standin.faults = every_third
    settings = config_for(standin, request_mib=0.001, without=[n for n in ASSETS if n not in names])
    with open_session(settings) as session:
        for reader in open_readers(session, TARGET, START, END):
            for variable, values in whole(reader).items():
                np.testing.assert_array_equal(values, fetched[reader.name][1][variable])
    assert len(failed) >= len(faults)
    # Nothing that was answered is asked for again, and every failure costs one request more.
    assert set(standin.answered.values()) == {1}
    assert len(standin.seen) == len(standin.answered) + len(failed)


def test_a_grid_without_a_code_is_asked_for_by_its_wkt(world: World, config_for) -> None:
    wkt = CRS("EPSG:5070").to_wkt("WKT1_GDAL")
    other = dict(world)
    for asset in ASSETS["landcover"].assets:
        other[asset.id] = replace(world[asset.id], crs=wkt)
    found = []
    for held in (world, other):
        with StandIn(held) as server:
            config = config_for(server, without=[n for n in ASSETS if n != "landcover"])
            with open_session(config) as session:
                (reader,) = open_readers(session, TARGET, START, END)
                found.append(whole(reader)["LC"])
    assert reader.grid.crs.startswith("PROJCS")
    np.testing.assert_array_equal(found[0], found[1])


def test_a_region_in_degrees_gets_its_utm_zone(signed_in: Session) -> None:
    target = Grid.from_bounds("EPSG:4326", (-113.01, 37.19, -112.99, 37.21), 1 / 3600)
    native = native_grid(signed_in, ASSETS["sentinel1"], target)
    assert native.grid.crs == "EPSG:32612" and native.crs == {"crsCode": "EPSG:32612"}
    left, bottom, right, top = native.grid.bounds
    x, y = to("EPSG:4326", "EPSG:32612").transform([-113.01, -112.99], [37.19, 37.21])
    assert left < min(x) and right > max(x) and bottom < min(y) and top > max(y)
    south = Grid.from_bounds("EPSG:4326", (149.0, -35.0, 149.1, -34.9), 1 / 3600)
    assert native_grid(signed_in, ASSETS["hls"], south).grid.crs == "EPSG:32755"


def smoothed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The method's treatment of radar by SciPy: masked, then a Gaussian mean of what is left."""
    good = np.isfinite(values) & (values > low) & (values < high)
    gauss = partial(ndimage.gaussian_filter, sigma=1.0, radius=3, mode="constant")
    weight = gauss(good.astype(float))
    return np.where(good, gauss(np.where(good, values, 0.0)) / np.where(good, weight, 1.0), np.nan)


def plane(dem) -> dict[str, np.ndarray]:
    """Elevation, slope and aspect of the world's terrain, a plane in degrees, in closed form."""
    height = dem.bands["elevation"]
    rows = np.arange(height.shape[0])[:, None] + 0.5
    lat = np.radians(dem.transform.f + dem.transform.e * rows)
    degree = 2 * np.pi * 6378137 / 360
    east = 0.8 * 10800 / degree / np.cos(lat) + np.zeros(height.shape)
    north = np.full(height.shape, 0.5 * 10800 / degree)
    slope = np.degrees(np.arctan(np.hypot(east, north)))
    return {"elevation": height, "slope": slope, "aspect": np.degrees(np.arctan2(-east, -north)) % 360}


def write_local(world: World, folder: Path) -> dict[str, dict[str, object]]:
    """GeoTIFFs of the same region, masks already applied, and the sources that read them."""
    import rasterio

    def tif(path: Path, scene, bands: dict[str, np.ndarray], missing: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = next(iter(bands.values())).shape
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=len(bands),
            dtype=next(iter(bands.values())).dtype,
            crs=proj_crs(scene.crs),
            transform=scene.transform,
            nodata=missing,
        ) as file:
            for i, (name, values) in enumerate(bands.items(), 1):
                file.write(values, i)
                file.set_band_description(i, name)
                file.scales = [1.0] * len(bands)

    def stored(name: str, values: np.ndarray) -> np.ndarray:
        source = next(s for s in ASSETS.values() if name in s.packings)
        return source.packings[name].encode(values)

    for scene in world["IDAHO_EPSCOR/GRIDMET"]:
        names = ASSETS["gridmet"].variables
        bands = {n: stored(n, scene.bands[n]) for n in names}
        for name, values in bands.items():
            tif(folder / "gridmet" / f"{name}_{scene.index}.tif", scene, {name: values}, 65535)
    for scene in world["MODIS/061/MOD11A1"]:
        good = np.isin(scene.bands["QC_Day"], (0, 1, 65))
        lst = np.where(good, scene.bands["LST_Day_1km"], np.nan)
        path = folder / "modis" / f"LST_{scene.index.replace('_', '')}.tif"
        tif(path, scene, {"LST": stored("LST", lst)}, 0)
    for asset in ASSETS["landcover"].assets:
        codes = world[asset.id].bands["landcover"]
        path = folder / "landcover" / f"LC_{asset.year}.tif"
        tif(path, world[asset.id], {"LC": stored("LC", codes)}, 0)
    for day in days_of():
        fields = [s for s in world["NASA/SMAP/SPL4SMGP/008"] if s.index.startswith(f"{day:%Y%m%d}")]
        mean = np.mean([s.bands["sm_surface"] for s in fields], axis=0)
        path = folder / "smap" / f"SMAP_{day:%Y%m%d}.tif"
        tif(path, fields[0], {"SMAP": stored("SMAP", mean)}, -9999)
    for scene in world["NASA/HLS/HLSL30/v002"]:
        clear = np.isin(scene.bands["Fmask"], (0, 4, 16))
        red = stored("Red", np.where(clear, scene.bands["B4"], np.nan))
        tif(folder / "hls" / f"HLS_{scene.index}.tif", scene, {"Red": red}, -9999)
    for asset in ASSETS["soil"].assets:
        (name,) = asset.bands
        values = stored(name, world[asset.id].bands["b1"])
        tif(folder / "soil" / f"{name}.tif", world[asset.id], {name: values}, 65535)
    for scene in world["COPERNICUS/S1_GRD"]:
        if scene.index.startswith("S1A_IW"):
            bands = {"VV": smoothed(scene.bands["VV"], -20, -5), "VH": smoothed(scene.bands["VH"], -30, -10)}
            bands["angle"] = scene.bands["angle"]
            day = scene.index.split("_")[4][:8]
            packed = {n: stored(n, v) for n, v in bands.items()}
            tif(folder / "sentinel1" / f"S1_{day}.tif", scene, packed, -32768)
    dem = world["USGS/3DEP/10m"]
    for name, values in plane(dem).items():
        missing = ASSETS["terrain"].packings[name].missing
        tif(folder / "terrain" / f"{name}.tif", dem, {name: stored(name, values)}, missing)
    scales = {n: ASSETS["gridmet"].packings[n].scale for n in ASSETS["gridmet"].variables}
    return {
        "sentinel1": {
            "path": str(folder / "sentinel1"),
            "pattern": r"S1_(?P<date>\d{8})\.tif",
            "variables": {n: {"scale": 0.01} for n in ("VV", "VH", "angle")},
        },
        "terrain": {
            "path": str(folder / "terrain"),
            "pattern": r"{variable}\.tif",
            "variables": {n: {"scale": 0.01} for n in ("elevation", "slope", "aspect")},
        },
        "gridmet": {
            "path": str(folder / "gridmet"),
            "pattern": r"{variable}_(?P<date>\d{8})\.tif",
            "variables": {n: {"scale": s} for n, s in scales.items()},
        },
        "modis": {"path": str(folder / "modis"), "variables": ["LST"]},
        "landcover": {"path": str(folder / "landcover"), "cadence": "yearly", "variables": ["LC"]},
        "smap": {"path": str(folder / "smap"), "variables": {"SMAP": {"scale": 1e-4}}},
        "hls": {
            "path": str(folder / "hls"),
            "pattern": r"HLS_T\w{5}_(?P<date>\d{8})T\d+\.tif",
            "variables": {"Red": {"scale": 1e-4}},
        },
        "soil": {
            "path": str(folder / "soil"),
            "pattern": r"{variable}\.tif",
            "variables": {n: {"scale": ASSETS["soil"].packings[n].scale} for n in ("clay", "sand", "bd")},
        },
    }


def test_a_cube_from_the_stand_in_equals_one_from_local_files(
    world: World, tmp_path: Path, key_pem: str
) -> None:
    import zarr

    from mmnet_maps.jobs.cubes import build_from_config
    from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
    from mmnet_maps.prepare.cube.config import CubeConfig

    names = tuple(ASSETS)
    where = {
        "region": {"box": list(TARGET.bounds), "crs": "EPSG:32612"},
        "grid": {"crs": "EPSG:32612", "resolution": 30},
        "start": START,
        "end": END,
    }
    local = CubeConfig.from_mapping({**where, "sources": write_local(world, tmp_path)})
    build_from_config(local, tmp_path, tmp_path / "local.zarr", 1)
    with StandIn(world) as server:
        settings = sign_in_at(tmp_path, key_pem, server)
        config = EarthEngineCubeConfig.from_mapping({**where, "earthengine": settings.model_dump()})
        summary = build_from_config(config, tmp_path, tmp_path / "remote.zarr", 2)
        asked = server.count("pixels")
        again = build_from_config(config, tmp_path, tmp_path / "remote.zarr", 2)
        assert again["parts_built"] == 0 and server.count("pixels") == asked
    assert summary["parts_built"] > 0 and summary["eecu_hours"]["counted"] > 0
    one, two = zarr.open_group(tmp_path / "local.zarr"), zarr.open_group(tmp_path / "remote.zarr")
    for name in names:
        if name not in ("soil", "terrain"):
            np.testing.assert_array_equal(one[f"{name}/time"][:], two[f"{name}/time"][:])
        for variable in ("Red",) if name == "hls" else ASSETS[name].variables:
            a, b = one[f"{name}/{variable}"], two[f"{name}/{variable}"]
            assert a.attrs["packing"]["scale"] == b.attrs["packing"]["scale"]
            local, remote = a[:], b[:]
            np.testing.assert_array_equal(local == a.fill_value, remote == b.fill_value, err_msg=variable)
            # Where two granules overlap, half a stored unit may be rounded either way.
            most = 1 if name == "hls" else 0
            np.testing.assert_allclose(local, remote, rtol=0, atol=most, err_msg=variable)
            assert (local != a.fill_value).any()


def test_normals_are_of_the_years_asked_for_and_need_the_first_of_them(
    world: World, tmp_path: Path, key_pem: str
) -> None:
    from mmnet_maps.errors import InputError
    from mmnet_maps.jobs.cubes import build_from_config
    from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
    from mmnet_maps.prepare.cube.store import open_cube

    name = "IDAHO_EPSCOR/GRIDMET"
    first = world[name][0]
    days = [dt.date(2018, month, day) for month in range(1, 13) for day in range(1, 21)]
    months = [
        replace(
            first,
            index=f"{day:%Y%m%d}",
            time=millis(day, 6),
            bands={n: np.full_like(v, day.month) for n, v in first.bands.items()},
        )
        for day in days
    ]
    where = {
        "region": {"box": list(TARGET.bounds), "crs": "EPSG:32612"},
        "grid": {"crs": "EPSG:32612", "resolution": 30},
        "start": START,
        "end": END,
    }
    with StandIn({**world, name: [*months, *world[name]]}) as server:
        few = {"times": "daily", "assets": [{"id": name, "bands": {"pr": "pr", "srad": "srad"}}]}
        others = [n for n in ASSETS if n != "gridmet"]
        settings = sign_in_at(tmp_path, key_pem, server, without=others, sources={"gridmet": few})
        where["earthengine"] = settings.model_dump()
        with pytest.raises(InputError, match=r"normals\.since is missing"):
            build_from_config(
                EarthEngineCubeConfig.from_mapping({**where, "normals": {"until": 2018}}),
                tmp_path,
                tmp_path / "c",
            )
        asked = {"since": 2018, "until": 2018, "variables": ["pr", "srad"]}
        config = EarthEngineCubeConfig.from_mapping({**where, "normals": asked})
        build_from_config(config, tmp_path, tmp_path / "c.zarr", 1)
    cube = open_cube(tmp_path / "c.zarr")
    held = cube.sources["gridmet_normals"]
    assert list(held.variables) == ["pr_normal", "srad_normal"]
    assert cube.sources["gridmet"].days.size == len(days_of())
    for variable in held.variables:
        found = held.read(variable, 0, 1, slice(0, held.grid.height), slice(0, held.grid.width))
        # The mean of 1 to 12, in stored steps.
        seen = found[np.isfinite(found)]
        assert seen.size and np.abs(seen - 6.5).max() < 0.06


def test_a_region_across_180_degrees_is_one_narrow_box() -> None:
    grid = Grid("EPSG:32701", (100.0, 0.0, 160_000.0, 0.0, -100.0, 8_140_000.0), 400, 400)
    west, south, east, north = lonlat_box(grid)
    assert west < 180 < east and east - west < 0.5
    assert -17.3 < south < north < -16.7
