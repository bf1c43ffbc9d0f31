"""From a region to maps: `init`, `cube check`, `cube build`, `predict`, `export`, no file edited by hand."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import pytest
import rasterio
import yaml
from commands import BOX, DAYS, run

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.cli import main
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.check import check_cube
from mmnet_maps.jobs.init import init
from mmnet_maps.learn.bundle import save_bundle
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.presets import DOORS, SOURCES
from mmnet_maps.variables import VARIABLES, normal_of


@pytest.fixture
def work(first_map: Path) -> Path:
    return first_map


def test_four_commands_give_maps_of_the_simulated_region(work: Path) -> None:
    for day in DAYS:
        with rasterio.open(work / "maps" / f"soil_moisture_{day.replace('-', '')}.tif") as file:
            values = file.read(1, masked=True)
            assert file.crs.to_epsg() == 32614 and values.count() > 0.5 * values.size


def test_the_check_says_how_fresh_the_sources_are(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(run("cube", "check", work / "cube.yaml", "--json"))
    assert found["problems"] == [] and found["maps"] == list(DAYS)
    entry = check_cube(work / "cube.yaml", today=dt.date(2020, 5, 31))["sources"]["smap"]
    assert entry["behind_today"] == 10 and entry["to"] == DAYS[1] and entry["bytes_to_fetch"] == 0
    later = ["--set", "maps=[2020-05-20, 2020-06-05]", "--set", "end=2020-06-05"]
    monkeypatch.setattr(sys, "argv", ["mmnet-maps", "cube", "check", str(work / "cube.yaml"), *later])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "can be mapped: smap: no field within 10 days for 5 of the 17 days" in said.err
    assert "problem: gridmet: no field for 15 of the 27 days" in said.out


def test_holes_longer_than_the_limit_are_listed(work: Path, tmp_path: Path) -> None:
    for path in (work / "cube_simulated/rasters/smap").iterdir():
        if "202005" not in path.name or path.name < "SMAP_20200518":
            continue
        path.rename(tmp_path / path.name)
    try:
        for path in sorted((work / "cube_simulated/rasters/smap").glob("SMAP_202004*")):
            path.rename(tmp_path / path.name)
        found = check_cube(work / "cube.yaml")
        assert found["sources"]["smap"]["holes"] == [["2020-04-01", "2020-04-30", 30]]
        assert found["problems"] == []
    finally:
        for path in tmp_path.iterdir():
            path.rename(work / "cube_simulated/rasters/smap" / path.name)


def test_predict_says_where_collections_differ(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cube = work / "other.zarr"
    change = "sources.smap.collection=SPL4SMGP.007"
    run("cube", "build", "--config", work / "cube.yaml", "--out", cube, "--set", change)
    where = ("--bundle", work / "bundle", "--cube", cube, "--out", work / "other")
    found = json.loads(run("predict", *where, "--start", DAYS[0], "--end", DAYS[1], "--dry-run", "--json"))
    line = "SMAP: learned from NASA/SMAP/SPL4SMGP/008, here from SPL4SMGP.007"
    assert found["other_collections"] == [line]


@pytest.mark.parametrize("door", [door for door in DOORS if door not in ("files", "simulated")])
def test_every_door_has_presets_that_make_a_configuration(door: str, tmp_path: Path) -> None:
    found = init(BOX, *DAYS, door, tmp_path / "cube.yaml")
    text = (tmp_path / "cube.yaml").read_text()
    assert set(found["doors"]) == set(SOURCES) and text.count("#") > 10
    data = yaml.safe_load(text)
    assert "sources" in data or door == "earthengine"
    assert found["start"] == "2020-02-20" and data["grid"]["crs"] == "EPSG:32614"


def test_doors_are_mixed_and_presets_replaced(tmp_path: Path) -> None:
    (tmp_path / "own/files").mkdir(parents=True)
    (tmp_path / "own/files/soil.yaml").write_text("path: $folder/mine\nvariables: [clay, sand, bd]\n")
    init(
        BOX, *DAYS, "files:/data", tmp_path / "cube.yaml",
        sources={"smap": "earthengine", "hls": "planetary"}, presets=tmp_path / "own",
    )  # fmt: skip
    data = yaml.safe_load((tmp_path / "cube.yaml").read_text())
    assert data["sources"]["hls"]["kind"] == "stac" and data["sources"]["soil"]["path"].endswith("/mine")
    assert "smap" not in data["sources"] and list(data["earthengine"]["sources"]) == ["smap"]
    assert set(data["earthengine"]["without"]) == set(SOURCES) - {"smap"}


def test_a_bundle_decides_history_normals_and_sources(tmp_path: Path) -> None:
    pr = next(v for v in VARIABLES if v.name == "pr")
    catalogue = published_catalogue().without(["VV", "VH"]).adding(normal_of(pr, 2018))
    save_bundle(made_up_bundle("mmnet", catalogue), tmp_path / "bundle")
    found = init(BOX, *DAYS, "files:/data", tmp_path / "c.yaml", bundle=tmp_path / "bundle")
    config = CubeConfig.load(tmp_path / "c.yaml")
    assert "sentinel1" not in found["doors"] and config.normals is not None
    assert config.normals.variables == ("pr",) and config.normals.until == 2018
    assert config.start == dt.date(2020, 2, 20)


def test_soil_state_reaches_back_a_season() -> None:
    from mmnet_maps.jobs.init import _history

    catalogue = published_catalogue().with_soil_state()
    assert _history(catalogue)[0] == catalogue.history_days > 180


def test_a_polygon_file_is_named_from_the_configuration(tmp_path: Path) -> None:
    import geopandas
    from shapely.geometry import box

    (tmp_path / "shapes").mkdir()
    outline = geopandas.GeoDataFrame(geometry=[box(-98.41, 36.39, -98.39, 36.41)], crs="EPSG:4326")
    outline.to_file(tmp_path / "shapes/farm.geojson")
    init(tmp_path / "shapes/farm.geojson", *DAYS, "planetary", tmp_path / "cube.yaml")
    assert CubeConfig.load(tmp_path / "cube.yaml").target(tmp_path).grid.crs == "EPSG:32614"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"region": "nowhere.gpkg"}, r"nowhere\.gpkg: no such file, and no box"),
        ({"region": "-98,36,-99,37"}, "west < east"),
        ({"region": "-120,36,-99,37"}, "too wide for one UTM zone"),
        ({"start": "2020-06-01"}, "is after --end"),
        ({"door": "files"}, r"expected files:DIR"),
        ({"door": "gate"}, "door gate: not known; known are files"),
        ({"sources": {"rain": "planetary"}}, "--source rain: not a source"),
    ],
)
def test_wrong_wishes_are_one_line(change: dict[str, object], says: str, tmp_path: Path) -> None:
    asked = {"region": BOX, "start": DAYS[0], "end": DAYS[1], "door": "planetary", **change}
    with pytest.raises(InputError, match=says):
        init(**asked, out=tmp_path / "cube.yaml")  # type: ignore[arg-type]
    assert not (tmp_path / "cube.yaml").exists()
