"""The published Zarr: the product's integers, levels that say what they are, readable by what people use."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.collection import STORE
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.export.levels import coarser_bits, coarser_grid, coarser_values, level_grids
from mmnet_maps.produce.product.layers import MISSING
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.tile.flags import FLAG_TABLE
from mmnet_maps.produce.tile.trust import MISSING_REASONS

Make = Callable[..., Any]
GRID = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 301, 290)


_MADE: list[tuple[Product, Path]] = []


@pytest.fixture
def made(make_product: Make, tmp_path_factory: pytest.TempPathFactory) -> tuple[Product, Path]:
    """A product and its published store in shards, with two levels; made once, and only read."""
    if not _MADE:
        folder = tmp_path_factory.mktemp("published")
        product = make_product(str(folder / "product"), grid=GRID, days=4, tile=128, block_days=2)
        first = product.layout.start
        export_product(product, folder / "maps", first, first, store="shards")
        # The store follows the folder: three days more.
        export_product(product, folder / "maps", first + 1, first + 3, store="shards")
        _MADE.append((product, folder / "maps" / STORE))
    return _MADE[0]


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_base_level_holds_the_integers_of_the_product(made: tuple[Product, Path]) -> None:
    product, path = made
    group = zarr.open_group(path, mode="r")
    for name in product.layers:
        held = np.asarray(group[f"0/{name}"])  # type: ignore[arg-type]
        np.testing.assert_array_equal(held, product.read(name, product.layout.start, product.layout.stop))
    assert "lower" not in group["1"] and "upper" not in group["1"]  # type: ignore[operator]
    assert group["0/soil_moisture"].shards is not None  # type: ignore[union-attr]


def test_a_level_is_made_of_the_whole_level_before(made: tuple[Product, Path]) -> None:
    product, path = made
    fine = {name: product.read(name, product.layout.start, product.layout.stop) for name in product.layers}
    coarse = coarser_values(fine["soil_moisture"])
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(np.asarray(group["1/soil_moisture"]), coarse)  # type: ignore[arg-type]
    bits = coarser_bits(fine["quality"], fine["soil_moisture"], coarse)
    np.testing.assert_array_equal(np.asarray(group["1/quality"]), bits)  # type: ignore[arg-type]


def test_rio_tiler_returns_the_integers_at_1000_random_pixel_days(made: tuple[Product, Path]) -> None:
    pytest.importorskip("isochron", reason="rio-tiler[zarr] is not here")
    from rio_tiler.experimental.zarr import GroupReader

    product, path = made
    random, stored = (
        np.random.default_rng(5),
        product.read("soil_moisture", product.layout.start, product.layout.stop),
    )
    with GroupReader(zarr.open_group(path, mode="r")) as reader:
        assert reader.crs.to_epsg() == 32612
        for row, col in zip(random.integers(0, 301, 250), random.integers(0, 290, 250), strict=True):
            x, y = float(GRID.x(np.array(col))), float(GRID.y(np.array(row)))
            found = reader.point(x, y, coord_crs=GRID.crs, variables=["soil_moisture"]).array
            np.testing.assert_array_equal(np.ma.getdata(found), stored[:, row, col])


def test_every_node_is_valid_by_the_conventions_it_declares(made: tuple[Product, Path]) -> None:
    zarr_cm = pytest.importorskip("zarr_cm")
    declared = 0
    for folder in (made[0].path, made[1]):
        for place in folder.rglob("zarr.json"):
            attributes = json.loads(place.read_text())["attributes"]
            zarr_cm.validate_all(attributes)
            declared += bool(attributes.get("zarr_conventions"))
    # Arrays of the product, of level 0 and of level 1, and the root.
    assert declared == 4 + 4 + 2 + 1


@pytest.mark.parametrize("which", ["product", "0", "1"])
def test_plain_xarray_opens_it_with_its_crs_and_saves_it(
    made: tuple[Product, Path], tmp_path: Path, which: str
) -> None:
    pytest.importorskip("rioxarray")
    path, group = (made[0].path, None) if which == "product" else (made[1], which)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xr.open_zarr(path, group=group)
    assert data.rio.crs.to_epsg() == data.soil_moisture.rio.crs.to_epsg() == 32612
    assert data.quality.dtype == np.uint32
    assert float(data.depth) == 0.025 and data.depth_bnds.values.tolist() == [0.0, 0.05]
    days = data.time_bnds.values[0]
    assert days[0] == data.time.values[0] and days[1] - days[0] == np.timedelta64(1, "D")
    assert data.soil_moisture.attrs["cell_methods"] == "time: mean"
    for name in ("institution", "references", "license", "comment"):
        assert data.attrs[name]
    piece = data.isel(time=slice(0, 2), y=slice(0, 30), x=slice(0, 20))
    piece.to_netcdf(tmp_path / "piece.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "piece.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again.soil_moisture, piece.soil_moisture)
        about = json.loads(again.attrs.get("mmnet_maps", "{}"))
    assert about.get("bundle") == (made[0].about["bundle"] if which == "product" else None)


def test_the_root_of_the_store_names_crs_and_levels(made: tuple[Product, Path]) -> None:
    root: dict[str, Any] = dict(zarr.open_group(made[1], mode="r").attrs)
    assert root["proj:code"] == "EPSG:32612" and root["spatial:transform"] == list(GRID.transform)
    first, second = root["multiscales"]["layout"]
    assert second["derived_from"] == first["asset"] == "0" and second["transform"]["scale"] == [2.0, 2.0]
    assert second["spatial:shape"] == [151, 145] and second["spatial:transform"][0] == 60.0


def test_without_shards_older_gdal_reads_it(made: tuple[Product, Path], tmp_path: Path) -> None:
    product = made[0]
    export_product(product, tmp_path / "maps", store="chunks")
    for name in ("soil_moisture", "quality"):
        with rasterio.open(f'ZARR:"{tmp_path / "maps" / STORE}":/0/{name}') as file:
            assert file.crs.to_epsg() == 32612 and tuple(file.transform)[:6] == GRID.transform
            np.testing.assert_array_equal(file.read(3), product.read_day(int(product.days[2]))[name])
    data = xr.open_zarr(tmp_path / "maps" / STORE, group="0")
    assert data.quality.dtype == np.uint32, "bits are never floats"
    collection = json.loads((tmp_path / "maps" / "collection.json").read_text())
    assert collection["assets"]["zarr"]["zarr:zarr_format"] == 2


def test_the_same_days_give_the_same_bytes_and_are_not_written_twice(
    made: tuple[Product, Path], tmp_path: Path
) -> None:
    product, path = made
    export_product(product, tmp_path / "maps", store="shards")
    assert _tree(tmp_path / "maps" / STORE) == _tree(path)
    before = (tmp_path / "maps" / STORE / "zarr.json").stat()
    export_product(product, tmp_path / "maps", store="shards")
    after = (tmp_path / "maps" / STORE / "zarr.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not list((tmp_path / "maps").glob(".*"))


def test_a_lost_shard_is_no_good_store(make_product: Make, tmp_path: Path) -> None:
    product = make_product(days=2)
    export_product(product, tmp_path / "maps", store="shards")
    whole = _tree(tmp_path / "maps" / STORE)
    (tmp_path / "maps" / STORE / "zarr.json").write_text("{}")
    shard = product.path / "soil_moisture" / "c" / "0" / "0" / "0"
    shard.unlink()
    with pytest.raises(WorkError, match="20210601-r000000-c000000"):
        export_product(product, tmp_path / "maps", store="shards")
    assert set(_tree(tmp_path / "maps" / STORE)) == set(whole), "what was there stays"


def test_a_level_is_the_mean_of_the_valid_where_half_are_valid() -> None:
    random = np.random.default_rng(3)
    values = random.integers(-50, 5000, (2, 7, 9)).astype(np.int16)
    values[random.random(values.shape) < 0.45] = MISSING
    reasons = [flag.mask for flag in FLAG_TABLE.values() if flag.missing]
    weak = [flag.mask for flag in FLAG_TABLE.values() if not flag.missing] + [0]
    quality = np.where(
        values == MISSING, random.choice(reasons, values.shape), random.choice(weak, values.shape)
    )
    quality = quality.astype(np.uint32)
    coarse = coarser_values(values)
    bits = coarser_bits(quality, values, coarse)
    assert coarse.shape == bits.shape == (2, 4, 5) and bits.dtype == np.uint32
    for day, row, col in np.ndindex(coarse.shape):
        window = (day, slice(2 * row, 2 * row + 2), slice(2 * col, 2 * col + 2))
        block, own = values[window].ravel(), quality[window].ravel()
        known = block != MISSING
        if known.sum() * 2 >= known.size:
            assert abs(coarse[day, row, col] - block[known].mean()) <= 0.5
        else:
            assert coarse[day, row, col] == MISSING
        alike = own[known if coarse[day, row, col] != MISSING else ~known]
        assert bits[day, row, col] == np.bitwise_or.reduce(alike)
    missing = coarse == MISSING
    assert missing.any() and (~missing).any()
    assert ((bits & MISSING_REASONS) != 0)[missing].all() and not ((bits & MISSING_REASONS) != 0)[
        ~missing
    ].any()


def test_levels_end_when_they_are_small() -> None:
    grids = level_grids(Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 1000, 513))
    assert [grid.shape for grid in grids] == [(1000, 513), (500, 257), (250, 129)]
    assert coarser_grid(grids[0]).bounds[3] == grids[0].bounds[3] and grids[1].transform[0] == 60.0
