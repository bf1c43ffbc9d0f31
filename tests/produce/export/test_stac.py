"""The static STAC catalog: valid without a network, relative, and true to the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pystac
import pytest
import rasterio
import shapely
import shapely.geometry
from pyproj import Transformer
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.export.footprint import footprint, joined

SCHEMAS = Path(__file__).parent / "stac_schemas"


@pytest.fixture
def offline() -> JsonSchemaSTACValidator:
    """A validator that knows every schema it needs and cannot reach a network."""
    validator = JsonSchemaSTACValidator()
    for path in SCHEMAS.glob("*.json"):
        name, version = path.stem.rsplit("-", 1)
        uri = f"https://stac-extensions.github.io/{name}/{version}/schema.json"
        validator.schema_cache[uri] = json.loads(path.read_text())
    return validator


@pytest.fixture
def folder(make_product: Callable[..., Any], tmp_path: Path) -> Path:
    export_product(make_product(), tmp_path / "out")
    return tmp_path / "out"


def test_every_object_of_the_catalog_is_valid(folder: Path, offline: JsonSchemaSTACValidator) -> None:
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert len(items) == 4
    for thing in (catalog, *catalog.get_children(), *items):
        thing.validate(validator=offline)
    for item in items:
        assert set(item.stac_extensions) <= set(offline.schema_cache)


def test_a_wrong_item_is_not_valid(folder: Path, offline: JsonSchemaSTACValidator) -> None:
    item = pystac.Item.from_file(str(folder / "soil_moisture_20210601.json"))
    item.properties["proj:shape"] = "96 x 120"
    with pytest.raises(pystac.errors.STACValidationError):
        item.validate(validator=offline)


def test_an_item_describes_its_file(folder: Path) -> None:
    item = pystac.Item.from_file(str(folder / "soil_moisture_20210602.json"))
    asset = item.assets["values"]
    path = Path(asset.get_absolute_href() or "")
    with rasterio.open(path) as file:
        assert item.properties["proj:shape"] == list(file.shape)
        assert item.properties["proj:transform"] == list(file.transform)[:6]
        assert item.properties["proj:code"] == file.crs.to_string()
        bands = asset.extra_fields["bands"]
        assert [b["name"] for b in bands] == list(file.descriptions)
        assert [b["unit"] for b in bands] == list(file.units)
        assert [b["raster:scale"] for b in bands] == list(file.scales)
        assert {b["nodata"] for b in bands} == {file.nodata}
        assert item.properties["mmnet_maps:digest"] == file.tags()["digest"]
        valid = np.count_nonzero(file.read(1) != file.nodata) / file.read(1).size * 100
    assert item.properties["mmnet_maps:valid_percent"] == pytest.approx(valid, abs=1e-4)
    assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert asset.extra_fields["file:size"] == path.stat().st_size
    assert item.datetime is not None and item.datetime.isoformat() == "2021-06-02T00:00:00+00:00"


def test_quality_bits_are_described_by_name_and_place(folder: Path) -> None:
    item = json.loads((folder / "soil_moisture_20210601.json").read_text())
    fields = item["assets"]["quality"]["bands"][0]["classification:bitfields"]
    with rasterio.open(folder / "quality_20210601.tif") as file:
        tags = file.tags(1)
    names, masks = tags["flag_meanings"].split(), tags["flag_masks"].split()
    assert [(f["name"], str(1 << f["offset"])) for f in fields] == list(zip(names, masks, strict=True))


def test_the_folder_may_be_moved(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    for path in moved.glob("*.json"):
        for link in json.loads(path.read_text())["links"]:
            assert link["href"].startswith("./") and (moved / link["href"]).is_file()
    items = list(pystac.Catalog.from_file(str(moved / "catalog.json")).get_items(recursive=True))
    assert all(Path(a.get_absolute_href() or "").is_file() for item in items for a in item.assets.values())


def test_the_collection_grows_with_the_days(make_product: Callable[..., Any], tmp_path: Path) -> None:
    product, out = make_product(), tmp_path / "out"
    first = product.layout.start
    spans = []
    for day in (first + 2, first):
        export_product(product, out, day, day)
        collection = pystac.Collection.from_file(str(out / "collection.json"))
        spans.append([str(t)[:10] for t in collection.extent.temporal.intervals[0]])
    assert spans == [["2021-06-03", "2021-06-03"], ["2021-06-01", "2021-06-03"]]
    assert len(list(collection.get_items())) == 2


def test_the_footprint_holds_every_pixel_centre() -> None:
    grid = Grid("EPSG:32612", (3000.0, 0.0, 300_000.0, 0.0, -3000.0, 4_500_000.0), 150, 140)
    (west, south, east, north), geometry = footprint(grid)
    x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    assert west < lon.min() and lon.max() < east and south < lat.min() and lat.max() < north
    ring = np.array(geometry["coordinates"][0])
    area = np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]) / 2
    assert area > 0, "GeoJSON wants the outer ring counterclockwise"
    assert (ring[0] == ring[-1]).all()


def test_a_crs_without_a_code_is_given_as_wkt(
    make_product: Callable[..., Any], tmp_path: Path, offline: JsonSchemaSTACValidator
) -> None:
    crs = "+proj=aea +lat_1=30 +lat_2=40 +lat_0=35 +lon_0=-100 +datum=WGS84 +units=m"
    grid = Grid(crs, (100.0, 0.0, 0.0, 0.0, -100.0, 0.0), 40, 30)
    export_product(make_product(grid=grid, days=1), tmp_path / "out")
    item = pystac.Item.from_file(str(tmp_path / "out" / "soil_moisture_20210601.json"))
    assert item.properties["proj:code"] is None and "Albers" in item.properties["proj:wkt2"]
    item.validate(validator=offline)


@pytest.mark.parametrize("crs, left", [("EPSG:32601", 400_000.0 - 240_000.0), ("EPSG:4326", 179.0)])
def test_a_grid_across_the_antimeridian_is_cut_there(crs: str, left: float) -> None:
    pixel = 3000.0 if crs != "EPSG:4326" else 0.05
    top = 1_000_000.0 if crs != "EPSG:4326" else 9.0
    grid = Grid(crs, (pixel, 0.0, left, 0.0, -pixel, top), 60, 60)
    (west, south, east, north), geometry = footprint(grid)
    assert 178 < west < 180 and -180 < east < -177 and south < north
    assert geometry["type"] == "MultiPolygon" and len(geometry["coordinates"]) == 2
    x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    lon = (lon + 180) % 360 - 180
    whole = shapely.geometry.shape(geometry)
    assert whole.is_valid and shapely.contains_xy(whole.buffer(1e-4), lon, lat).all()
    # As large as the grid, not as the rest of the globe.
    assert whole.area < 20
    assert joined([[west, south, east, north], [170.0, 0.0, 175.0, 1.0]])[::2] == [170.0, east]


def test_a_grid_over_a_pole_reaches_it() -> None:
    grid = Grid("EPSG:3413", (10_000.0, 0.0, -500_000.0, 0.0, -10_000.0, 500_000.0), 100, 100)
    (west, south, east, north), geometry = footprint(grid)
    assert (west, east, north) == (-180.0, 180.0, 90.0) and 82 < south < 87
    whole = shapely.geometry.shape(geometry)
    assert whole.is_valid and shapely.contains_xy(whole, [10.0, -170.0, 95.0], [89.0, 88.0, 89.9]).all()


def test_the_collection_says_what_loaders_and_readers_ask(
    make_product: Callable[..., Any], tmp_path: Path
) -> None:
    product, out = make_product(), tmp_path / "out"
    export_product(product, out, store="shards")
    found = json.loads((out / "collection.json").read_text())
    assert found["assets"]["zarr"]["type"] == "application/vnd.zarr; version=3"
    assert [link["href"] for link in found["links"] if link["rel"] == "store"] == ["./soil_moisture.zarr"]
    assert (out / "soil_moisture.zarr" / "zarr.json").is_file()
    assert found["cube:dimensions"]["x"]["extent"] == [500_010.0, 500_010.0 + 120 * 30]
    assert found["cube:variables"].keys() == product.layers.keys()
    assert found["renders"]["soil_moisture"]["rescale"] == [[0.0, 5000.0]]
    assert len(found["renders"]["soil_moisture"]["colormap"]) == 256
    item = json.loads((out / "soil_moisture_20210601.json").read_text())
    for name, asset in found["item_assets"].items():
        assert {key: item["assets"][name][key] for key in asset} == asset
    assert found["summaries"]["mmnet_maps:status"] == ["final"]


def test_odc_stac_loads_named_layers_whose_scale_the_item_gives(folder: Path, make_product: Any) -> None:
    odc = pytest.importorskip("odc.stac")
    items = list(pystac.Catalog.from_file(str(folder / "catalog.json")).get_items(recursive=True))
    data, product = odc.load(items), make_product("again")
    assert list(data.data_vars) == ["soil_moisture", "lower", "upper", "quality"]
    fields = items[0].assets["values"].extra_fields
    for band, name in zip(fields["raster:bands"], ("soil_moisture", "lower", "upper"), strict=True):
        stored = data[name].values
        np.testing.assert_array_equal(stored, product.read(name, product.layout.start, product.layout.stop))
        assert data[name].attrs["nodata"] == band["nodata"] and band["scale"] == 1e-4
    np.testing.assert_array_equal(
        data.quality.values, product.read("quality", product.layout.start, product.layout.stop)
    )


def test_qgis_styles_name_what_occurs(folder: Path) -> None:
    with rasterio.open(folder / "quality_20210601.tif") as file:
        occurring = set(np.unique(file.read(1)).tolist())
    entries = ElementTree.parse(folder / "quality_20210601.qml").getroot().iter("paletteEntry")
    found = {int(e.attrib["value"]): e.attrib for e in entries}
    assert found.keys() == occurring
    assert found[1]["label"].startswith("land cover is open water") and found[1]["color"] == "#3f6fb5"
    ramp = list(ElementTree.parse(folder / "soil_moisture_20210601.qml").getroot().iter("item"))
    assert [float(ramp[0].attrib["value"]), float(ramp[-1].attrib["value"])] == [0.0, 0.5]
