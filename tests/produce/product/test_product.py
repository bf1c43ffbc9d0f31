"""The product store."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.product.layers import LAYERS, layers_with
from mmnet_maps.produce.product.ledger import Entry
from mmnet_maps.produce.product.store import Product, open_product
from mmnet_maps.produce.tile.trust import FLAGS, NOT_COMPUTED
from mmnet_maps.produce.units import Layout, Unit

GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 20, 28)
START = 18322


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return create_product(tmp_path / "product", Layout(GRID, START, START + 10, 16, 4), {"bundle": "b1"})


def _values(unit: Unit, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = (unit.days, unit.tile.height, unit.tile.width)
    return {
        name: rng.integers(1, 5000, shape).astype(layer.packing.dtype)
        for name, layer in layers_with(()).items()
    }


def _finish(product: Product, unit: Unit, bundle: str = "b1") -> None:
    outputs = product.write_unit(unit, _values(unit))
    product.ledger.write(unit.key, Entry(unit.first, unit.stop, {"bundle": bundle}, outputs))


def test_what_was_never_written_is_missing_and_not_computed(product: Product) -> None:
    day = product.read_day(START)
    for name in ("soil_moisture", "lower", "upper"):
        assert np.isnan(LAYERS[name].packing.decode(day[name])).all()
    assert (day["quality"] == NOT_COMPUTED).all()


def test_a_unit_reads_back_where_it_stands_and_nowhere_else(product: Product) -> None:
    unit = list(product.layout.units())[1]
    values = _values(unit)
    product.write_unit(unit, values)
    again = open_product(product.path)
    for name in layers_with(()):
        np.testing.assert_array_equal(
            again.read(name, unit.first, unit.stop, unit.tile.rows, unit.tile.cols), values[name]
        )
        rest = again.read(name, START, START + 10)
        rest[: unit.days, unit.tile.rows, unit.tile.cols] = LAYERS[name].packing.missing
        assert (rest == LAYERS[name].packing.missing).all()


def test_writing_twice_gives_the_same_bytes_and_clears_what_a_killed_writer_left(product: Product) -> None:
    unit = next(iter(product.layout.units()))
    first = product.write_unit(unit, _values(unit))
    shard = product.path / "soil_moisture" / "c" / "0" / "0" / "0"
    before = shard.read_bytes()
    shard.write_bytes(b"half")
    shard.with_name(".0.host-1.part").write_bytes(b"draft")
    assert product.write_unit(unit, _values(unit)) == first
    assert shard.read_bytes() == before
    assert [p.name for p in shard.parent.iterdir()] == ["0"]


def test_a_day_is_finished_when_all_its_units_are_of_the_bundle(product: Product) -> None:
    units = list(product.layout.units(START, START + 4))
    for unit in units[:-1]:
        _finish(product, unit)
    assert not product.finished(START)
    _finish(product, units[-1])
    assert product.finished(START)
    assert product.finished(START + 3)
    assert not product.finished(START + 4)
    assert product.finished_days().tolist() == [START, START + 1, START + 2, START + 3]
    assert not product.described({"bundle": "b2"}).finished(START)
    assert open_product(product.path).about["bundle"] == "b2"


def test_a_longer_axis_keeps_what_is_there_and_leaves_the_new_days_unfinished(product: Product) -> None:
    for unit in product.layout.units():
        _finish(product, unit)
    before = product.read("soil_moisture", START, START + 10)
    longer = product.extended(START + 15)
    again = open_product(product.path)
    assert again.layout == longer.layout
    assert again.days.tolist() == list(range(START, START + 15))
    np.testing.assert_array_equal(again.read("soil_moisture", START, START + 10), before)
    assert (again.read("quality", START + 10, START + 15) == NOT_COMPUTED).all()
    assert again.finished_days().tolist() == list(range(START, START + 10))
    assert again.extended(START + 3).layout == again.layout


def test_an_extension_that_was_cut_short_is_completed(product: Product) -> None:
    array: Any = product.group["soil_moisture"]
    array.resize((15, *GRID.shape))
    again = open_product(product.path)
    assert again.days.size == 10
    assert again.extended(START + 15).read("lower", START, START + 15).shape == (15, 20, 28)


def test_damage_is_found(product: Product) -> None:
    units = list(product.layout.units())
    for unit in units:
        _finish(product, unit)
    assert product.damaged() == {}
    shard = product.path / "lower" / "c" / "1" / "0" / "1"
    data = bytearray(shard.read_bytes())
    data[7] ^= 1
    shard.write_bytes(bytes(data))
    (product.path / "upper" / "c" / "0" / "0" / "0").unlink()
    found = product.damaged()
    assert list(found) == ["20200301-r000000-c000000", "20200305-r000000-c000016"]
    assert [said.rpartition("/product/")[2] for said in found.values()] == [
        "upper/c/0/0/0 is lost",
        "lower/c/1/0/1 is not what was written",
    ]
    assert list(product.damaged(units[:1])) == ["20200301-r000000-c000000"]


def test_xarray_and_rioxarray_read_days_place_crs_and_missing_values(product: Product) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")
    unit = next(iter(product.layout.units()))
    values = _values(unit)
    product.write_unit(unit, values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xr.open_zarr(product.path)
    assert data.rio.crs.to_epsg() == 32612
    assert data.soil_moisture.rio.crs.to_epsg() == 32612
    assert tuple(data.soil_moisture.rio.transform())[:6] == GRID.transform
    assert str(data.time.values[0])[:10] == "2020-03-01"
    np.testing.assert_array_equal(data.x.values, GRID.x(np.arange(28)))
    np.testing.assert_array_equal(data.y.values, GRID.y(np.arange(20)))
    np.testing.assert_allclose(data.soil_moisture.values[:4, :16, :16], values["soil_moisture"] * 1e-4)
    assert np.isnan(data.soil_moisture.values[5:]).all()
    assert data.quality.dtype == np.uint32
    assert dict(zip(data.quality.flag_meanings.split(), data.quality.flag_masks, strict=True)) == FLAGS
    assert data.soil_moisture.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert data.soil_moisture.attrs["units"] == "m3 m-3"


def test_a_product_that_could_not_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("mmnet_maps.produce.product.create._create_layer", broken)
    with pytest.raises(OSError, match="disk full"):
        create_product(tmp_path / "product", Layout(GRID, START, START + 1, 16, 4), {})
    assert list(tmp_path.iterdir()) == []


def test_other_folders_and_other_days_are_refused(product: Product, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no product there"):
        open_product(tmp_path)
    with pytest.raises(InputError, match="already exists"):
        create_product(product.path, product.layout, {})
    with pytest.raises(InputError, match="day 2020-03-11 is not in the product, which holds 2020-03-01"):
        product.read_day(START + 10)
