"""Through every door, from `init` to maps in four commands; stand-ins serve a simulated region."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import BOX, DAYS, maps_of, run
from upstream import HLS, write_upstream

sys.path.insert(0, str(Path(__file__).parents[1] / "sources/remote"))
sys.path.insert(0, str(Path(__file__).parents[1] / "sources/earth_engine"))

from archive_standin import ArchiveStandIn

from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.presets import DOORS, SOURCES, preset

#: What the presets name, and where the stand-in has it.
ADDRESSES = {
    "https://planetarycomputer.microsoft.com/api/stac/v1": "stac",
    "https://planetarycomputer.microsoft.com/api/sas/v1/token": "sign",
    **{f"https://cmr.earthdata.nasa.gov/stac/{c}": "stac" for c in ("NSIDC_CPRD", "LPCLOUD", "ASF")},
    "https://www.northwestknowledge.net/metdata/data/": "files/gridmet/",
    "http://hydrology.cee.duke.edu/POLARIS/PROPERTIES/v1.0/vrt/": "files/soil/",
    "https://www.mrlc.gov/downloads/sciweb1/shared/mrlc/data-bundles/": "files/landcover/",
    "https://prd-tnm.s3.amazonaws.com/StagedProducts/Elevation/13/TIFF/": "files/terrain/",
}
WORLD = [-99.5, 35.5, -97.5, 37.5]
FAST = ("--set", "http.requests_per_second=5000")
#: Of every source a variable or two, and how far a door may be from the simulated one.
COMPARED = ("NIR", "SWIR2", "SMAP", "LST", "eto", "pr", "clay", "bd", "LC", "elevation", "VV")


@pytest.fixture(scope="module")
def upstream(first_map: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    write_upstream(first_map / "cube_simulated/rasters", folder)
    return folder


@pytest.fixture
def archives(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveStandIn]:
    """The Planetary Computer and Earthdata, and files over HTTP, on loopback."""
    monkeypatch.setenv("EARTHDATA_TOKEN", "t")
    with ArchiveStandIn(upstream, page=50) as server:
        for flags in sorted((upstream / "hls").glob("*.Fmask.tif")):
            stem = flags.name.removesuffix(".Fmask.tif")
            day = np.datetime64(f"{stem.split('.')[3][:4]}-01-01") + int(stem.split(".")[3][4:7]) - 1
            bands = {b: flags.with_name(f"{stem}.{b}.tif") for b in (*HLS, "Fmask")}
            for collection in ("hls2-l30", "HLSL30_2.0"):
                server.add(stem, collection, str(day), WORLD, **bands)
        for vv in sorted((upstream / "sentinel1").glob("*_VV.tif")):
            day, vh = vv.name.split("_")[4][:8], vv.with_name(vv.name.replace("_VV", "_VH"))
            day = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            server.add(vv.stem, "sentinel-1-rtc", day, WORLD, vv=vv, vh=vh)
            server.add(vv.stem, "OPERA_L2_RTC-S1_V1_1", day, WORLD, a=vv, b=vh)
        for path in sorted((upstream / "smap").iterdir()):
            day = path.name[15:23]
            server.add(path.stem, "SPL4SMGP_008", f"{day[:4]}-{day[4:6]}-{day[6:]}", WORLD, data=path)
        for path in sorted((upstream / "modis").iterdir()):
            stem, day = path.name[:27], np.datetime64("2020-01-01") + int(path.name[13:16]) - 1
            layers = {k: upstream / f"modis_tif/{stem}_{k}.tif" for k in ("LST_Day_1km", "QC_Day")}
            server.add(stem, "modis-11A1-061", str(day), WORLD, **layers)
            server.add(stem, "MOD11A1_061", str(day), WORLD, data=path)
        dem = upstream / "terrain/USGS_13_n37w099.tif"
        server.add("n37w099", "3dep-seamless", "2020-01-01", WORLD, data=dem)
        yield server


def mirrors(server: ArchiveStandIn) -> list[str]:
    pairs = (f"--mirror={address}={server.url}/{place}" for address, place in ADDRESSES.items())
    return list(pairs)


def four_commands(folder: Path, first_map: Path, door: str, more: list[str], sets: tuple[str, ...]) -> None:
    """`init`, `cube build`, `predict`, `export`; the values of the cube are those of the region."""
    days = ("--start", DAYS[0], "--end", DAYS[1])
    run("init", f"--region={BOX}", *days, "--door", door, "--out", folder / "cube.yaml", *more)
    run("cube", "build", "--config", folder / "cube.yaml", "--out", folder / "cube.zarr", *sets)
    maps_of(folder, first_map / "bundle")
    with rasterio.open(folder / f"maps/soil_moisture_{DAYS[0].replace('-', '')}.tif") as file:
        assert file.read(1, masked=True).count() > 100
    there, here = open_cube(folder / "cube.zarr"), open_cube(first_map / "cube.zarr")
    for name in COMPARED:
        one, other = (cube.source_of(name) for cube in (there, here))
        if name == "VV":  # at another pixel, or smoothed once more: the level of the field stays
            levels = [np.nanmean(read_last(source, name)) for source in (one, other)]
            assert abs(levels[0] - levels[1]) < 0.3
            continue
        assert one.grid.shape == other.grid.shape, name
        loose = 0.006 if name == "elevation" else 1.1e-4 if name == "SMAP" else 1e-6
        np.testing.assert_allclose(
            read_last(one, name), read_last(other, name), rtol=1e-5, atol=loose, err_msg=name
        )


def read_last(source: object, name: str) -> np.ndarray:
    """The newest field of a variable that both cubes have."""
    every = slice(0, source.grid.height), slice(0, source.grid.width)
    return source.variables[name].decode(source.read(name, source.steps - 1, source.steps, *every))[0]


def test_through_the_door_files(first_map: Path, upstream: Path, tmp_path: Path) -> None:
    four_commands(tmp_path, first_map, f"files:{upstream}", [], ())


@pytest.mark.parametrize("door", ["planetary", "earthdata"])
def test_through_the_doors_of_archives(
    door: str, first_map: Path, archives: ArchiveStandIn, tmp_path: Path
) -> None:
    four_commands(tmp_path, first_map, door, mirrors(archives), FAST)
    # Nothing went elsewhere, and nothing was asked for twice.
    spans = [(path, start) for path, start, _ in archives.spans]
    assert len(spans) == len(set(spans))
    signed = [p for _, p, _ in archives.seen if p.startswith("/files/hls")]
    tokens = [h for h, (_, p, _) in zip(archives.headers, archives.seen, strict=True) if "/smap/" in p]
    assert tokens and all(h["Authorization"] == "Bearer t" for h in tokens)
    assert all("sig=" in p for p in signed) is (door == "planetary")
    asked = len(archives.seen)
    found = json.loads(run("cube", "check", tmp_path / "cube.yaml", *FAST, "--json"))
    assert set(found["sources"]) == set(SOURCES)
    assert not [p for _, p, r in archives.seen[asked:] if r]


def test_through_the_door_earthengine(
    first_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ee_region import sign_in_at
    from ee_simulated import world_of
    from ee_standin import StandIn

    monkeypatch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
    monkeypatch.setenv("EARTHENGINE_PROJECT", "p-test")
    with StandIn(world_of(first_map / "cube_simulated/rasters")) as server:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        kept = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        settings = sign_in_at(tmp_path, key.private_bytes(*kept).decode(), server)
        sets = [
            word
            for name in ("url", "key_file", "requests_per_second", "concurrency")
            for word in ("--set", f"earthengine.{name}={getattr(settings, name)}")
        ]
        four_commands(tmp_path, first_map, "earthengine", [], tuple(sets))


def test_the_presets_name_no_other_address() -> None:
    for door in set(DOORS) - {"earthengine"}:
        for source in SOURCES:
            for address in re.findall(r"https?://\S+", preset(door, source)):
                assert any(address.startswith(known) for known in ADDRESSES), address
