"""Maps of another depth say so, wherever they go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import mmnet_maps as mm
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, lonlat
from mmnet_maps.jobs.climate import climate
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.judge.stations import pair_stations
from mmnet_maps.produce.product.store import open_product

DAYS = "2020-03-01", "2020-03-03"
SOIL = 0.15, 0.25


@pytest.fixture(scope="module")
def made(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A bundle of 20 cm, a cube, and the bundle's product."""
    folder, world = tmp_path_factory.mktemp("depth"), make_world()
    plain = load_bundle(world.bundle)
    deep = replace(plain, catalogue=plain.catalogue.with_target("VWC_20"), digest="")
    save_bundle(deep, folder / "bundle")
    cube = world.cube(folder / "cube")
    assert mm.predict(folder / "bundle", cube, *DAYS, folder / "p.zarr")["failed"] == {}
    with pytest.raises(InputError, match=r"p\.zarr: the product is of VWC_20, the bundle of VWC_5; give"):
        mm.predict(world.bundle, cube, *DAYS, folder / "p.zarr")
    return folder / "bundle", cube, folder / "p.zarr"


def _says_20_cm(data: xr.Dataset) -> None:
    assert data.attrs["title"] == "Daily soil moisture, 15-25 cm"
    assert "over 15-25 cm." in data.attrs["comment"]
    assert data.soil_moisture.attrs["long_name"] == "volumetric soil moisture, 15-25 cm, daily mean"


def test_the_product_and_a_box_without_one_name_their_layer_of_soil(made: tuple[Path, Path, Path]) -> None:
    bundle, cube, path = made
    product = open_product(path)
    assert product.target.name == product.about["target"] == "VWC_20" and product.soil_depth == SOIL
    stored = xr.open_zarr(path)
    assert float(stored.depth) == pytest.approx(0.2) and tuple(stored.depth_bnds.values) == SOIL
    for data in (stored, mm.open_product(path), mm.predict(bundle, cube, *DAYS)):
        _says_20_cm(data)


def test_files_for_others_name_it_too(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = made[2]
    mm.export(path, tmp_path / "maps", zarr=True)
    collection = json.loads((tmp_path / "maps/collection.json").read_text())
    assert collection["title"] == "Daily soil moisture, 15-25 cm" in collection["description"]
    assert collection["cube:dimensions"]["depth"]["extent"] == list(SOIL)
    published = tmp_path / "maps/soil_moisture.zarr"
    data = xr.open_zarr(published, group="0")
    assert tuple(data.depth_bnds.values) == SOIL
    _says_20_cm(data)
    for source in (path, published, tmp_path / "maps"):
        assert open_maps(source).soil_depth == SOIL
        _says_20_cm(mm.open_product(source))
    climate(path, tmp_path / "climate.zarr")
    assert tuple(np.asarray(zarr.open_group(tmp_path / "climate.zarr")["depth_bnds"])) == SOIL


def test_validation_takes_the_column_of_that_depth(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    product = open_product(made[2])
    known = product.packing["soil_moisture"].decode(product.read_day(18322)["soil_moisture"])
    row, col = (int(k[0]) for k in np.nonzero(np.isfinite(known)))
    lon, lat = lonlat(product.grid, Tile(row, col, 1, 1))
    rows = pd.DataFrame(
        {
            "ID": ["a"] * 3, "Network": "TEST", "Latitude": float(lat.item()), "Longitude": float(lon.item()),
            "Date": [20200301, 20200302, 20200303], "VWC_5": 0.9, "VWC_20": [0.2, 0.21, 0.3],
        }
    )  # fmt: skip
    assert list(pair_stations(product, rows)[0]["y_test"]) == [0.2, 0.21, 0.3]
    rows.to_csv(tmp_path / "t.csv", index=False)
    rows[["ID", "Network", "Latitude", "Longitude"]].drop_duplicates().to_csv(tmp_path / "n.csv", index=False)
    done = mm.validate(made[2], tmp_path / "t.csv", tmp_path / "n.csv", tmp_path / "out")
    assert done["overall"]["n"] >= 1
    rows.drop(columns="VWC_20").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"lacks column VWC_20; found ID, .*VWC_5"):
        mm.validate(made[2], tmp_path / "t.csv", tmp_path / "n.csv", tmp_path / "out")


def test_products_of_before_targets_are_of_five_centimetres(make_product: Any) -> None:
    product = make_product()
    assert "target" not in product.about
    assert product.target.name == "VWC_5" and product.soil_depth == (0.0, 0.05)
    assert float(xr.open_zarr(product.path).depth) == 0.025
